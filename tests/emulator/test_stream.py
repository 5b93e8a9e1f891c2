from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from keepalive.emulator import Emulator, Fault, FaultKind, Route, World
from keepalive.emulator.reply import Json
from tests.support.emulated import ACCOUNT_ID, post

QUICK = replace(World.simple(), events_per_second=200.0, indexing_lag=0.0)
API: Json = {"scriptId": "api"}


async def prepared(http: ClientSession, emulator: Emulator, body: Json = API) -> str:
    answer = await post(http, emulator, "live-tail", body)
    url: str = json.loads(answer.text)["result"]["wsUrl"]
    return url


async def frame(socket: ClientWebSocketResponse) -> dict[str, dict[str, str]]:
    event: dict[str, dict[str, str]] = await socket.receive_json(timeout=1)
    return event


async def silence(socket: ClientWebSocketResponse) -> None:
    with suppress(TimeoutError):
        while True:
            await socket.receive(timeout=0.04)


async def test_a_prepared_session_streams_the_events_of_its_script(http: ClientSession) -> None:
    async with Emulator(QUICK) as emulator:
        async with http.ws_connect(await prepared(http, emulator)) as socket:
            events = [await frame(socket) for _ in range(3)]
        assert {event["$workers"]["scriptName"] for event in events} == {"api"}
        assert len({event["$metadata"]["id"] for event in events}) == 3
        assert emulator.requests[-1].route is Route.STREAM
        assert emulator.requests[-1].status == 101


async def test_events_are_dated_by_the_clock_that_it_is_given(http: ClientSession) -> None:
    async with (
        Emulator(QUICK, wall_clock=lambda: 4_000_000_000.0) as emulator,
        http.ws_connect(await prepared(http, emulator)) as socket,
    ):
        event = await socket.receive_json(timeout=1)
    assert 4_000_000_000_000 <= event["timestamp"] < 4_000_000_060_000


async def test_a_session_for_the_account_streams_every_script(http: ClientSession) -> None:
    async with (
        Emulator(QUICK) as emulator,
        http.ws_connect(await prepared(http, emulator, {})) as socket,
    ):
        names = {(await frame(socket))["$workers"]["scriptName"] for _ in range(4)}
    assert names == {"api", "web"}


async def test_filters_choose_what_is_streamed(http: ClientSession) -> None:
    errors = {"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"}
    async with Emulator(QUICK) as emulator:
        url = await prepared(http, emulator, {"scriptId": "api", "filters": [errors]})
        async with http.ws_connect(url) as socket:
            assert (await frame(socket))["$metadata"]["level"] == "error"


@pytest.mark.looptime
async def test_after_expiry_the_socket_stays_open_and_silent_until_the_next_heartbeat(
    http: ClientSession,
) -> None:
    world = replace(QUICK, window=5.0, events_per_second=20.0)
    async with Emulator(world) as emulator, http.ws_connect(await prepared(http, emulator)) as socket:
        last = await frame(socket)
        with suppress(TimeoutError):
            while True:
                last = await socket.receive_json(timeout=1)
        assert not emulator.eligible(ACCOUNT_ID, "api")
        assert not socket.closed
        await post(http, emulator, body=API)
        later = await frame(socket)
        lost = int(later["$metadata"]["message"].split()[1]) - int(last["$metadata"]["message"].split()[1])
        assert lost > 1


async def test_a_query_brings_back_what_the_stream_did_not(http: ClientSession) -> None:
    async with Emulator(QUICK) as emulator:
        emulator.faults.add(Fault(kind=FaultKind.SILENCE))
        async with http.ws_connect(await prepared(http, emulator)) as socket:
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.04)
            emulator.faults.clear()
            first = await frame(socket)
        timestamp = int(str(first["timestamp"]))
        body: Json = {"queryId": "gap", "timeframe": {"from": timestamp - 30, "to": timestamp}}
        events = json.loads((await post(http, emulator, "query", body)).text)["result"]["events"]["events"]
        mine = [event for event in events if event["$workers"]["scriptName"] == "api"]
        assert mine[0] == first
        assert len(mine) >= 6


