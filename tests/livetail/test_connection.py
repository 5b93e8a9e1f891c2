from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import WSCloseCode, web
from aiohttp.test_utils import TestServer

from keepalive.core.outcome import Fault
from keepalive.core.telemetry import Event, Prepared
from keepalive.livetail.connection import LARGEST_FRAME, Opener, WebSocket
from keepalive.livetail.ports import Ended

Far = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]
EVENT = json.dumps({"timestamp": 1_700_000_000_000, "$metadata": {"id": "one"}})


class Tap:
    """Takes what a connection pours."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def __call__(self, events: Sequence[Event]) -> None:
        self.ids += [event.event_id for event in events]


@asynccontextmanager
async def opened(far: Far) -> AsyncIterator[WebSocket]:
    """Connect to a server whose side of the socket is played by `far`."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        with suppress(ConnectionError):
            await far(socket, request)
        return socket

    app = web.Application()
    app.router.add_get("/connect", answer)
    async with TestServer(app) as server, Opener() as opener:
        connection = await opener(Prepared(f"ws://127.0.0.1:{server.port}/connect?key=secret"), timeout=5)
        assert isinstance(connection, WebSocket)
        yield connection


async def poured(far: Far) -> tuple[list[str], Ended, int]:
    tap = Tap()
    junk: list[None] = []
    async with opened(far) as connection:
        ended = await connection.pour(tap, unread=lambda: junk.append(None))
    return tap.ids, ended, len(junk)


def frame(payload: bytes, *, opcode: int = 1, fin: bool = True, rsv1: bool = False) -> bytes:
    head = bytes([(fin << 7) | (rsv1 << 6) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    return head + bytes([127]) + len(payload).to_bytes(8, "big") + payload


def raw(*frames: bytes) -> Far:
    """Send bytes past the library, a good event first, and wait for the end."""

    async def far(socket: web.WebSocketResponse, request: web.Request) -> None:
        assert request.transport is not None
        for each in (frame(EVENT.encode()), *frames):
            request.transport.write(each)
        await socket.receive()

    return far


async def test_events_are_handed_over_in_the_order_in_which_they_come() -> None:
    async def far(socket: web.WebSocketResponse, request: web.Request) -> None:
        for number in range(3):
            await socket.send_str(json.dumps({"$metadata": {"id": str(number)}}))
        await socket.send_bytes(json.dumps([{"$metadata": {"id": "3"}}, {"$metadata": {"id": "4"}}]).encode())
        await socket.close(code=WSCloseCode.GOING_AWAY)

    ids, ended, _ = await poured(far)
    assert ids == ["0", "1", "2", "3", "4"]
    assert ended == Ended("closed", "the far side closed it with code 1001")


async def test_pings_are_answered_with_what_they_carry() -> None:
    async def far(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.ping(b"are you there")
        answers.append((await socket.receive()).data)

    answers: list[object] = []
    await poured(far)
    assert answers == [b"are you there"]


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"no json", b"7", b"[" * 10_000, b"", b"[3]"])
async def test_junk_is_told_of_and_what_follows_is_read(junk: bytes) -> None:
    async def far(socket: web.WebSocketResponse, request: web.Request) -> None:
        assert request.transport is not None
        request.transport.write(frame(junk) + frame(junk, opcode=2) + frame(EVENT.encode()))
        await socket.close()

    ids, ended, unread = await poured(far)
    assert ids == ["one"]
    assert unread == 2
    assert ended.cause == "closed"


_bomb = zlib.compressobj(wbits=-15)
BOMB = _bomb.compress(bytes(64 * LARGEST_FRAME)) + _bomb.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("hostile", "cause"),
    [
        (frame(b" " * (LARGEST_FRAME + 1)), "too_large"),
        (frame(b"")[:1] + bytes([127]) + (2**62).to_bytes(8, "big"), "too_large"),
        (frame(b" " * 65536, fin=False) + frame(b" " * 65536, opcode=0, fin=False) * 16, "too_large"),
        (frame(BOMB, rsv1=True), "protocol"),
        (frame(b"x", opcode=3), "protocol"),
        (frame(b"x", opcode=9, fin=False), "protocol"),
    ],
    ids=["large", "said to be larger", "endless fragments", "bomb", "unknown kind", "cut control"],
)
async def test_what_breaks_the_bounds_ends_the_connection_behind_what_was_good(
    hostile: bytes, cause: str
) -> None:
    ids, ended, _ = await poured(raw(hostile))
    assert ids == ["one"]
    assert ended.cause == cause


