"""The client over real sockets: connections, TLS, proxies, and servers that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr
from yarl import URL

from keepalive.cloudflare.auth import ApiKey, ApiToken, Credential, UserServiceKey
from keepalive.cloudflare.client import USER_AGENT, CloudflareClient
from keepalive.cloudflare.proxy import proxy_for
from keepalive.core.outcome import Accepted, Outcome, Throttled, Transient
from keepalive.core.target import Scope, Target
from keepalive.errors import ConfigError
from tests.cloudflare.servers import SUCCESS, Request, greeting, reply, saying, served, tunnelling

ACCOUNT = "0123456789abcdef0123456789abcdef"
PATH = f"/client/v4/accounts/{ACCOUNT}/workers/observability/telemetry/live-tail/heartbeat"
CREDENTIALS: dict[str, Credential] = {
    "token": ApiToken(SecretStr("canary-token")),
    "key": ApiKey(SecretStr("canary@example.com"), SecretStr("canary-key")),
    "service": UserServiceKey(SecretStr("v1.0-canary")),
}
SIGNED = {
    "token": {"authorization": "Bearer canary-token"},
    "key": {"x-auth-email": "canary@example.com", "x-auth-key": "canary-key"},
    "service": {"x-auth-user-service-key": "v1.0-canary"},
}
TARGET = Target("token", ACCOUNT, "api")


async def beat(base: str, *, timeout: float = 2.0, ca_file: str | None = None) -> Outcome:
    async with CloudflareClient(CREDENTIALS, base_url=base, ca_file=ca_file) as client:
        outcome = await client.heartbeat(TARGET, timeout=timeout)
    assert "canary" not in repr(outcome)
    return outcome


def cause(outcome: Outcome) -> str:
    assert isinstance(outcome, Transient)
    return outcome.fault.cause


# --- what is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize("credential", SIGNED)
@pytest.mark.parametrize(("script", "body"), [("api", b'{"scriptId":"api"}'), (None, b"{}")])
async def test_a_request_is_the_references_and_carries_one_scheme_only(
    credential: str, script: str | None, body: bytes
) -> None:
    async with (
        served(saying(reply())) as server,
        CloudflareClient(CREDENTIALS, base_url=server.url) as client,
    ):
        assert await client.heartbeat(Target(credential, ACCOUNT, script), timeout=2) == Accepted()

    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", PATH, body)
    assert request.named() == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "user-agent": USER_AGENT,
        **SIGNED[credential],
    }


async def test_a_password_in_netrc_does_not_take_the_place_of_the_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async with served(saying(reply())) as server:
        await beat(server.url)

    assert server.requests[0].named()["authorization"] == "Bearer canary-token"


async def test_a_redirect_is_not_followed_and_nothing_is_sent_on() -> None:
    async with (
        served(saying(reply())) as elsewhere,
        served(saying(reply(307, Location=elsewhere.url))) as server,
    ):
        outcome = await beat(server.url)

    assert cause(outcome) == "redirect"
    assert elsewhere.connections == 0


async def test_a_cookie_is_not_sent_back() -> None:
    async with (
        served(saying(reply(Set_Cookie="__cf_bm=x; Path=/"))) as server,
        CloudflareClient(CREDENTIALS, base_url=server.url) as client,
    ):
        await client.heartbeat(TARGET, timeout=2)
        await client.heartbeat(TARGET, timeout=2)

    assert all("cookie" not in request.named() for request in server.requests)


# --- connections --------------------------------------------------------------------------------


async def test_beats_one_after_the_other_share_a_connection() -> None:
    async with (
        served(saying(reply())) as server,
        CloudflareClient(CREDENTIALS, base_url=server.url) as client,
    ):
        for _ in range(5):
            await client.heartbeat(TARGET, timeout=2)

        assert (server.connections, client.connections_opened) == (1, 1)


@pytest.mark.parametrize(("keepalive_seconds", "connections"), [(0.01, 2), (0.2, 1)])
async def test_an_idle_connection_is_kept_for_as_long_as_it_was_told(
    keepalive_seconds: float, connections: int
) -> None:
    async with (
        served(saying(reply())) as server,
        CloudflareClient(CREDENTIALS, base_url=server.url, keepalive_seconds=keepalive_seconds) as client,
    ):
        await client.heartbeat(TARGET, timeout=2)
        await asyncio.sleep(0.04)
        await client.heartbeat(TARGET, timeout=2)

        assert (server.connections, client.connections_opened) == (connections, connections)


CROWD = 120  # more than aiohttp's own limit of 100


async def test_a_crowd_of_beats_does_not_queue_for_connections() -> None:
    arrived, all_here = 0, asyncio.Event()

    async def together(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == CROWD:
            all_here.set()
        await all_here.wait()
        writer.write(reply())

    async with served(together) as server, CloudflareClient(CREDENTIALS, base_url=server.url) as client:
        outcomes = await asyncio.gather(*(client.heartbeat(TARGET, timeout=5) for _ in range(CROWD)))

    assert outcomes == [Accepted()] * CROWD


async def test_dropped_connections_end_what_is_in_flight_and_the_next_beat_opens_a_new_one() -> None:
    asked = asyncio.Event()

    async def hang_first(_: Request, writer: asyncio.StreamWriter) -> None:
        if asked.is_set():
            writer.write(reply())
        asked.set()

    async with served(hang_first) as server, CloudflareClient(CREDENTIALS, base_url=server.url) as client:
        in_flight = asyncio.create_task(client.heartbeat(TARGET, timeout=30))
        await asked.wait()
        await client.drop_connections()

        assert cause(await in_flight) == "reset"
        assert await client.heartbeat(TARGET, timeout=2) == Accepted()
        assert client.connections_opened == 2


async def test_a_cancelled_beat_is_cancelled_and_its_connection_is_not_used_again() -> None:
    asked = asyncio.Event()

    async def hang_first(_: Request, writer: asyncio.StreamWriter) -> None:
        if asked.is_set():
            writer.write(reply())
        asked.set()

    async with served(hang_first) as server, CloudflareClient(CREDENTIALS, base_url=server.url) as client:
        in_flight = asyncio.create_task(client.heartbeat(TARGET, timeout=30))
        await asked.wait()
        in_flight.cancel()
        with pytest.raises(asyncio.CancelledError):
            await in_flight

        assert await client.heartbeat(TARGET, timeout=2) == Accepted()
        assert server.connections == 2


# --- servers that misbehave ---------------------------------------------------------------------


async def test_a_server_that_never_answers_is_given_up_at_the_timeout() -> None:
    async def hang(_: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with served(hang) as server:
        outcome = await beat(server.url, timeout=0.05)

    assert isinstance(outcome, Transient)
    assert (outcome.fault.cause, outcome.hung, outcome.scope) == ("timeout", True, Scope.ORIGIN)


async def test_a_slow_drip_does_not_stretch_the_timeout() -> None:
    async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
        for byte in reply():
            writer.write(bytes([byte]))
            await asyncio.sleep(0.005)

    async with served(drip) as server:
        outcome = await beat(server.url, timeout=0.05)

    assert cause(outcome) == "timeout"


async def test_a_listener_that_does_not_even_accept_is_given_up_at_the_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        outcome = await beat(f"https://127.0.0.1:{listener.getsockname()[1]}", timeout=0.05)

    assert cause(outcome) == "timeout"


async def test_a_refused_connection() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]

    outcome = await beat(f"http://127.0.0.1:{port}")

    assert isinstance(outcome, Transient)
    assert outcome.fault.detail == f"cannot connect to 127.0.0.1:{port}: connection refused"


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert cause(await beat("https://api.example.test/client/v4")) == "dns"


async def test_a_reset_before_any_answer() -> None:
    async def reset(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with served(reset) as server:
        outcome = await beat(server.url)

    assert isinstance(outcome, Transient)
    assert (outcome.fault.cause, outcome.scope) == ("reset", Scope.ORIGIN)


async def test_a_connection_that_ends_inside_the_body_is_not_accepted() -> None:
    async def half(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + SUCCESS)
        writer.close()

    async with served(half) as server:
        outcome = await beat(server.url)

    assert isinstance(outcome, Transient)
    assert (outcome.fault.cause, outcome.fault.http_status) == ("truncated", 200)


async def test_a_429_counts_even_when_its_body_never_ends() -> None:
    async def half(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 No\r\nRetry-After: 9\r\nContent-Length: 500\r\n\r\nPlease")
        writer.close()

    async with served(half) as server:
        outcome = await beat(server.url)

    assert isinstance(outcome, Throttled)
    assert outcome.retry_after == 9


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28" * 20,
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_what_is_not_http_is_a_passing_fault(garbage: bytes) -> None:
    async def babble(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        writer.close()

    async with served(babble) as server:
        outcome = await beat(server.url)

    assert cause(outcome) == "protocol"


async def test_a_body_without_end_is_read_no_further_than_the_cap() -> None:
    written = 0

    async def flood(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
            written += 4096
            await writer.drain()

    async with served(flood) as server:
        outcome = await beat(server.url)

    assert cause(outcome) == "too_large"
    assert written < 64 * 2**20


async def test_a_compression_bomb_stays_under_the_cap() -> None:
    bomb = gzip.compress(SUCCESS[:-1] + b" " * 10_000_000 + b"}", 1)

    async with served(saying(reply(200, bomb, Content_Encoding="gzip"))) as server:
        outcome = await beat(server.url)

    assert cause(outcome) == "too_large"


async def test_a_packed_reply_that_nobody_asked_for_is_read_all_the_same() -> None:
    async with served(saying(reply(200, gzip.compress(SUCCESS), Content_Encoding="gzip"))) as server:
        assert await beat(server.url) == Accepted()


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA) -> Iterator[str]:
    with authority.cert_pem.tempfile() as path:
        yield path


def tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


async def test_a_certificate_of_the_ca_file_is_trusted(authority: trustme.CA, ca_file: str) -> None:
    async with served(saying(reply()), tls(authority.issue_cert("127.0.0.1"))) as server:
        assert await beat(server.url, ca_file=ca_file) == Accepted()


async def test_a_certificate_that_nobody_vouches_for_is_refused(authority: trustme.CA) -> None:
    async with served(saying(reply()), tls(authority.issue_cert("127.0.0.1"))) as server:
        outcome = await beat(server.url)

    assert isinstance(outcome, Transient)
    assert outcome.fault.cause == "tls"
    assert "ca_file" in outcome.fault.hint
    assert not server.requests


async def test_an_expired_certificate_is_refused(authority: trustme.CA, ca_file: str) -> None:
    expired = authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))

    async with served(saying(reply()), tls(expired)) as server:
        outcome = await beat(server.url, ca_file=ca_file)

    assert isinstance(outcome, Transient)
    assert "expired" in outcome.fault.detail
    assert not server.requests


async def test_a_certificate_of_another_host_is_refused(authority: trustme.CA, ca_file: str) -> None:
    async with served(saying(reply()), tls(authority.issue_cert("elsewhere.example"))) as server:
        outcome = await beat(server.url, ca_file=ca_file)

    assert cause(outcome) == "tls"
    assert not server.requests


async def test_a_server_that_speaks_no_tls_is_refused() -> None:
    async with greeting(b"220 mail.example.test\r\n") as server:
        outcome = await beat(server.url.replace("http://", "https://"))

    assert cause(outcome) == "tls"


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigError) as caught:
        CloudflareClient(CREDENTIALS, base_url="https://api.cloudflare.com", ca_file=str(path))

    assert caught.value.faults[0].where == str(path)
    assert caught.value.faults[0].key == "cloudflare.ca_file"


# --- proxies ------------------------------------------------------------------------------------

FAR = "https://api.cloudflare.com/client/v4"


@pytest.fixture
def far(authority: trustme.CA) -> ssl.SSLContext:
    return tls(authority.issue_cert("api.cloudflare.com"))


async def test_the_proxy_of_the_environment_is_used_and_sees_no_credential(
    far: ssl.SSLContext, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(saying(reply()), far) as server, tunnelling(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://someone:canary-word@127.0.0.1:{proxy.port}")
        assert await beat(FAR, ca_file=ca_file) == Accepted()

    [asked], [served_] = proxy.requests, server.requests
    assert (asked.method, asked.path) == ("CONNECT", "api.cloudflare.com:443")
    assert asked.named()["proxy-authorization"] == "Basic c29tZW9uZTpjYW5hcnktd29yZA=="
    assert "authorization" not in asked.named()
    assert served_.named()["authorization"] == "Bearer canary-token"
    assert "proxy-authorization" not in served_.named()


async def test_a_tunnel_is_kept_open_between_beats(
    far: ssl.SSLContext, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(saying(reply()), far) as server, tunnelling(server.port) as proxy:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.port}")
        async with CloudflareClient(CREDENTIALS, base_url=FAR, ca_file=ca_file) as client:
            await client.heartbeat(TARGET, timeout=2)
            await client.heartbeat(TARGET, timeout=2)

    assert (proxy.connections, len(server.requests)) == (1, 2)


async def test_a_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with tunnelling(0, refused) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://someone:canary-word@127.0.0.1:{proxy.port}")
        outcome = await beat(FAR)

    assert isinstance(outcome, Transient)
    assert outcome.fault.detail == "the proxy answered 407 for api.cloudflare.com:443"


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")

    assert cause(await beat(FAR)) == "proxy"


async def test_no_proxy_is_honoured(
    authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **named: resolve("127.0.0.1", *rest, **named))
    certificate = tls(authority.issue_cert("api.example.test"))

    async with served(saying(reply()), certificate) as server, tunnelling(server.port) as proxy:
        base = f"https://api.example.test:{server.port}/client/v4"
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "example.test")
        assert await beat(base, ca_file=ca_file) == Accepted()

    assert proxy.connections == 0


@pytest.mark.parametrize("host", ["localhost", "emulator.localhost", "127.0.0.9", "[::1]"])
def test_no_name_of_loopback_has_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    assert proxy_for(URL(f"https://{host}/")) is None
    assert proxy_for(URL("https://127.example.test/")) is not None


@pytest.mark.parametrize(("url", "opened_by"), [("wss://a.example", "HTTPS"), ("ws://a.example", "HTTP")])
def test_a_websocket_goes_through_the_proxy_of_the_http_that_opens_it(
    url: str, opened_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{opened_by}_PROXY", "http://127.0.0.1:1")

    found = proxy_for(URL(url))

    assert found
    assert found.url == URL("http://127.0.0.1:1")


def test_a_proxy_shows_its_place_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://someone:canary-word@proxy.example.test:3128")

    assert repr(proxy_for(URL("https://api.cloudflare.com/"))) == "Proxy('http://proxy.example.test:3128')"


async def test_loopback_is_never_asked_for_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async with served(saying(reply())) as server:
        assert await beat(server.url) == Accepted()


@pytest.mark.parametrize("value", ["socks5://canary:canary@127.0.0.1:1080", "http://:canary@:x", "http://"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_value(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)

    with pytest.raises(ConfigError) as caught:
        CloudflareClient(CREDENTIALS, base_url=FAR)

    assert caught.value.faults[0].where == "$HTTPS_PROXY"
    assert "canary" not in str(caught.value)
