"""A connection: how long a client may take, and who has to leave when all places are taken."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import cast

from aiohttp import web

from keepalive.control.reply import Reply, refusal

PLACES = 128
"""Connections of one address at a time: a probe and a scrape need two, and each costs a descriptor."""

HEAD_SECONDS = 5.0
"""From the first byte of a request (or from connecting) until its head is whole."""

BODY_SECONDS = 5.0
"""From there until its body is."""

SEND_SECONDS = 10.0
"""For the client to read what it is answered."""

IDLE_SECONDS = 75.0
"""Between two requests of a connection: a scrape once a minute keeps it open."""

LONGEST_LINE = 4096
"""Bytes of a request line and of each header: a filter by all that a target has needs some hundred."""

MOST_HEADERS = 48

READ_BYTES = 65_536
"""Of a body, in memory, before it is asked for; twice as much stops the reading."""

_MUTE = logging.getLogger("keepalive.control")
_MUTE.disabled = True
"""Whatever a client sends is answered to it, and is nothing that the log should fill up with."""


class Crowd:
    """The clients of one address. When all places are taken the one that waited longest leaves for the next.

    So a probe, which ends within milliseconds, is answered however many clients hold their connections.
    """

    def __init__(self, server: web.Server, places: int = PLACES) -> None:
        self._server = server
        self._places = places
        self._present: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self._server, self)

    def __len__(self) -> int:
        """How many have a place: who is being answered keeps it, even after it has left."""
        return len(self._present)

    def enter(self, connection: Connection) -> bool:
        """Give a place to a new connection; False when everybody is being answered."""
        if len(self._present) >= self._places:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            self.leave(longest)
            longest.drop()
        self._present.add(connection)
        self._waiting[connection] = None
        return True

    def begin(self, connection: Connection) -> None:
        """It is being answered."""
        self._waiting.pop(connection, None)

    def end(self, connection: Connection) -> None:
        """It has been answered."""
        if connection in self._present:
            self._waiting[connection] = None

    def leave(self, connection: Connection) -> None:
        """Its place is free."""
        self._waiting.pop(connection, None)
        self._present.discard(connection)

    def abort(self) -> None:
        """Send everybody away."""
        for connection in list(self._present):
            connection.abort()


class Connection(web.RequestHandler):
    """One client, which is dropped when it does not do in time what it has to do next."""

    __slots__ = ("_answering", "_crowd", "_idle", "_line", "_timer")

    def __init__(self, server: web.Server, crowd: Crowd) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=2 * IDLE_SECONDS,  # never: it would wait for what the client does not read
            logger=_MUTE,
            access_log=None,  # type: ignore[arg-type] # none is what aiohttp itself passes on for "off"
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=MOST_HEADERS,
            lingering_time=0,
            read_bufsize=READ_BYTES,
            auto_decompress=False,
        )
        self._crowd = crowd
        self._line: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = self._answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or leave at once."""
        self._line = cast("asyncio.Transport", transport)  # uvloop's are none by name
        if self._crowd.enter(self):
            super().connection_made(transport)
            self._allow(HEAD_SECONDS)
        else:
            self.drop()

    def data_received(self, data: bytes) -> None:
        """Read on; the first byte of a next request starts its time."""
        if self._idle and data:
            self._idle = False
            self._allow(HEAD_SECONDS)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place, unless the answer is still being worked at."""
        self._line = None
        self._allow(None)
        if not self._answering:
            self._crowd.leave(self)
        super().connection_lost(exc)

    def begin(self) -> None:
        """The head of a request is there."""
        self._answering, self._idle = True, False
        self._crowd.begin(self)
        self._allow(None)

    def send(self) -> None:
        """The answer is about to be sent."""
        self._allow(SEND_SECONDS)

    def end(self) -> None:
        """The answer is on its way."""
        self._answering = False
        if self._line is None:
            self._crowd.leave(self)
        else:
            self._idle = True
            self._crowd.end(self)
            self._allow(IDLE_SECONDS)

    def abort(self) -> None:
        """End it now, whatever the client has not read yet: a polite end would wait for that."""
        if self._line is not None:
            self._line.abort()

    def drop(self) -> None:
        """The same by a reset: a polite end keeps its port for a minute, and thousands would take all."""
        if self._line is not None and (raw := self._line.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Reply:
        """Answer what is not HTTP, in a line."""
        del request, exc, message  # the text of a parser's error quotes what the client has sent
        if status == 400:
            hint = (
                f"speak HTTP/1.1, with lines under {LONGEST_LINE:,} bytes and at most {MOST_HEADERS} headers"
            )
            return refusal(400, "the request cannot be understood", hint)
        return refusal(status, "the request cannot be answered", "please report it")

    def _allow(self, seconds: float | None) -> None:
        """Drop the client after so long, unless this is called again; None for no limit."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self.drop)