async def test_a_session_cannot_be_claimed_twice(http: ClientSession) -> None:
    async with Emulator(QUICK) as emulator:
        url = await prepared(http, emulator)
        async with http.ws_connect(url):
            with pytest.raises(WSServerHandshakeError, match="403"):
                await http.ws_connect(url)


async def test_a_fault_can_close_an_open_stream(http: ClientSession) -> None:
    async with Emulator(QUICK) as emulator, http.ws_connect(await prepared(http, emulator)) as socket:
        await frame(socket)
        emulator.faults.add(Fault(kind=FaultKind.CLOSE))
        while (message := await socket.receive(timeout=1)).type is WSMsgType.TEXT:
            pass
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)


async def test_a_fault_can_cut_one_stream(http: ClientSession) -> None:
    async with (
        Emulator(QUICK) as emulator,
        http.ws_connect(await prepared(http, emulator)) as struck,
        http.ws_connect(await prepared(http, emulator, {"scriptId": "web"})) as spared,
    ):
        emulator.faults.add(Fault(kind=FaultKind.CUT, script="api"))
        while (message := await struck.receive(timeout=1)).type is WSMsgType.TEXT:
            pass
        assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        await frame(spared)


async def test_a_half_open_stream_brings_nothing_and_answers_no_ping(http: ClientSession) -> None:
    async with Emulator(QUICK) as emulator:
        url = await prepared(http, emulator)
        async with http.ws_connect(url, autoping=False) as socket:
            await frame(socket)
            emulator.faults.add(Fault(kind=FaultKind.HALF_OPEN, count=1))
            await silence(socket)
            await socket.ping()
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.04)
            assert not socket.closed
            emulator.drop_connections()


async def test_a_revoked_user_gets_nothing_while_heartbeats_are_answered(http: ClientSession) -> None:
    async with Emulator(QUICK) as emulator, http.ws_connect(await prepared(http, emulator)) as socket:
        await frame(socket)
        emulator.revoke(ACCOUNT_ID, "api", seconds=0.08)
        answer = await post(http, emulator, body=API)
        assert answer.status == 200
        await silence(socket)
        await asyncio.sleep(0.04)
        await post(http, emulator, body=API)
        await frame(socket)


async def test_an_outage_cuts_an_open_stream(http: ClientSession) -> None:
    async with Emulator(QUICK) as emulator, http.ws_connect(await prepared(http, emulator)) as socket:
        await frame(socket)
        emulator.faults.add(Fault(kind=FaultKind.OUTAGE))
        while (message := await socket.receive(timeout=1)).type is WSMsgType.TEXT:
            pass
        assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR)


async def test_a_status_can_refuse_a_stream_and_leaves_the_session_to_be_claimed(http: ClientSession) -> None:
    refusal = Fault(kind=FaultKind.STATUS, status=503, routes=frozenset({Route.STREAM}), count=1)
    async with Emulator(QUICK, faults=[refusal]) as emulator:
        url = await prepared(http, emulator)
        with pytest.raises(WSServerHandshakeError, match="503"):
            await http.ws_connect(url)
        async with http.ws_connect(url) as socket:
            await frame(socket)


async def test_a_tail_that_leaves_ends_its_stream(http: ClientSession) -> None:
    async with Emulator(QUICK) as emulator:
        async with http.ws_connect(await prepared(http, emulator)) as socket:
            await frame(socket)
        await asyncio.sleep(0.02)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "emulator: pour events"]


async def test_a_silent_world_keeps_its_streams_open(http: ClientSession) -> None:
    world = replace(World.simple(), events_per_second=0.0)
    async with Emulator(world) as emulator, http.ws_connect(await prepared(http, emulator)) as socket:
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.03)
        assert not socket.closed
