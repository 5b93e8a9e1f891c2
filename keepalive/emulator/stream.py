"""A stream: the WebSocket of one live tail, from its claim to its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WSCloseCode, web

from keepalive.emulator import wire
from keepalive.emulator.api import Api
from keepalive.emulator.faults import FaultKind
from keepalive.emulator.sessions import Session


class Stream:
    """Pours a session's events into its WebSocket while the user is eligible.

    Once eligibility has run out the socket stays open and silent, and streams again after the next
    heartbeat; what was logged meanwhile is not sent later.

    Args:
        api: What Cloudflare knows.
        session: The live tail that was claimed.
        now: The moment, in emulated seconds.
        wall_ms: The moment, in milliseconds of Unix time.
    """

    def __init__(
        self, api: Api, session: Session, *, now: Callable[[], float], wall_ms: Callable[[], float]
    ) -> None:
        self._api = api
        self._session = session
        self._now = now
        self._wall_ms = wall_ms

    async def run(self, request: web.BaseRequest, lines: dict[str, str]) -> web.WebSocketResponse:
        """Open the WebSocket and pour until either side ends it."""
        socket = web.WebSocketResponse()
        socket.headers.update(lines)
        await socket.prepare(request)
        async with asyncio.TaskGroup() as tasks:
            pouring = tasks.create_task(self._pour(socket, request), name="emulator: pour events")
            async for _ in socket:
                pass  # reading answers pings and notices the end; what a tail says is ignored
            pouring.cancel()
        return socket

    async def _pour(self, socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        with suppress(ConnectionError):  # the other side left: the reader ends the stream
            await self._pour_on(socket, request)

    async def _pour_on(self, socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        telemetry, place = self._api.telemetry, self._session.place
        number = telemetry.next_number(self._wall_ms())
        while True:
            await wire.pause(max(0.0, telemetry.due_ms(number) - self._wall_ms()) / 1000)
            for script in self._api.scripts(self._session):
                fault = self._api.faults.frame(self._now(), self._session.whence)
                match fault and fault.kind:
                    case FaultKind.CLOSE:
                        await socket.close(code=WSCloseCode.GOING_AWAY)
                        return
                    case FaultKind.OUTAGE | FaultKind.CUT if request.transport is not None:
                        wire.reset(request.transport)
                        return
                    case FaultKind.HALF_OPEN if request.transport is not None:
                        request.transport.pause_reading()  # pings stay unread, and so does the end
                        return
                    case None if self._api.eligible(place, self._now()):
                        event = telemetry.event(place.account_id, script, number).body
                        if self._session.wanted.matches(event):
                            await socket.send_str(json.dumps(event, separators=(",", ":")))
            number += 1
