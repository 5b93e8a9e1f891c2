"""A connection: one WebSocket of a live tail. What comes is bounded, and a dead one is noticed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self

from aiohttp import (
    ClientError,
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    ClientWSTimeout,
    DummyCookieJar,
    TCPConnector,
    WebSocketError,
    WSMsgType,
    WSServerHandshakeError,
)
from yarl import URL

from keepalive.cloudflare.client import USER_AGENT
from keepalive.cloudflare.failure import failure
from keepalive.cloudflare.proxy import proxy_for
from keepalive.cloudflare.telemetry import FrameError, events_of
from keepalive.core.outcome import Fault
from keepalive.core.telemetry import Event, Prepared
from keepalive.livetail.ports import Ended

LARGEST_FRAME = 1024 * 1024
"""Bytes of a frame, its fragments together. A larger one ends the connection before it is read."""

PING_SECONDS = 10.0
SILENT_SECONDS = 17.5
"""Without a byte for so long it is dead; those who count from outside allow 20 s."""

_CLOSE_SECONDS = 0.5
_STEP_SECONDS = 1.0
_LATE_SECONDS = 2.0


class Opener:
    """Opens the WebSockets of live tails; used as `async with`.

    TLS is always verified, redirects are never followed: the URL is a secret of its host's. No compression
    is offered: what is not packed cannot be a bomb.

    Args:
        tls: What verifies the far side, for wss.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            connector=TCPConnector(limit=0, ssl=self._tls or True, force_close=True),
            cookie_jar=DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
            timeout=ClientTimeout(total=None, sock_connect=None),
            middlewares=(_no_redirect,),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def __call__(self, prepared: Prepared, *, timeout: float) -> WebSocket | Fault:
        """Claim a session within `timeout` seconds; a fault never quotes its URL."""
        url = URL(prepared.url, encoded=True)
        proxy = proxy_for(url)
        try:
            async with asyncio.timeout(timeout):
                socket = await self._session.ws_connect(
                    url,
                    autoping=False,
                    decode_text=False,
                    max_msg_size=LARGEST_FRAME,
                    proxy=proxy.url if proxy else None,
                    proxy_headers=proxy.headers if proxy else None,
                    timeout=ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                )
        except WSServerHandshakeError as error:
            return Fault(
                f"http_{error.status}",
                f"{url.host} answered {error.status} instead of opening the stream",
                http_status=error.status,
            )
        except (ClientError, OSError) as error:
            return failure(error, f"{url.host}:{url.port}", timeout=timeout).fault
        return WebSocket(socket)


class WebSocket:
    """One open stream.

    Attributes:
        heard_at: When the last frame came, on the loop's clock.
    """

    def __init__(self, socket: ClientWebSocketResponse[Literal[False]]) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._silent = self._over = False
        self._sign = asyncio.Event()
        self.heard_at = self._loop.time()

    async def pour(
        self, into: Callable[[Sequence[Event]], None], *, unread: Callable[[], None] = lambda: None
    ) -> Ended:
        """Hand over what comes, frame by frame, until it ends. Twenty seconds without a byte end it too.

        Args:
            into: Called with the events of each frame.
            unread: Called for each frame in which no events could be read.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch(), name="tail: watch a connection")
                ended = await self._read(into, unread)
                watching.cancel()
        finally:
            self._over = True
            self._sign.set()
            await self._socket.close()
        return Ended("silent", f"nothing came for {SILENT_SECONDS:g} s") if self._silent else ended

    async def answers(self) -> bool:
        """Ask for a sign of life: True once anything came after that, False where it ended first."""
        if not self._over:
            self._sign.clear()
            await self._ping()
            await self._sign.wait()
        return not self._over

    async def close(self) -> None:
        """End it; within a second, whatever the far side does. `pour` returns."""
        await self._socket.close()

    async def _read(self, into: Callable[[Sequence[Event]], None], unread: Callable[[], None]) -> Ended:
        receive, now = self._socket.receive, self._loop.time
        while True:
            message = await receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    self._hear(now())
                    try:
                        events = events_of(message.data)
                    except FrameError:
                        unread()
                    else:
                        into(events)
                case WSMsgType.PING:
                    self._hear(now())
                    await self._socket.pong(message.data)
                case WSMsgType.PONG:
                    self._hear(now())
                case WSMsgType.ERROR:
                    return _broken(message.data)
                case _:
                    code = self._socket.close_code
                    return Ended("closed", f"the far side closed it with code {code}" if code else "")

    def _hear(self, at: float) -> None:
        self.heard_at = at
        self._sign.set()

    async def _watch(self) -> None:
        """Ping a far side that is quiet, and end the connection when not even that is answered."""
        pinged_at = self.heard_at
        while self._loop.time() < self.heard_at + SILENT_SECONDS:
            woken_at = self._loop.time() + _STEP_SECONDS
            await asyncio.sleep(_STEP_SECONDS)
            now = self._loop.time()
            if now > woken_at + _LATE_SECONDS:
                self.heard_at = max(self.heard_at, now - PING_SECONDS)  # this process slept, not the other
            if now >= max(pinged_at, self.heard_at) + PING_SECONDS - _STEP_SECONDS:
                pinged_at = now
                await self._ping()
        self._silent = True
        await self._socket.close()

    async def _ping(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):  # a far side that reads nothing holds up writers
                await self._socket.ping()
        except (ClientError, OSError):
            pass  # the reader meets the end of the connection too


def _broken(error: object) -> Ended:
    """Name what is wrong with what came, without its own words."""
    if isinstance(error, WebSocketError):
        too_large = error.code == 1009
        return Ended("too_large" if too_large else "protocol", f"closed with code {error.code}")
    return Ended("reset")


async def _no_redirect(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise WSServerHandshakeError(
            response.request_info, (), status=response.status, message="redirected", headers=response.headers
        )
    return response
