"""The client over aioresponses: what is sent, and what every reply and exception becomes."""

from __future__ import annotations

import errno
import json
import ssl
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from pydantic import SecretStr

from keepalive.cloudflare.auth import ApiKey, ApiToken, Credential, UserServiceKey
from keepalive.cloudflare.client import REMEMBERED_ACCOUNTS, CloudflareClient
from keepalive.cloudflare.verification import TokenActive, TokenUnverifiable
from keepalive.core.outcome import Accepted, Denied, Outcome, Throttled, Transient
from keepalive.core.target import Scope, Target
from keepalive.errors import ConfigError

BASE = "https://api.cloudflare.com/client/v4"
ACCOUNT = "0123456789abcdef0123456789abcdef"
BEAT = f"{BASE}/accounts/{ACCOUNT}/workers/observability/telemetry/live-tail/heartbeat"
USER_VERIFY = f"{BASE}/user/tokens/verify"
ACCOUNT_VERIFY = f"{BASE}/accounts/{ACCOUNT}/tokens/verify"
SUCCESS = {"errors": [], "messages": [], "result": {}, "success": True}
CANARY = "canary-0f1e2d3c"
CREDENTIALS: dict[str, Credential] = {
    "token": ApiToken(SecretStr(CANARY)),
    "key": ApiKey(SecretStr("canary@example.com"), SecretStr(CANARY)),
    "service": UserServiceKey(SecretStr(f"v1.0-{CANARY}")),
}
KEY = Mock(host="api.cloudflare.com", port=443, ssl=True, is_ssl=True)


def refusal(code: int) -> dict[str, object]:
    return {"success": False, "errors": [{"code": code, "message": "no"}], "messages": [], "result": None}


def token(status: str, **more: str) -> dict[str, object]:
    return SUCCESS | {"result": {"id": "f00", "status": status, **more}}


async def beat(credential: str = "token", script: str | None = "api", base: str = BASE) -> Outcome:
    async with CloudflareClient(CREDENTIALS, base_url=base) as client:
        return await client.heartbeat(Target(credential, ACCOUNT, script), timeout=1)


async def verify(credential: str = "token") -> TokenActive | TokenUnverifiable | Outcome:
    async with CloudflareClient(CREDENTIALS, base_url=BASE) as client:
        return await client.verify(credential, ACCOUNT, timeout=1)


def sent(replies: aioresponses) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, str(url), call.kwargs) for (method, url), calls in replies.requests.items() for call in calls
    ]


async def test_a_heartbeat_that_is_accepted(replies: aioresponses) -> None:
    replies.post(BEAT, payload=SUCCESS, headers={"cf-ray": "8f1c-FRA"})

    assert await beat() == Accepted(None, "8f1c-FRA")
    [(method, url, arguments)] = sent(replies)
    assert (method, url, arguments["data"]) == ("POST", BEAT, b'{"scriptId":"api"}')
    assert arguments["allow_redirects"] is False


async def test_the_whole_account_is_an_empty_object(replies: aioresponses) -> None:
    replies.post(BEAT, payload=SUCCESS)

    await beat(script=None)

    assert sent(replies)[0][2]["data"] == b"{}"


@pytest.mark.parametrize("script", ['a"b', "a\nb", "ä/../x", "{}", "\\"])
async def test_any_script_name_is_data(replies: aioresponses, script: str) -> None:
    replies.post(BEAT, payload=SUCCESS)

    await beat(script=script)

    assert json.loads(sent(replies)[0][2]["data"]) == {"scriptId": script}


async def test_an_account_id_is_escaped_into_the_path() -> None:
    client = CloudflareClient(CREDENTIALS, base_url=BASE)

    assert str(client._heartbeat_url("../x?y#z")).startswith(f"{BASE}/accounts/..%2Fx%3Fy%23z/workers/")


async def test_urls_kept_ready_are_bounded() -> None:
    client = CloudflareClient(CREDENTIALS, base_url=BASE)

    for number in range(REMEMBERED_ACCOUNTS + 10):
        client._heartbeat_url(str(number))

    assert len(client._urls) <= REMEMBERED_ACCOUNTS


