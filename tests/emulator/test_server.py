from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trustme
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientSession,
    ServerDisconnectedError,
)

from keepalive.emulator import Emulator, Fault, FaultKind, Place, Quota, Route, World
from keepalive.errors import KeepaliveError, UsageError
from tests.support.emulated import ACCOUNT_ID, SCHEMES, post

SIMPLE = World.simple()
API = {"scriptId": "api"}
CUT = (ClientConnectorError, ConnectionResetError, ServerDisconnectedError, ClientError)


@asynccontextmanager
async def emulated(
    *faults: Fault, world: World = SIMPLE, time_factor: float = 1.0
) -> AsyncIterator[Emulator]:
    async with Emulator(world, faults=faults, time_factor=time_factor) as emulator:
        yield emulator


async def test_a_heartbeat_is_accepted_with_the_headers_of_the_quota_and_a_ray(http: ClientSession) -> None:
    async with emulated() as emulator:
        answer = await post(http, emulator, body=API)
        assert answer.status == 200
        assert '"success":true' in answer.text
        assert answer.headers["ratelimit"] == '"default";r=1199;t=300'
        assert answer.headers["ratelimit-policy"] == '"default";q=1200;w=300'
        rays = {answer.headers["cf-ray"], (await post(http, emulator)).headers["cf-ray"]}
        assert len(rays) == 2


async def test_the_record_tells_what_arrived_and_what_was_answered(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.STATUS, status=429, retry_after=5, count=1)) as emulator:
        await post(http, emulator, body=API)
        await post(http, emulator, body=API)
        first, second = emulator.requests
        assert (first.status, first.code, first.retry_after, first.fault) == (429, 10429, 5, "status")
        assert (second.route, second.method, second.body) == (Route.HEARTBEAT, "POST", b'{"scriptId": "api"}')
        assert (second.user, second.account_id, second.script_id) == ("user", ACCOUNT_ID, "api")
        assert second.path.endswith(f"/{ACCOUNT_ID}/workers/observability/telemetry/live-tail/heartbeat")
        assert second.headers["authorization"] == SCHEMES["api_token"]["Authorization"]
        assert [one.accepted for one in (first, second)] == [False, True]
        assert first.at <= second.at <= emulator.now
        assert "emulated-token" not in repr(second)


async def test_the_time_factor_makes_a_window_short(http: ClientSession) -> None:
    async with emulated(time_factor=1500) as emulator:
        await post(http, emulator, body=API)
        assert emulator.eligible(ACCOUNT_ID, "api")
        await asyncio.sleep(0.04)
        assert not emulator.eligible(ACCOUNT_ID, "api")
        await post(http, emulator, body=API)
        tally = emulator.tallies()[Place("user", ACCOUNT_ID, "api")]
        assert (tally.lapses, tally.renewals) == (1, 2)
        assert tally.lapsed >= 14


async def test_headers_name_real_seconds_whatever_the_factor(http: ClientSession) -> None:
    world = World.simple(quota=Quota(requests=1))
    async with emulated(world=world, time_factor=30) as emulator:
        assert (await post(http, emulator)).headers["ratelimit-policy"] == '"default";q=1;w=10'
        answer = await post(http, emulator)
        assert (answer.status, answer.headers["retry-after"]) == (429, "10")
        assert answer.headers["ratelimit"] == '"default";r=0;t=10'
        assert emulator.requests[-1].retry_after == 10


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.OUTAGE])
async def test_a_reset_ends_the_connection_without_an_answer(http: ClientSession, kind: FaultKind) -> None:
    async with emulated() as emulator:
        await post(http, emulator)  # a connection stays open
        emulator.faults.add(Fault(kind=kind))
        with pytest.raises(CUT):
            await post(http, emulator)
        assert emulator.requests[-1].status is None
        assert emulator.requests[-1].fault == kind


async def test_an_outage_resets_new_connections_and_passes(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.OUTAGE, until=10), time_factor=300) as emulator:
        with pytest.raises(CUT):
            await post(http, emulator)
        assert not emulator.requests
        await asyncio.sleep(0.035)
        assert (await post(http, emulator)).status == 200


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.BLACK_HOLE])
async def test_nothing_is_answered_while_it_hangs(http: ClientSession, kind: FaultKind) -> None:
    async with emulated(Fault(kind=kind)) as emulator:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.04):
                await post(http, emulator)
        assert [one.fault for one in emulator.requests] == [kind]


async def test_a_hang_with_an_end_ends_in_a_reset(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.HANG, seconds=60), time_factor=3000) as emulator:
        with pytest.raises(CUT):
            await post(http, emulator)


async def test_a_drip_spreads_the_true_answer(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.DRIP, seconds=40), time_factor=1000) as emulator:
        answer = await post(http, emulator)
        assert answer.text.endswith('"result":{}}')
        assert emulator.now >= 40


