"""What keepalive sends, beside what Cloudflare's own SDK sends for the same call."""

from __future__ import annotations

import json

import pytest
from cloudflare import AsyncCloudflare, omit
from cloudflare.types.workers.observability.telemetry_live_tail_params import Filter
from pydantic import SecretStr

from keepalive.cloudflare.auth import ApiKey, ApiToken, Credential, UserServiceKey
from keepalive.cloudflare.client import CloudflareClient
from keepalive.core.outcome import Accepted
from keepalive.core.target import Target
from keepalive.core.telemetry import Condition, Page, Question, Wanted
from tests.cloudflare.servers import Request, reply, saying, served

ACCOUNT = "0123456789abcdef0123456789abcdef"
SCHEMES: dict[str, Credential] = {
    "token": ApiToken(SecretStr("t0ken-value")),
    "key": ApiKey(SecretStr("ops@example.com"), SecretStr("key-value")),
    "service": UserServiceKey(SecretStr("v1.0-value")),
}
COMPARED = (
    "authorization",
    "x-auth-email",
    "x-auth-key",
    "x-auth-user-service-key",
    "content-type",
    "accept",
)


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_TOKEN", "API_KEY", "EMAIL", "API_USER_SERVICE_KEY", "BASE_URL"):
        monkeypatch.delenv(f"CLOUDFLARE_{name}", raising=False)


def sdk_of(credential: Credential, base_url: str) -> AsyncCloudflare:
    match credential:
        case ApiToken(token):
            return AsyncCloudflare(base_url=base_url, max_retries=0, api_token=token.get_secret_value())
        case ApiKey(email, key):
            return AsyncCloudflare(
                base_url=base_url,
                max_retries=0,
                api_email=email.get_secret_value(),
                api_key=key.get_secret_value(),
            )
        case UserServiceKey(key):
            return AsyncCloudflare(base_url=base_url, max_retries=0, user_service_key=key.get_secret_value())


@pytest.mark.parametrize("script", ["api", "wörker-1", None])
@pytest.mark.parametrize("credential", SCHEMES.values(), ids=SCHEMES)
async def test_a_heartbeat_is_the_sdks_in_method_path_auth_and_body(
    credential: Credential, script: str | None
) -> None:
    async with served(saying(reply(Content_Type="application/json"))) as server:
        async with CloudflareClient({"prod": credential}, base_url=server.url) as client:
            assert await client.heartbeat(Target("prod", ACCOUNT, script), timeout=2) == Accepted()
        async with sdk_of(credential, server.url) as sdk:
            await sdk.workers.observability.telemetry.live_tail_heartbeat(
                account_id=ACCOUNT, script_id=omit if script is None else script
            )

    same(*server.requests)


LEAF = Condition("$metadata.level", "eq", value="error")
WANTED = Wanted((LEAF, Wanted((Condition("$workers.wallTimeMs", ">", "number", 500),), any_of=True)))
FILTERS: list[Filter] = [
    {"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"},
    {
        "kind": "group",
        "filter_combination": "or",
        "filters": [{"key": "$workers.wallTimeMs", "operation": ">", "type": "number", "value": 500}],
    },
]


def same(ours: Request, theirs: Request) -> None:
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert {name: ours.named().get(name) for name in COMPARED} == {
        name: theirs.named().get(name) for name in COMPARED
    }
    assert json.loads(ours.body) == json.loads(theirs.body)


@pytest.mark.parametrize("script", ["api", None])
@pytest.mark.parametrize("credential", SCHEMES.values(), ids=SCHEMES)
async def test_a_prepare_is_the_sdks_in_method_path_auth_and_body(
    credential: Credential, script: str | None
) -> None:
    body = b'{"result":{"wsUrl":""},"success":true,"errors":[],"messages":[]}'
    async with served(saying(reply(200, body, Content_Type="application/json"))) as server:
        async with CloudflareClient({"prod": credential}, base_url=server.url) as client:
            await client.prepare(Target("prod", ACCOUNT, script), WANTED, timeout=2)
            await client.prepare(Target("prod", ACCOUNT, script), Wanted(), timeout=2)
        async with sdk_of(credential, server.url) as sdk:
            script_id = omit if script is None else script
            await sdk.workers.observability.telemetry.live_tail(
                account_id=ACCOUNT, script_id=script_id, filter_combination="and", filters=FILTERS
            )
            await sdk.workers.observability.telemetry.live_tail(account_id=ACCOUNT, script_id=script_id)

    ours, ours_plain, theirs, theirs_plain = server.requests
    same(ours, theirs)
    same(ours_plain, theirs_plain)


@pytest.mark.parametrize("credential", SCHEMES.values(), ids=SCHEMES)
async def test_a_query_is_the_sdks_in_method_path_auth_and_body(credential: Credential) -> None:
    body = b'{"result":{"events":{"events":[],"count":0}},"success":true,"errors":[],"messages":[]}'
    async with served(saying(reply(200, body, Content_Type="application/json"))) as server:
        async with CloudflareClient({"prod": credential}, base_url=server.url) as client:
            question = Question(1000, 2000, Wanted((LEAF,)), limit=7, offset="01HF", newer=True)
            assert await client.query(Target("prod", ACCOUNT, "api"), question, timeout=2) == Page(())
        async with sdk_of(credential, server.url) as sdk:
            await sdk.workers.observability.telemetry.query(
                account_id=ACCOUNT,
                query_id="keepalive",
                timeframe={"from": 1000, "to": 2000},
                view="events",
                limit=7,
                offset="01HF",
                offset_direction="prev",
                parameters={
                    "datasets": ["cloudflare-workers"],
                    "filter_combination": "and",
                    "filters": [
                        {"key": "$workers.scriptName", "operation": "eq", "type": "string", "value": "api"},
                        {"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"},
                    ],
                },
            )

    same(*server.requests)


async def test_a_verification_is_the_sdks() -> None:
    body = b'{"result":{"id":"f00","status":"active"},"success":true,"errors":[],"messages":[]}'
    credential = SCHEMES["token"]
    async with served(saying(reply(200, body, Content_Type="application/json"))) as server:
        async with CloudflareClient({"prod": credential}, base_url=server.url) as client:
            await client.verify("prod", ACCOUNT, timeout=2)
        async with sdk_of(credential, server.url) as sdk:
            await sdk.user.tokens.verify()

    ours, theirs = server.requests
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert ours.named()["authorization"] == theirs.named()["authorization"]