async def test_a_reset_is_an_end_and_no_exception() -> None:
    async def far(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.send_str(EVENT)
        assert request.transport is not None
        request.transport.abort()

    ids, ended, _ = await poured(far)
    assert ids == ["one"]
    assert ended.cause in ("reset", "closed")


async def _dead(socket: web.WebSocketResponse, request: web.Request) -> None:
    """Say one thing and never again; nothing is read either."""
    await socket.send_str(EVENT)
    assert request.transport is not None
    request.transport.pause_reading()
    await asyncio.sleep(120)


@pytest.mark.looptime
async def test_a_connection_that_is_dead_without_a_close_is_noticed_within_20_s() -> None:
    loop = asyncio.get_running_loop()
    tap = Tap()
    async with opened(_dead) as connection:
        before = loop.time()
        ended = await connection.pour(tap)
        noticed = loop.time() - before
    assert ended.cause == "silent"
    assert 15 <= noticed <= 20.5
    assert tap.ids == ["one"]


@pytest.mark.looptime
async def test_a_quiet_connection_whose_pings_are_answered_stays() -> None:
    async def far(socket: web.WebSocketResponse, request: web.Request) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(100):
                while True:
                    message = await socket.receive()
                    pings.append(asyncio.get_running_loop().time())
                    await socket.pong(message.data)
        await socket.close()

    pings: list[float] = []
    _, ended, _ = await poured(far)
    assert ended.cause == "closed"
    assert 9 <= len(pings) <= 13


@pytest.mark.looptime
async def test_it_answers_where_the_far_side_is_there_and_does_not_where_it_is_dead() -> None:
    async def alive(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.pong((await socket.receive()).data)
        await socket.receive()

    async with opened(alive) as connection:
        pouring = asyncio.create_task(connection.pour(Tap()))
        await asyncio.sleep(0)
        assert await connection.answers()
        await connection.close()
        await pouring
        assert not await connection.answers()
    async with opened(_dead) as connection:
        pouring = asyncio.create_task(connection.pour(Tap()))
        await asyncio.sleep(1)
        assert not await connection.answers()
        await pouring


@pytest.mark.looptime
async def test_it_is_closed_within_a_second_even_if_the_far_side_does_nothing() -> None:
    async with opened(_dead) as connection:
        pouring = asyncio.create_task(connection.pour(Tap()))
        await asyncio.sleep(1)
        async with asyncio.timeout(1):
            await connection.close()
            await pouring


@pytest.mark.parametrize(
    ("status", "cause"), [(302, "http_302"), (403, "http_403"), (200, "http_200"), (502, "http_502")]
)
async def test_a_far_side_that_does_not_open_is_a_fault_that_keeps_the_url_to_itself(
    status: int, cause: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    asked: list[str] = []
    app = web.Application()
    app.router.add_get("/{anything}", answer)
    async with TestServer(app) as server, Opener() as opener:
        fault = await opener(Prepared(f"ws://127.0.0.1:{server.port}/connect?key=secret"), timeout=5)
    assert isinstance(fault, Fault)
    assert fault.cause == cause
    assert "secret" not in repr(fault)
    assert asked == ["/connect"]


async def test_a_far_side_that_is_not_there_is_a_fault(unused_tcp_port: int) -> None:
    async with Opener() as opener:
        fault = await opener(Prepared(f"ws://127.0.0.1:{unused_tcp_port}/connect?key=secret"), timeout=5)
    assert isinstance(fault, Fault)
    assert fault.cause == "connect"
    assert "secret" not in repr(fault)
