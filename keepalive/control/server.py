"""The control server: answers on a Unix socket and over TCP for as long as the daemon runs."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from keepalive.control.api import Api
from keepalive.control.application import application
from keepalive.control.connection import Crowd
from keepalive.control.hosts import host_of, own_names
from keepalive.control.parts import Parts
from keepalive.control.probes import Probes
from keepalive.control.socket_file import SocketFile
from keepalive.core.events import ControlFailed, ControlOpened, Sink
from keepalive.errors import ControlError

RETRY_SECONDS = 5.0
"""Seconds after which a place that could not be opened is tried again."""

LOOK_SECONDS = 5.0
"""Seconds between two looks at the socket's file: whoever clears out its folder may have removed it."""

BURST = 4
"""Connections that are accepted in a row: a beat waits for no more than those."""

QUEUE = 1024
"""Connections that the kernel keeps until they are accepted."""

CLOSING_SECONDS = 0.25
"""Seconds that an answer which is under way may take when the daemon ends."""


class _Place(NamedTuple):
    """Where it answers, and whether nobody can find it there any more."""

    address: str
    is_gone: Callable[[], bool] = lambda: False


class Control:
    """An errand of the daemon: what cannot be opened is told once and tried again, and never stops a beat.

    Attributes:
        addresses: Where it answers now: a socket's path, or an address and a port.
    """

    def __init__(self, parts: Parts, *, socket: str, mode: str, listen: str, tell: Sink) -> None:
        """Wire it up.

        Args:
            parts: Whom the answers come from.
            socket: Path of the Unix socket; "" opens none.
            mode: Its file mode, in octal digits.
            listen: Address and port for probes and metrics; "" opens none.
            tell: Gets where it answers, and where it cannot.
        """
        self.addresses: dict[str, str] = {}
        self._parts = parts
        self._socket = socket
        self._mode = int(mode, 8)
        self._listen = listen
        self._tell = tell

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._socket:
                tasks.create_task(self._serve(self._socket, self._on_socket), name="control socket")
            if self._listen:
                tasks.create_task(self._serve(self._listen, self._on_tcp), name="http")

    async def _serve(self, place: str, open_: Callable[[], AbstractAsyncContextManager[_Place]]) -> None:
        told = False
        while True:
            try:
                async with open_() as found:
                    self.addresses[place], told = found.address, False
                    self._tell(ControlOpened(at=self._parts.clock.now(), address=found.address))
                    while not found.is_gone():  # noqa: ASYNC110 - no event tells that a file was removed
                        await asyncio.sleep(LOOK_SECONDS)
                continue
            except (ControlError, OSError) as error:
                if not told:
                    self._tell(_failed(place, error, self._parts.clock.now()))
                    told = True
            finally:
                self.addresses.pop(place, None)
            await asyncio.sleep(RETRY_SECONDS)

    @asynccontextmanager
    async def _on_socket(self) -> AsyncIterator[_Place]:
        routes = [*Probes(self._parts).routes(), *Api(self._parts).routes()]
        served = application(routes, own_names(), "docs/openapi.json says what there is")
        with closing(SocketFile(Path(self._socket), self._mode)) as file:
            async with _crowd(served) as crowd:
                loop = asyncio.get_running_loop()
                server = await loop.create_unix_server(crowd, sock=file.socket, backlog=BURST)
                async with _accepting(server):
                    yield _Place(self._socket, file.is_gone)

    @asynccontextmanager
    async def _on_tcp(self) -> AsyncIterator[_Place]:
        served = application(
            Probes(self._parts).routes(),
            own_names(self._listen),
            "all else is answered on the control socket",
        )
        host, port = host_of(self._listen), int(self._listen.rpartition(":")[2])
        async with _crowd(served) as crowd:
            try:
                server = await asyncio.get_running_loop().create_server(crowd, host, port, backlog=BURST)
            except (OSError, UnicodeError) as error:
                raise _unlistenable(self._listen, error) from None
            if not server.sockets:  # asyncio passes over an address for which there is no socket to be had
                found = "cannot be listened on: this machine has no socket of that kind, or none left"
                hint = "write an address of this machine into [http] listen, IPv4 where IPv6 is off"
                raise ControlError(self._listen, found, hint)
            async with _accepting(server):
                host, port, *_ = server.sockets[0].getsockname()
                yield _Place(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


@asynccontextmanager
async def _crowd(served: web.Application) -> AsyncIterator[Crowd]:
    """The connections of an application; what is being answered at the end has a moment to be finished."""
    runner = web.AppRunner(served, shutdown_timeout=CLOSING_SECONDS)
    await runner.setup()
    if runner.server is None:
        raise TypeError("an application that was set up has no server")
    crowd = Crowd(runner.server)
    try:
        yield crowd
    finally:
        await runner.cleanup()
        crowd.abort()


@asynccontextmanager
async def _accepting(server: asyncio.Server | asyncio.AbstractServer) -> AsyncIterator[None]:
    """Accept connections, few in a row but with many more waiting in the kernel."""
    try:
        for each in getattr(server, "sockets", ()):
            with socket.fromfd(each.fileno(), each.family, each.type) as twin:
                twin.listen(QUEUE)  # asyncio takes its backlog for both
        yield
    finally:
        server.close()


def _failed(place: str, error: ControlError | OSError, now: float) -> ControlFailed:
    if isinstance(error, ControlError):
        return ControlFailed(at=now, address=error.address, cause=error.found, hint=error.hint)
    found = f"cannot be opened: {os.strerror(error.errno or 0).lower()}"
    hint = "look at the limits of the process (LimitNOFILE=, TasksMax=); it is tried again"
    return ControlFailed(at=now, address=place, cause=found, hint=hint)


def _unlistenable(listen: str, error: OSError | UnicodeError) -> ControlError:
    number = error.errno if isinstance(error, OSError) else None
    match number:
        case errno.EADDRINUSE:
            hint = "stop whoever listens there, or write another port into [http] listen"
        case errno.EACCES:
            hint = "write a port above 1023 into [http] listen"
        case _:
            hint = "write an address of this machine into [http] listen"
    # asyncio's own text says the address again; a name that nobody knows has a negative number
    text = os.strerror(number) if number and number > 0 else "there is no such name"
    return ControlError(listen, f"cannot be listened on: {text}", hint)
