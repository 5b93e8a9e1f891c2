"""What keepalive sends, beside what Cloudflare's own SDK sends for the same call."""

from __future__ import annotations

import json

import pytest
from cloudflare import AsyncCloudflare, omit
from pydantic import SecretStr

from keepalive.cloudflare.auth import ApiKey, ApiToken, Credential, UserServiceKey
from keepalive.cloudflare.client import CloudflareClient
from keepalive.core.outcome import Accepted
from keepalive.core.target import Target
from tests.cloudflare.servers import reply, saying, served

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

    ours, theirs = server.requests
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert {name: ours.named().get(name) for name in COMPARED} == {
        name: theirs.named().get(name) for name in COMPARED
    }
    assert json.loads(ours.body) == json.loads(theirs.body)


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
