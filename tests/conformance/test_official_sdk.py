"""Cloudflare's own SDK against the emulator: it must find everything as it is used to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import cloudflare
import pytest
from aiohttp import ClientSession
from cloudflare import AsyncCloudflare

from keepalive.emulator import Credential, Emulator, Fault, FaultKind, Quota, User, World
from tests.support.emulated import (
    ACCOUNT_ID,
    API_KEY,
    EMAIL,
    OTHER_ACCOUNT_ID,
    SCHEMES,
    SERVICE_KEY,
    TOKEN,
    essentials,
    three_schemes,
)

OPTIONS = {
    "api_token": {"api_token": TOKEN},
    "api_key": {"api_email": EMAIL, "api_key": API_KEY},
    "user_service_key": {"user_service_key": SERVICE_KEY},
}
PATH = f"/client/v4/accounts/{ACCOUNT_ID}/workers/observability/telemetry"
WORLD = three_schemes()


@pytest.fixture(autouse=True)
def no_credentials_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("CLOUDFLARE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@asynccontextmanager
async def sdk(
    world: World = WORLD, *faults: Fault, scheme: str = "api_token", token: str = TOKEN
) -> AsyncIterator[tuple[AsyncCloudflare, Emulator]]:
    options = OPTIONS[scheme] if token == TOKEN else {"api_token": token}
    async with (
        Emulator(world, faults=faults) as emulator,
        AsyncCloudflare(
            base_url=emulator.base_url,
            max_retries=0,
            api_token=options.get("api_token"),
            api_email=options.get("api_email"),
            api_key=options.get("api_key"),
            user_service_key=options.get("user_service_key"),
        ) as client,
    ):
        yield client, emulator


async def beat(client: AsyncCloudflare, script: str = "api", account_id: str = ACCOUNT_ID) -> object:
    return await client.workers.observability.telemetry.live_tail_heartbeat(
        account_id=account_id, script_id=script
    )


@pytest.mark.parametrize("scheme", OPTIONS)
async def test_a_heartbeat_is_accepted_by_each_scheme(scheme: str) -> None:
    async with sdk(scheme=scheme) as (client, emulator):
        assert await beat(client) == {}
        assert emulator.eligible(ACCOUNT_ID, "api")
        assert not emulator.eligible(ACCOUNT_ID, "web")
        seen = essentials(emulator.requests[-1])
    assert (seen.method, seen.path) == ("POST", f"{PATH}/live-tail/heartbeat")
    assert seen.auth == {name.lower(): value for name, value in SCHEMES[scheme].items()}
    assert (seen.content_type, seen.body) == ("application/json", {"scriptId": "api"})


async def test_a_heartbeat_without_a_script_is_for_the_whole_account() -> None:
    async with sdk() as (client, emulator):
        await client.workers.observability.telemetry.live_tail_heartbeat(account_id=ACCOUNT_ID)
        assert emulator.eligible(ACCOUNT_ID, "web")
        assert essentials(emulator.requests[-1]).body == {}


@pytest.mark.parametrize("scheme", OPTIONS)
async def test_a_prepared_live_tail_streams(scheme: str) -> None:
    async with sdk(replace(WORLD, events_per_second=100.0), scheme=scheme) as (client, emulator):
        prepared = await client.workers.observability.telemetry.live_tail(
            account_id=ACCOUNT_ID,
            script_id="api",
            filter_combination="and",
            filters=[{"key": "$metadata.level", "operation": "eq", "type": "string", "value": "info"}],
        )
        assert emulator.eligible(ACCOUNT_ID, "api")
        async with ClientSession() as http, http.ws_connect(prepared.ws_url) as socket:
            event = await socket.receive_json(timeout=1)
    assert (event["$workers"]["scriptName"], event["$metadata"]["level"]) == ("api", "info")


@pytest.mark.parametrize("scheme", OPTIONS)
async def test_a_query_finds_events(scheme: str) -> None:
    world = replace(WORLD, events_per_second=1000.0, indexing_lag=0.0)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    async with sdk(world, scheme=scheme) as (client, _):
        await beat(client)
        answer = await client.workers.observability.telemetry.query(
            account_id=ACCOUNT_ID,
            query_id="gap",
            timeframe={"from": now_ms - 1000, "to": now_ms + 60_000},
            view="events",
            limit=3,
            parameters={
                "datasets": ["cloudflare-workers"],
                "filter_combination": "and",
                "filters": [
                    {"key": "$metadata.service", "operation": "eq", "type": "string", "value": "web"}
                ],
            },
        )
    assert answer.events is not None
    assert answer.events.events is not None
    assert answer.events.count == len(answer.events.events) == 3
    assert {event.metadata.service for event in answer.events.events} == {"web"}
    ids = [event.metadata.id for event in answer.events.events]
    assert ids == sorted(ids, reverse=True)


async def test_a_users_token_is_verified() -> None:
    async with sdk() as (client, _):
        verified = await client.user.tokens.verify()
    assert verified is not None
    assert verified.status == "active"


async def test_an_account_owned_token_is_verified_by_its_account() -> None:
    robot = User("robot", (Credential.api_token("owned"),), owner=ACCOUNT_ID)
    async with sdk(replace(WORLD, users=(robot,)), token="owned") as (client, _):
        verified = await client.accounts.tokens.verify(account_id=ACCOUNT_ID)
        assert verified is not None
        assert verified.status == "active"
        with pytest.raises(cloudflare.AuthenticationError):
            await client.user.tokens.verify()


Fails = Callable[[AsyncCloudflare], Awaitable[object]]
NO_WRITE = replace(WORLD, users=(User("user", (replace(Credential.api_token(TOKEN), may_write=False),)),))


@pytest.mark.parametrize(
    ("world", "token", "call", "error", "code"),
    [
        (WORLD, "unknown", beat, cloudflare.AuthenticationError, 10000),
        (WORLD, "two words", beat, cloudflare.BadRequestError, 6003),
        (NO_WRITE, TOKEN, beat, cloudflare.PermissionDeniedError, 10000),
        (
            WORLD,
            TOKEN,
            lambda one: beat(one, account_id=OTHER_ACCOUNT_ID),
            cloudflare.PermissionDeniedError,
            9109,
        ),
        (WORLD, TOKEN, lambda one: beat(one, "unknown"), cloudflare.NotFoundError, 10007),
        (WORLD, TOKEN, lambda one: beat(one, account_id="short"), cloudflare.BadRequestError, 7003),
        (WORLD, TOKEN, lambda one: one.user.get(), cloudflare.NotFoundError, 7000),
    ],
)
async def test_what_cloudflare_refuses_raises_the_sdks_own_error(
    world: World, token: str, call: Fails, error: type[cloudflare.APIStatusError], code: int
) -> None:
    async with sdk(world, token=token) as (client, emulator):
        with pytest.raises(error) as raised:
            await call(client)
        assert raised.value.errors[0].code == code
        assert raised.value.response.headers["cf-ray"]
        assert emulator.requests[-1].status == raised.value.status_code


async def test_an_overshot_quota_raises_the_rate_limit_error_for_every_call() -> None:
    world = replace(WORLD, users=(replace(WORLD.users[0], quota=Quota(2, 300, 300)),))
    async with sdk(world) as (client, _):
        await beat(client)
        await beat(client)
        for _attempt in range(2):
            with pytest.raises(cloudflare.RateLimitError) as raised:
                await beat(client)
            assert raised.value.errors[0].code == 10429
            assert 299 <= int(raised.value.response.headers["Retry-After"]) <= 300
            assert raised.value.response.headers["Ratelimit"].startswith('"default";r=0;t=')


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(kind=FaultKind.STATUS, status=401), cloudflare.AuthenticationError),
        (Fault(kind=FaultKind.STATUS, status=403, code=9109), cloudflare.PermissionDeniedError),
        (Fault(kind=FaultKind.STATUS, status=404, code=10090), cloudflare.NotFoundError),
        (Fault(kind=FaultKind.STATUS, status=409), cloudflare.ConflictError),
        (Fault(kind=FaultKind.STATUS, status=429, retry_after=5), cloudflare.RateLimitError),
        (Fault(kind=FaultKind.STATUS, status=503), cloudflare.InternalServerError),
        (Fault(kind=FaultKind.HTML, status=520), cloudflare.InternalServerError),
        (Fault(kind=FaultKind.RESET), cloudflare.APIConnectionError),
        (Fault(kind=FaultKind.TRUNCATE), cloudflare.APIConnectionError),
    ],
)
async def test_a_fault_raises_what_the_sdk_raises_for_it(
    fault: Fault, error: type[cloudflare.APIError]
) -> None:
    async with sdk(WORLD, fault) as (client, _):
        with pytest.raises(error):
            await beat(client)


async def test_a_hang_runs_into_the_sdks_timeout() -> None:
    async with sdk(WORLD, Fault(kind=FaultKind.HANG)) as (client, _):
        with pytest.raises(cloudflare.APITimeoutError):
            await client.with_options(timeout=0.04).workers.observability.telemetry.live_tail_heartbeat(
                account_id=ACCOUNT_ID
            )
