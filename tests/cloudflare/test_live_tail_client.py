"""Live tails and queries by the client: against the emulator, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr
from yarl import URL

from keepalive.cloudflare.auth import ApiKey, ApiToken, Credential, UserServiceKey
from keepalive.cloudflare.client import LARGEST_BODY, CloudflareClient
from keepalive.cloudflare.query import LARGEST_REPLY
from keepalive.cloudflare.telemetry import events_of
from keepalive.core.outcome import Denied, Throttled, Transient
from keepalive.core.target import Scope, Target
from keepalive.core.telemetry import Condition, Page, Prepared, Question, Wanted
from keepalive.emulator import Emulator, Fault, FaultKind, Quota, World
from tests.cloudflare.servers import Request, reply, saying, served
from tests.support.emulated import ACCOUNT_ID, API_KEY, EMAIL, SERVICE_KEY, TOKEN, three_schemes

CREDENTIALS: dict[str, Credential] = {
    "token": ApiToken(SecretStr(TOKEN)),
    "key": ApiKey(SecretStr(EMAIL), SecretStr(API_KEY)),
    "service": UserServiceKey(SecretStr(SERVICE_KEY)),
}
TARGET = Target("token", ACCOUNT_ID, "api")
BUSY = replace(three_schemes(), events_per_second=1000.0, indexing_lag=0.0)
ERRORS = Wanted((Condition("$metadata.level", "eq", value="error"),))
EVER = Question(0, 4_000_000_000_000)

Refused = Throttled | Denied | Transient
Ask = Callable[[CloudflareClient], Awaitable[Prepared | Page | Refused]]


async def prepare(client: CloudflareClient) -> Prepared | Refused:
    return await client.prepare(TARGET, Wanted(), timeout=2)


async def query(client: CloudflareClient) -> Page | Refused:
    return await client.query(TARGET, EVER, timeout=2)


BOTH = pytest.mark.parametrize("ask", [prepare, query])


@asynccontextmanager
async def emulated(world: World = BUSY, *faults: Fault) -> AsyncIterator[tuple[CloudflareClient, Emulator]]:
    async with (
        Emulator(world, faults=faults) as emulator,
        CloudflareClient(CREDENTIALS, base_url=emulator.base_url) as client,
    ):
        yield client, emulator


async def answered(ask: Ask, *replies: bytes) -> Prepared | Page | Refused:
    async with (
        served(saying(*replies)) as server,
        CloudflareClient(CREDENTIALS, base_url=server.url) as client,
    ):
        return await ask(client)


def found(*events: object) -> bytes:
    return json.dumps({"success": True, "result": {"events": {"events": events}}}).encode()


# --- the emulator -------------------------------------------------------------------------------


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("script", ["api", None])
async def test_a_prepared_live_tail_brings_the_events_that_are_wanted(
    credential: str, script: str | None
) -> None:
    async with emulated() as (client, emulator), ClientSession() as http:
        prepared = await client.prepare(Target(credential, ACCOUNT_ID, script), ERRORS, timeout=2)
        assert isinstance(prepared, Prepared)
        assert emulator.eligible(ACCOUNT_ID, script)
        async with http.ws_connect(URL(prepared.url, encoded=True)) as socket:
            [event] = events_of(await socket.receive_str(timeout=1))

    assert '"level":"error"' in event.raw
    assert event.event_id
    assert event.timestamp
    assert event.script in {"api", "web"}


async def test_a_query_pages_through_the_events_of_one_script() -> None:
    async with emulated() as (client, _):
        await asyncio.sleep(0.04)
        everything = await client.query(TARGET, EVER, timeout=2)
        assert isinstance(everything, Page)
        ids = [event.event_id for event in everything.events]
        until = replace(EVER, end=everything.events[0].timestamp)

        first = await client.query(TARGET, replace(until, limit=5), timeout=2)
        assert isinstance(first, Page)
        second = await client.query(TARGET, replace(until, limit=5, offset=ids[4]), timeout=2)
        assert isinstance(second, Page)
        back = await client.query(TARGET, replace(until, limit=2, offset=ids[4], newer=True), timeout=2)
        assert isinstance(back, Page)

    assert len(ids) > 10
    assert {event.script for event in everything.events} == {"api"}
    assert [event.event_id for event in first.events] == ids[:5]
    assert [event.event_id for event in second.events] == ids[5:10]
    assert [event.event_id for event in back.events] == ids[2:4]


@pytest.mark.parametrize("script", ["api", None])
async def test_a_query_finds_what_is_wanted_only(script: str | None) -> None:
    async with emulated() as (client, _):
        await asyncio.sleep(0.04)
        wanted = replace(EVER, wanted=ERRORS)
        answer = await client.query(Target("token", ACCOUNT_ID, script), wanted, timeout=2)

    assert isinstance(answer, Page)
    assert answer.events
    assert all('"level":"error"' in event.raw for event in answer.events)
    assert {event.script for event in answer.events} == ({"api"} if script else {"api", "web"})


@BOTH
async def test_an_overshot_quota_is_throttled(ask: Ask) -> None:
    world = replace(BUSY, users=(replace(BUSY.users[0], quota=Quota(1, 300, 300)),))
    async with emulated(world) as (client, _):
        await ask(client)
        outcome = await ask(client)

    assert isinstance(outcome, Throttled)
    assert outcome.retry_after
    assert outcome.fault.cf_ray


@BOTH
@pytest.mark.parametrize(
    ("fault", "cause", "scope"),
    [
        (Fault(kind=FaultKind.STATUS, status=401, code=10000), "authentication", Scope.CREDENTIAL),
        (Fault(kind=FaultKind.STATUS, status=403, code=10000), "authentication", Scope.ACCOUNT),
        (Fault(kind=FaultKind.STATUS, status=404, code=10007), "unknown_script", Scope.TARGET),
    ],
)
async def test_a_refusal_is_denied_with_a_hint(ask: Ask, fault: Fault, cause: str, scope: Scope) -> None:
    async with emulated(BUSY, fault) as (client, _):
        outcome = await ask(client)

    assert isinstance(outcome, Denied)
    assert (outcome.fault.cause, outcome.scope) == (cause, scope)
    assert outcome.fault.hint
    assert outcome.fault.cf_ray


async def test_a_missing_permission_is_named() -> None:
    reader = replace(
        BUSY.users[0], credentials=tuple(replace(one, may_write=False) for one in BUSY.users[0].credentials)
    )
    async with emulated(replace(BUSY, users=(reader,))) as (client, _):
        outcome = await prepare(client)

    assert isinstance(outcome, Denied)
    assert "Workers Observability Write" in outcome.fault.hint


@BOTH
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault(kind=FaultKind.RESET), "reset"),
        (Fault(kind=FaultKind.TRUNCATE), "truncated"),
        (Fault(kind=FaultKind.STATUS, status=503), "http_503"),
        (Fault(kind=FaultKind.HTML, status=520), "http_520"),
        (Fault(kind=FaultKind.REDIRECT), "redirect"),
        (Fault(kind=FaultKind.NOT_ACCEPTED), "not_accepted"),
        (Fault(kind=FaultKind.HUGE), "too_large"),
    ],
)
async def test_every_fault_of_the_way_is_an_outcome(ask: Ask, fault: Fault, cause: str) -> None:
    async with emulated(BUSY, fault) as (client, _):
        outcome = await ask(client)

    assert isinstance(outcome, Transient)
    assert outcome.fault.cause == cause


async def test_nobody_waits_longer_than_the_timeout() -> None:
    async def hang(_: Request, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with served(hang) as server, CloudflareClient(CREDENTIALS, base_url=server.url) as client:
        asked = client.prepare(TARGET, Wanted(), timeout=0.04), client.query(TARGET, EVER, timeout=0.04)
        outcomes = await asyncio.gather(*asked)

    for outcome in outcomes:
        assert isinstance(outcome, Transient)
        assert outcome.hung


@BOTH
async def test_an_unknown_credential_is_a_bug_of_the_caller(ask: Ask) -> None:
    async with CloudflareClient({}, base_url="http://127.0.0.1:1") as client:
        with pytest.raises(KeyError):
            await ask(client)


# --- hostile replies ----------------------------------------------------------------------------


async def test_a_websocket_elsewhere_is_refused_and_a_configured_host_is_not() -> None:
    body = b'{"success":true,"result":{"wsUrl":"https://tail.example.net/c?key=canary"}}'
    async with served(saying(reply(200, body, cf_ray="8f1c-FRA"))) as server:
        async with CloudflareClient(CREDENTIALS, base_url=server.url) as client:
            refused = await prepare(client)
        allowed = ("tail.example.net",)
        async with CloudflareClient(CREDENTIALS, base_url=server.url, live_tail_hosts=allowed) as client:
            prepared = await prepare(client)

    assert isinstance(refused, Denied)
    assert (refused.fault.cause, refused.fault.cf_ray) == ("ws_url", "8f1c-FRA")
    assert 'live_tail_hosts = ["tail.example.net"]' in refused.fault.hint
    assert prepared == Prepared("wss://tail.example.net/c?key=canary")
    assert "canary" not in repr((refused, prepared))


async def test_a_reply_to_a_prepare_is_read_no_further_than_a_heartbeats() -> None:
    whole = b'{"success":true,"result":{"wsUrl":""}}'

    outcome = await answered(prepare, reply(200, whole.ljust(LARGEST_BODY + 1)))

    assert isinstance(outcome, Transient)
    assert outcome.fault.cause == "too_large"


async def test_a_page_may_be_larger_than_a_heartbeats_reply_but_has_a_bound_too() -> None:
    event = {"$metadata": {"id": "a"}, "source": "x" * (LARGEST_REPLY // 2)}
    bomb = gzip.compress(found(event, event, event), 1)

    assert isinstance(await answered(query, reply(200, found(event))), Page)
    for large in (
        reply(200, found(event, event, event)),
        reply(200, bomb, Content_Encoding="gzip"),
    ):
        outcome = await answered(query, large)
        assert isinstance(outcome, Transient)
        assert outcome.fault.cause == "too_large"


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "not_json"),
        (b"<html>", "not_json"),
        (found() + b"x", "not_json"),
        (b'{"success":true,"result":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "not_json"),
        (b'{"success":true,"result":"\xff"}', "not_json"),
        (b'{"success":1,"result":{"events":{"events":[]}}}', "not_accepted"),
        (b'{"result":{"events":{"events":[]}}}', "not_accepted"),
        (b'{"success":true,"result":{"events":{"events":[[]]}}}', "not_accepted"),
        (b'{"success":true}', "not_accepted"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_reply_that_shows_no_events_is_a_passing_fault(body: bytes, cause: str) -> None:
    outcome = await answered(query, reply(200, body))

    assert isinstance(outcome, Transient)
    assert outcome.fault.cause == cause
    assert outcome.fault.detail.isprintable()


async def test_one_odd_line_does_not_make_a_page_unreadable() -> None:
    deep: object = "end"
    for _ in range(300):
        deep = [deep]
    odd = [{"m": "cut \ud83d"}, {"n": 10**40}, {"m": "\x1b[2J"}, {"deep": deep}]

    page = await answered(query, reply(200, found(*odd)))

    assert isinstance(page, Page)
    assert [json.loads(event.raw) for event in page.events] == odd


async def test_events_that_hold_a_secret_come_as_they_were_logged_and_faults_do_not_quote_it() -> None:
    page = await answered(query, reply(200, found({"m": EMAIL}), cf_ray="8f1c"))
    refused = await answered(
        query, reply(401, json.dumps({"success": False, "errors": [{"code": 1, "message": TOKEN}]}).encode())
    )

    assert isinstance(page, Page)
    assert EMAIL in page.events[0].raw
    assert isinstance(refused, Denied)
    assert refused.fault.detail == "[secret]"


async def test_a_bad_request_with_filters_says_that_they_may_be_what_is_bad() -> None:
    bad = reply(400, b'{"success":false,"errors":[{"code":1,"message":"no such operation"}]}')

    with_filters = await answered(lambda client: client.prepare(TARGET, ERRORS, timeout=2), bad)
    without = await answered(prepare, bad)

    assert isinstance(with_filters, Denied)
    assert with_filters.fault.hint.startswith("check the filters")
    assert isinstance(without, Denied)
    assert "filters" not in without.fault.hint