@pytest.mark.parametrize("base", [f"{BASE}/", "https://user:word@api.cloudflare.com/client/v4?x=1#y"])
async def test_only_host_and_path_of_the_base_url_count(replies: aioresponses, base: str) -> None:
    replies.post(BEAT, payload=SUCCESS)

    assert isinstance(await beat(base=base), Accepted)


async def test_replies_are_judged(replies: aioresponses) -> None:
    replies.post(BEAT, status=429, payload=refusal(971), headers={"Retry-After": "5"})
    replies.post(BEAT, status=403, payload=refusal(10000))
    replies.post(BEAT, status=503, body="<html>")

    throttled, denied, transient = await beat(), await beat(), await beat()

    assert isinstance(throttled, Throttled)
    assert throttled.retry_after == 5
    assert isinstance(denied, Denied)
    assert denied.scope is Scope.ACCOUNT
    assert isinstance(transient, Transient)
    assert transient.fault.cause == "http_503"


@pytest.mark.parametrize(
    ("error", "cause", "hint"),
    [
        (TimeoutError(), "timeout", ""),
        (aiohttp.ServerTimeoutError(), "timeout", ""),
        (aiohttp.ServerDisconnectedError(CANARY), "reset", ""),
        (aiohttp.ClientOSError(errno.ECONNRESET, CANARY), "reset", ""),
        (aiohttp.ClientConnectionError(CANARY), "reset", ""),
        (ConnectionResetError(errno.ECONNRESET, CANARY), "reset", ""),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, CANARY)), "connect", ""),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(None, CANARY)), "dns", "resolver"),
        (
            aiohttp.ClientProxyConnectionError(KEY, OSError(errno.ECONNREFUSED, CANARY)),
            "proxy",
            "HTTPS_PROXY",
        ),
        (aiohttp.ClientHttpProxyError(Mock(), (), status=407, message=CANARY), "proxy", "HTTPS_PROXY"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, CANARY)), "tls", "ca_file"),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, CANARY)),
            "tls",
            "ca_file",
        ),
        (ssl.SSLError(1, CANARY), "tls", "clock"),
        (aiohttp.ClientResponseError(Mock(), (), status=400, message=CANARY), "protocol", "base_url"),
        (aiohttp.ClientPayloadError(CANARY), "protocol", "base_url"),
        (aiohttp.InvalidURL(CANARY), "protocol", "base_url"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
async def test_what_the_network_raises_is_a_passing_fault_in_words_of_our_own(
    replies: aioresponses, error: Exception, cause: str, hint: str
) -> None:
    replies.post(BEAT, exception=error)

    outcome = await beat()

    assert isinstance(outcome, Transient)
    assert (outcome.fault.cause, outcome.scope) == (cause, Scope.ORIGIN)
    assert outcome.hung is (cause == "timeout")
    assert outcome.fault.detail
    assert hint in outcome.fault.hint
    assert CANARY not in repr(outcome)


async def test_a_surprise_is_not_swallowed(replies: aioresponses) -> None:
    replies.post(BEAT, exception=ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        await beat()


async def test_an_unknown_credential_is_a_bug_of_the_caller() -> None:
    with pytest.raises(KeyError):
        await beat("nobody")


async def test_a_rotated_secret_signs_the_next_beat(replies: aioresponses) -> None:
    replies.post(BEAT, payload=SUCCESS, repeat=True)
    target = Target("token", ACCOUNT)

    async with CloudflareClient(CREDENTIALS, base_url=BASE) as client:
        await client.heartbeat(target, timeout=1)
        client.replace_credentials({"token": ApiToken(SecretStr("rotated"))})
        await client.heartbeat(target, timeout=1)

    signed = [arguments["headers"]["Authorization"] for _, _, arguments in sent(replies)]
    assert signed == [f"Bearer {CANARY}", "Bearer rotated"]


@pytest.mark.parametrize("secret", [f"{CANARY}\nX-Evil: 1", f"{CANARY}\x00", f"ü{CANARY}"])
def test_a_secret_that_no_header_carries_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CloudflareClient({"prod": ApiToken(SecretStr(secret))}, base_url=BASE)

    assert "credentials.prod" in str(caught.value)
    assert CANARY not in str(caught.value)


async def test_a_bad_rotation_leaves_the_old_secret_in_place(replies: aioresponses) -> None:
    replies.post(BEAT, payload=SUCCESS)

    async with CloudflareClient(CREDENTIALS, base_url=BASE) as client:
        with pytest.raises(ConfigError):
            client.replace_credentials({"token": ApiToken(SecretStr("a\nb"))})
        await client.heartbeat(Target("token", ACCOUNT), timeout=1)

    assert sent(replies)[0][2]["headers"]["Authorization"] == f"Bearer {CANARY}"


async def test_a_server_that_quotes_the_secret_does_not_get_it_into_the_outcome(
    replies: aioresponses,
) -> None:
    quoting = {"success": False, "errors": [{"code": 10000, "message": f"bad: Bearer {CANARY}"}]}
    replies.post(BEAT, status=401, payload=quoting)

    outcome = await beat()

    assert isinstance(outcome, Denied)
    assert outcome.fault.detail == "bad: Bearer [secret]"


def test_nothing_that_the_client_holds_shows_a_secret_when_printed() -> None:
    client = CloudflareClient(CREDENTIALS, base_url=BASE)

    assert CANARY not in repr(client) + repr(vars(client))


async def test_an_active_user_token(replies: aioresponses) -> None:
    replies.get(USER_VERIFY, payload=token("active", expires_on="2030-01-02T03:04:05Z"))

    found = await verify()

    assert isinstance(found, TokenActive)
    assert found.expires_on
    assert found.expires_on.isoformat() == "2030-01-02T03:04:05+00:00"


async def test_a_token_without_an_end(replies: aioresponses) -> None:
    replies.get(USER_VERIFY, payload=token("active"))

    assert await verify() == TokenActive(None)


async def test_an_account_owned_token_is_asked_for_at_its_account(replies: aioresponses) -> None:
    replies.get(USER_VERIFY, status=401, payload=refusal(1000))
    replies.get(ACCOUNT_VERIFY, payload=token("active"))

    assert await verify() == TokenActive(None)


async def test_a_token_that_nobody_knows_is_denied(replies: aioresponses) -> None:
    replies.get(USER_VERIFY, status=401, payload=refusal(1000))
    replies.get(ACCOUNT_VERIFY, status=403, payload=refusal(9109))

    found = await verify()

    assert isinstance(found, Denied)
    assert (found.scope, found.fault.error_code) == (Scope.CREDENTIAL, 1000)


@pytest.mark.parametrize("status", ["disabled", "expired", "\x1b[31mweird"])
async def test_a_known_token_of_no_use_is_denied(replies: aioresponses, status: str) -> None:
    replies.get(USER_VERIFY, payload=token(status), repeat=True)
    replies.get(ACCOUNT_VERIFY, status=403, payload=refusal(9109))

    found = await verify()

    assert isinstance(found, Denied)
    assert found.scope is Scope.CREDENTIAL
    assert found.fault.detail.isprintable()


async def test_a_verification_of_another_shape_proves_nothing(replies: aioresponses) -> None:
    replies.get(USER_VERIFY, payload=SUCCESS)

    assert isinstance(await verify(), Transient)


async def test_a_passing_fault_of_a_verification_is_told_as_one(replies: aioresponses) -> None:
    replies.get(USER_VERIFY, status=401, payload=refusal(1000))
    replies.get(ACCOUNT_VERIFY, exception=TimeoutError())

    found = await verify()

    assert isinstance(found, Transient)
    assert found.hung


@pytest.mark.parametrize("credential", ["key", "service"])
async def test_keys_have_no_verification(replies: aioresponses, credential: str) -> None:
    found = await verify(credential)

    assert isinstance(found, TokenUnverifiable)
    assert not replies.requests