async def test_a_truncated_answer_breaks_off(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.TRUNCATE)) as emulator:
        with pytest.raises(ClientPayloadError):
            await post(http, emulator)


async def test_a_huge_answer_is_megabytes_of_valid_json(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.HUGE)) as emulator:
        answer = await post(http, emulator)
        assert len(answer.text) > 4 * 1024 * 1024
        assert answer.text.lstrip().startswith('{"success":true')


async def test_a_client_that_leaves_a_huge_answer_leaves_no_trace(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.HUGE, count=1)) as emulator:
        async with http.post(emulator.base_url + "/user/tokens/verify") as response:
            response.close()
        assert (await post(http, emulator)).status == 200


async def test_a_redirect_points_at_a_path_that_shows_who_follows_it(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.REDIRECT, routes=frozenset({Route.HEARTBEAT}))) as emulator:
        answer = await post(http, emulator)
        assert answer.status == 307
        assert answer.headers["location"] == f"{emulator.base_url}/redirected"


async def test_an_html_page_is_no_json(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.HTML, status=520)) as emulator:
        answer = await post(http, emulator)
        assert (answer.status, answer.headers["content-type"]) == (520, "text/html")


async def test_a_throttle_can_come_without_a_time(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.STATUS, status=429)) as emulator:
        assert "retry-after" not in (await post(http, emulator)).headers


async def test_success_false_comes_with_status_200(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.NOT_ACCEPTED)) as emulator:
        answer = await post(http, emulator)
        assert (answer.status, answer.code) == (200, 10001)


async def test_connections_are_counted_and_can_be_dropped(http: ClientSession) -> None:
    async with emulated() as emulator:
        await post(http, emulator)
        await post(http, emulator)
        assert emulator.connections == 1
        emulator.drop_connections()
        await asyncio.sleep(0.01)
        await post(http, emulator)
        assert emulator.connections == 2


async def test_leaving_ends_requests_that_hang(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.HANG)) as emulator:
        hanging = asyncio.create_task(post(http, emulator))
        await asyncio.sleep(0.02)
    with pytest.raises(CUT):
        await hanging


async def test_it_speaks_tls(http: ClientSession) -> None:
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with Emulator(SIMPLE, tls=server) as emulator:
        assert emulator.base_url.startswith("https://127.0.0.1:")
        url, headers = emulator.base_url + "/user/tokens/verify", SCHEMES["api_token"]
        async with http.get(url, headers=headers, ssl=client) as response:
            assert response.status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com", ""])  # noqa: S104 - must be refused
def test_it_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(UsageError, match="stays on this machine"):
        Emulator(SIMPLE, host=host)


@pytest.mark.parametrize("factor", [0, -1, float("inf"), float("nan")])
def test_a_clock_that_stands_still_is_refused(factor: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        Emulator(SIMPLE, time_factor=factor)


async def test_a_taken_port_is_named() -> None:
    async with Emulator(SIMPLE) as emulator:
        port = int(emulator.base_url.split(":")[2].split("/")[0])
        with pytest.raises(KeepaliveError, match=f"port {port}: .*choose another port"):
            async with Emulator(SIMPLE, port=port):
                pass


async def test_the_same_seed_brings_the_same_faults(http: ClientSession) -> None:
    world = replace(SIMPLE, per_address=Quota(requests=10**6))
    fault = Fault(kind=FaultKind.STATUS, status=503, probability=0.5)

    async def statuses(seed: int) -> list[int]:
        async with Emulator(world, faults=[fault], seed=seed) as emulator:
            return [(await post(http, emulator)).status for _ in range(40)]

    assert await statuses(1) == await statuses(1) != await statuses(2)


@pytest.mark.looptime
async def test_it_lives_in_virtual_time(http: ClientSession) -> None:
    async with emulated(Fault(kind=FaultKind.STATUS, status=503, after=60, until=70)) as emulator:
        answers = []
        for _ in range(5):
            answers.append((await post(http, emulator, body=API)).status)
            await asyncio.sleep(20)
        tally = emulator.tallies()[Place("user", ACCOUNT_ID, "api")]
    assert answers == [200, 200, 200, 503, 200]
    assert tally.eligible == pytest.approx(100, abs=1)
    assert tally.lapsed < 1


async def test_a_permission_can_be_granted_while_it_runs(http: ClientSession) -> None:
    user = SIMPLE.users[0]
    barred = replace(user, credentials=(replace(user.credentials[0], may_write=False),))
    async with emulated(world=replace(SIMPLE, users=(barred,))) as emulator:
        assert (await post(http, emulator, body=API)).status == 403
        emulator.api.world = SIMPLE
        assert (await post(http, emulator, body=API)).status == 200
