"""A fault proxy: stands between a client and its server on loopback, and breaks what it is told to."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from random import Random

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)

DRIP_SECONDS = 0.05
"""Seconds between two bytes of an answer that drips."""


class Mode(Enum):
    """What happens to a connection, or to a request on it."""

    PASS = auto()
    REFUSE = auto()  # nobody listens: the kernel refuses; what was open is reset
    DEAF = auto()  # the handshake of TCP itself is never answered; what was open is silent
    SLAM = auto()  # accepted and reset at once; what was open is reset
    RESET_BEFORE = auto()  # reset when a request comes, which the server never sees
    RESET_AFTER = auto()  # reset when the answer comes: the server has obeyed, the client cannot know
    BLACK_HOLE = auto()  # accepted, read, never answered
    DRIP = auto()  # the answer byte by byte
    CUT = auto()  # half of the answer, then a polite end
    INSTEAD = auto()  # another answer in its place, see `FaultProxy.answer`


class FaultProxy:
    """Passes bytes on to one port of loopback until it is told to do worse; switchable at any time.

    Attributes:
        port: Where it listens; the same for as long as it lives, also while it refuses.
        answer: What `Mode.INSTEAD` sends; afterwards the connection stays open unless `hang_up`.
        hang_up: End the connection politely behind `answer`.
        latency: Seconds by which each answer is late.
        connections: Connections that were accepted.
        struck: Requests that a fault was played on.
    """

    def __init__(self, upstream: int, host: str = "127.0.0.1", port: int = 0, *, seed: int = 0) -> None:
        self.port = port
        self.answer = b""
        self.hang_up = False
        self.latency = 0.0
        self.connections = 0
        self.struck = 0
        self._upstream = upstream
        self._host = host
        self._mode = Mode.PASS
        self._share = 1.0
        self._chance = Random(seed)
        self._open: set[_Connection] = set()
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._crowd: list[socket.socket] = []

    async def switch(self, mode: Mode, *, share: float = 1.0) -> None:
        """Break it from now on; `share` is the part of the requests that are struck, by seeded chance."""
        self._close_listener()
        self._mode, self._share = mode, share
        if mode in (Mode.REFUSE, Mode.SLAM):
            self.reset_open()
        if mode is Mode.DEAF:
            self.silence_open()
        await self._listen()

    async def heal(self) -> None:
        """Let everything pass again; what was swallowed stays lost."""
        await self.switch(Mode.PASS)

    def reset_open(self) -> None:
        """Reset every connection that is open now: what a restart of the far side looks like."""
        for connection in tuple(self._open):
            connection.reset()

    def end_open(self) -> None:
        """End every connection politely, as a server does with idle ones."""
        for connection in tuple(self._open):
            connection.end()

    def silence_open(self) -> None:
        """Let every connection that is open now be dead without a word; new ones are not touched."""
        for connection in self._open:
            connection.silent = True

    def strikes(self) -> Mode:
        """Draw what happens to one request."""
        if self._mode is Mode.PASS or (self._share < 1 and self._chance.random() >= self._share):
            return Mode.PASS
        self.struck += 1
        return self._mode

    @property
    def refuses_all(self) -> bool:
        """Whether a connection is reset as soon as it was accepted."""
        return self._mode is Mode.SLAM

    async def close(self) -> None:
        """Reset what is open and listen no more."""
        self._close_listener()
        tasks = [connection.task for connection in self._open]
        for connection in tuple(self._open):
            connection.reset()
            connection.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    async def _listen(self) -> None:
        """Take the port, and listen on it unless nobody should: a port that is bound is refused by itself."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # Named as TCP, or asyncio would leave Nagle's delay on: virtual time cannot wait for it.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setblocking(False)
        self._socket.bind((self._host, self.port))
        self.port = self._socket.getsockname()[1]
        if self._mode is Mode.DEAF:
            self._socket.listen(0)
            self._fill_backlog(family)
        elif self._mode is not Mode.REFUSE:
            self._server = await asyncio.start_server(self._converse, sock=self._socket, backlog=256)

    def _fill_backlog(self, family: int) -> None:
        """Let the queue of a listener that accepts nobody be full: the kernel then drops every SYN."""
        for _ in range(3):
            one = socket.socket(family, socket.SOCK_STREAM)
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect((self._host, self.port))
            self._crowd.append(one)

    def _close_listener(self) -> None:
        for one in self._crowd:
            one.close()
        self._crowd.clear()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(self, reader, writer)
        self._open.add(connection)
        try:
            if self.refuses_all:
                self.struck += 1
                connection.reset()
            else:
                await connection.run(self._upstream)
        except (ConnectionError, asyncio.CancelledError):
            connection.reset()
        finally:
            self._open.discard(connection)
            writer.transport.abort()


class _Connection:
    """One connection with its other half."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.silent = False
        task = asyncio.current_task()
        assert task
        self.task: asyncio.Task[object] = task
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._fate = Mode.PASS

    def reset(self) -> None:
        """Drop it with a TCP reset."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None and not self._writer.transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def end(self) -> None:
        """End it politely."""
        self._writer.close()

    async def run(self, upstream: int) -> None:
        """Carry it until one side ends it."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", upstream)
        back = asyncio.create_task(self._carry_answers(far_reader), name="answers")
        try:
            await self._carry_requests(far_writer)
        finally:
            back.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await back
            far_writer.transport.abort()

    async def _carry_requests(self, far: asyncio.StreamWriter) -> None:
        asked = b""
        while chunk := await self._reader.read(65536):
            if not asked:
                self._fate = self._proxy.strikes()
            asked += chunk
            if self.silent or self._fate is Mode.BLACK_HOLE:
                asked = b""
            elif self._fate is Mode.RESET_BEFORE:
                self.reset()
                return
            elif self._fate is Mode.INSTEAD:
                if _is_whole(asked):
                    asked = b""
                    await self._answer_instead()
            else:
                asked = b""
                far.write(chunk)

    async def _answer_instead(self) -> None:
        self._writer.write(self._proxy.answer)
        with suppress(ConnectionError):
            await self._writer.drain()
        if self._proxy.hang_up:
            self._writer.close()

    async def _carry_answers(self, far: asyncio.StreamReader) -> None:
        while chunk := await far.read(65536):
            if self._proxy.latency:
                await asyncio.sleep(self._proxy.latency)
            if self.silent:
                continue
            match self._fate:
                case Mode.RESET_AFTER:
                    self.reset()
                    return
                case Mode.CUT:
                    self._writer.write(chunk[: len(chunk) // 2])
                    self._writer.close()
                    return
                case Mode.DRIP:
                    for byte in chunk:
                        self._writer.write(bytes([byte]))
                        await asyncio.sleep(DRIP_SECONDS)
                case _:
                    self._writer.write(chunk)
        self._writer.close()


def _is_whole(asked: bytes) -> bool:
    """Whether a request of HTTP has come to its end."""
    head, end, body = asked.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


@asynccontextmanager
async def fault_proxy(
    upstream: int, host: str = "127.0.0.1", port: int = 0, *, seed: int = 0
) -> AsyncIterator[FaultProxy]:
    """A fault proxy before a port of loopback, for as long as this is entered; it passes all at first."""
    proxy = FaultProxy(upstream, host, port, seed=seed)
    await proxy.heal()
    try:
        yield proxy
    finally:
        await proxy.close()
