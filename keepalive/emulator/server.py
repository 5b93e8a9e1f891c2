"""The emulator: a local Cloudflare on a loopback socket. Time is read here and nowhere below."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from aiohttp import web

from keepalive.emulator import wire
from keepalive.emulator.api import PREFIX, Api, Verdict
from keepalive.emulator.call import Arrival, Call
from keepalive.emulator.faults import Fault, FaultKind, Faults
from keepalive.emulator.standing import Place, Tally
from keepalive.emulator.stream import Stream
from keepalive.emulator.telemetry import Telemetry
from keepalive.emulator.world import World
from keepalive.errors import KeepaliveError, UsageError

REMEMBERED = 50_000
"""How many requests the record holds; older ones are forgotten."""


class Emulator:
    """A local Cloudflare: heartbeats, live tails, queries and token verification, with faults on demand.

    Use it as an async context manager. It listens between entering and leaving; leaving resets whatever
    is still open.

    Attributes:
        faults: The fault script; it may be changed while the emulator runs.
        requests: The record of the last requests, oldest first.
        connections: How many connections were accepted so far.
        base_url: Where a client of the API should point to; known once it listens.
        api: What Cloudflare knows, once it listens. Assign `api.world` to deploy a script, grant a
            permission or mend a token while it runs.

    Args:
        world: Who may call what.
        faults: The fault script to begin with.
        time_factor: Emulated seconds in a real one: at 30 a window of 45 s takes 1.5 s. Headers name
            real seconds; events are logged, dated and queried in real time.
        host: A loopback address; every other one is refused.
        port: 0 takes a free one.
        seed: Makes the chance of the faults repeatable.
        tls: A server context, to speak https and wss.
        wall_clock: Seconds since 1970, asked once, on entering; from then on the loop's time counts.

    Raises:
        UsageError: The host is no loopback address, or the time factor is not above 0.
        KeepaliveError: On entering, when the port cannot be listened on.
    """

    def __init__(  # noqa: PLR0913 - every option has a default, and most tests name one
        self,
        world: World,
        *,
        faults: Iterable[Fault] = (),
        time_factor: float = 1.0,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        tls: ssl.SSLContext | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if not _is_loopback(host):
            raise UsageError(
                f"The emulator cannot listen on {host!r}: it answers to made-up secrets and so stays on this"
                " machine; use 127.0.0.1 or ::1"
            )
        if not 0 < time_factor < float("inf"):
            raise UsageError(
                f"A time factor of {time_factor} stops the emulated clock; write a number above 0"
            )
        self.faults = Faults(faults, seed=seed)
        self.requests: deque[Arrival] = deque(maxlen=REMEMBERED)
        self.connections = 0
        self.base_url = ""
        self._world = world
        self._time_factor = time_factor
        self._host = host
        self._port = port
        self._tls = tls
        self._wall_clock = wall_clock
        self._rays = 0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._began_ms = self._wall_clock() * 1000
        self._http = web.Server(self._serve, handler_cancellation=True, access_log=None)
        try:
            self._listener = await self._loop.create_server(
                self._accept, self._host, self._port, ssl=self._tls, backlog=1024
            )
        except OSError as error:
            raise KeepaliveError(
                f"The emulator cannot listen on {self._host} port {self._port}: {error.strerror};"
                " choose another port, or 0 for a free one"
            ) from None
        port = self._listener.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        origin = f"{'https' if self._tls else 'http'}://{host}:{port}"
        self.base_url = origin + PREFIX
        self.api = Api(
            self._world,
            self.faults,
            Telemetry(self._world.events_per_second, int(self._began_ms)),
            origin=origin,
            indexing_lag_ms=self._world.indexing_lag * 1000 / self._time_factor,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.drop_connections()
        await self._http.shutdown(timeout=0.1)
        await self._listener.wait_closed()

    @property
    def now(self) -> float:
        """The moment, in emulated seconds since the start; what the faults' `after` and `until` refer to."""
        return (self._loop.time() - self._began) * self._time_factor

    def eligible(self, account_id: str, script_id: str | None = None, *, user: str = "user") -> bool:
        """Say whether Cloudflare would stream to this user now."""
        return self.api.eligible(Place(user, account_id, script_id), self.now)

    def revoke(
        self, account_id: str, script_id: str | None = None, *, user: str = "user", seconds: float = 0.0
    ) -> None:
        """Take eligibility away until the next heartbeat that comes after so many emulated seconds.

        Those before it are answered as ever: a client that believes in them has to notice by itself.

        Raises:
            KeyError: This place never had a heartbeat accepted.
        """
        self.api.revoke(Place(user, account_id, script_id), self.now, seconds)

    def tallies(self) -> dict[Place, Tally]:
        """Account for the eligible and lapsed seconds of every place since its first accepted heartbeat."""
        return self.api.tallies(self.now)

    def drop_connections(self) -> None:
        """Reset everything that is open: what a restart of the far side looks like."""
        for protocol in self._http.connections:
            if protocol.transport is not None:
                wire.reset(protocol.transport)

    def _accept(self) -> asyncio.Protocol:
        self.connections += 1
        fault = self.faults.network(self.now)
        return wire.Slammed() if fault and fault.kind is FaultKind.OUTAGE else self._http()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        call = Call(
            at=self.now,
            wall_ms=int(self._wall_ms()),
            method=request.method,
            path=request.rel_url.raw_path,
            query=request.query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            address=request.remote or "",
        )
        verdict = self.api.answer(call)
        self._record(call, verdict)
        lines = self._headers(verdict)
        with suppress(ConnectionError):
            if verdict.session is not None:
                stream = Stream(self.api, verdict.session, now=lambda: self.now, wall_ms=self._wall_ms)
                return await stream.run(request, lines)
            return await wire.send(request, verdict, lines, self._time_factor)
        return web.Response()  # the caller has left: nobody gets this

    def _headers(self, verdict: Verdict) -> dict[str, str]:
        self._rays += 1
        return wire.headers(verdict, ray=f"{self._rays:016x}-EMU", time_factor=self._time_factor)

    def _record(self, call: Call, verdict: Verdict) -> None:
        reply, whence = verdict.reply, verdict.whence
        self.requests.append(
            Arrival(
                at=call.at,
                method=call.method,
                path=call.path,
                headers=call.headers,
                body=call.body,
                route=whence.route,
                user=whence.user,
                account_id=whence.account_id,
                script_id=whence.script_id,
                status=101 if verdict.session else reply.status if reply else None,
                code=reply.code if reply else None,
                retry_after=wire.retry_after(reply, self._time_factor) if reply else None,
                fault=verdict.fault.kind if verdict.fault else None,
            )
        )

    def _wall_ms(self) -> float:
        return self._began_ms + (self._loop.time() - self._began) * 1000


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
