"""The way to Cloudflare: names, addresses, certificates, proxies, and connections that a NAT forgets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import HeartbeatAccepted
from tests.cloudflare.servers import Request, Server, reply, saying, served, tunnelling
from tests.faults.bench import Bench, holding
from tests.faults.conftest import Figure
from tests.faults.proxy import FaultProxy, Mode, fault_proxy

pytestmark = pytest.mark.looptime

FULL_HOUSE = 42


def oldest_lease(bench: Bench) -> float:
    """The longest time between two renewals of one target, in seconds."""
    renewed_at: dict[str, float] = {}
    longest = 0.0
    for event in bench.told.events:
        if isinstance(event, HeartbeatAccepted):
            longest = max(longest, event.at - renewed_at.get(event.target.label, event.at))
            renewed_at[event.target.label] = event.at
    return longest


async def outlive(bench: Bench, strike: Callable[[], None], mend: Callable[[], None]) -> None:
    """Break something once everybody is eligible, let two attempts fail, and mend it."""
    await bench.renewed()
    strike()
    await bench.failed(2)
    mend()
    await bench.renewed()


# --- TLS ----------------------------------------------------------------------------------------

PARTING = saying(reply(Connection="close"))
"""Each request comes by a connection of its own, so that each has to trust the server anew."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA) -> Iterator[str]:
    with authority.cert_pem.tempfile() as path:
        yield path


def certified(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def sign_oneself(folder: Path) -> Path:
    """A certificate that nobody else has signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    file = folder / "own.pem"
    file.write_bytes(key.private_bytes(pem, form, plain) + certificate.public_bytes(pem))
    return file


@pytest.mark.parametrize(
    "bad", ["expired", "not-yet-valid", "wrong-host", "unknown-authority", "self-signed"]
)
async def test_a_certificate_that_is_bad_for_a_while(
    bad: str, authority: trustme.CA, ca_file: str, tmp_path: Path, figure: Figure
) -> None:
    good = authority.issue_cert("127.0.0.1")
    context = certified(good)

    def spoil() -> None:
        match bad:
            case "expired":
                old = datetime(2020, 1, 1, tzinfo=UTC)
                authority.issue_cert("127.0.0.1", not_after=old).configure_cert(context)
            case "not-yet-valid":
                soon = datetime.now(UTC) + timedelta(days=1)
                authority.issue_cert("127.0.0.1", not_before=soon).configure_cert(context)
            case "wrong-host":
                authority.issue_cert("elsewhere.example").configure_cert(context)
            case "unknown-authority":
                trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
            case _:
                context.load_cert_chain(sign_oneself(tmp_path))

    def mend() -> None:
        assert len(server.requests) == 1, "a secret was sent to somebody who is not trusted"
        good.configure_cert(context)

    async with served(PARTING, context) as server, holding(server.url, ca_file=ca_file) as bench:
        await outlive(bench, spoil, mend)

    assert bench.causes == {"tls"}
    assert bench.became(Eligibility.LAPSED) == []
    figure(*bench.outlived())


@pytest.mark.parametrize(
    ("mode", "cause"),
    [(Mode.RESET_BEFORE, "connect"), (Mode.RESET_AFTER, "connect"), (Mode.BLACK_HOLE, "timeout")],
)
async def test_a_handshake_of_tls_that_is_broken(
    mode: Mode, cause: str, authority: trustme.CA, ca_file: str, figure: Figure
) -> None:
    """Reset at the client's first word, at the server's, or never answered."""
    context = certified(authority.issue_cert("127.0.0.1"))
    async with served(PARTING, context) as server, fault_proxy(server.port) as proxy:
        server.port = proxy.port
        async with holding(server.url, ca_file=ca_file) as bench:
            await bench.renewed()
            await proxy.switch(mode)
            await bench.failed(2)
            await proxy.heal()
            await bench.renewed()

    assert bench.causes == {cause}
    assert bench.became(Eligibility.LAPSED) == []
    figure(*bench.outlived())


# --- names and addresses ------------------------------------------------------------------------

NAME = "api.example.test"
NOBODY = "127.0.0.9"


class Resolver:
    """What every name leads to."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self._resolve = socket.getaddrinfo

    def __call__(self, _host: str, port: int, *rest: int, **named: int) -> list[tuple[object, ...]]:
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        named.pop("flags", None)
        return [
            answer for each in self.addresses for answer in self._resolve(each, port, type=socket.SOCK_STREAM)
        ]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver("127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


def named(server: Server) -> str:
    return f"http://{NAME}:{server.port}/client/v4"


async def test_a_name_that_does_not_resolve_is_tried_until_it_does(
    resolver: Resolver, figure: Figure
) -> None:
    resolver.addresses = ()
    async with served(saying(reply())) as server, holding(named(server)) as bench:
        await bench.failed(5)
        resolver.addresses = ("127.0.0.1",)
        mended_at = bench.clock.now()
        await bench.renewed()

    assert bench.causes == {"dns"}
    assert f"cannot resolve {NAME}" in bench.failures[0].fault.detail
    figure("eligible {} s after it resolved", bench.renewals[0].at - mended_at)


async def test_a_resolver_that_fails_costs_no_connection_that_is_open(
    resolver: Resolver, figure: Figure
) -> None:
    async with served(saying(reply())) as server, holding(named(server), count=6) as bench:
        await bench.renewed(6)
        resolver.addresses = ()
        await bench.renewed(60)

    assert bench.failures == []
    figure("{} renewals without a resolver, 0 failed", 60)


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACK_HOLE])
async def test_a_name_that_moves_to_another_address_is_followed(
    mode: Mode, resolver: Resolver, figure: Figure
) -> None:
    """The old address refuses, or is silent; what was remembered of the name is forgotten then."""
    async with served(saying(reply())) as server, fault_proxy(server.port, "127.0.0.2", server.port) as old:
        resolver.addresses = ("127.0.0.2",)
        async with holding(named(server)) as bench:
            await bench.renewed()
            assert old.connections == 1
            resolver.addresses = ("127.0.0.1",)
            await old.switch(mode)
            await bench.failed()
            await bench.renewed()

    assert old.connections <= 3
    assert bench.causes <= {"connect", "reset", "timeout"}
    assert bench.became(Eligibility.LAPSED) == []
    figure(*bench.outlived())


async def test_an_address_of_ipv6_that_leads_nowhere_beside_one_that_works(
    resolver: Resolver, figure: Figure
) -> None:
    async with served(PARTING) as server:
        resolver.addresses = ("::1", "127.0.0.1")
        async with holding(named(server)) as bench:
            await bench.renewed(3)

    assert bench.failures == []
    assert bench.client.connections_opened > server.connections
    figure("{} renewals, 0 failed", 3)


async def test_a_first_address_that_is_silent_beside_one_that_works(
    resolver: Resolver, figure: Figure
) -> None:
    async with served(PARTING) as server, fault_proxy(server.port, NOBODY, server.port) as silent:
        await silent.switch(Mode.DEAF)
        resolver.addresses = (NOBODY, "127.0.0.1")
        async with holding(named(server)) as bench:
            await bench.renewed(3)

    assert bench.failures == []
    assert bench.client.connections_opened > server.connections
    figure("the slowest renewal took {} s, 0 failed", max(renewal.latency for renewal in bench.renewals))


# --- a proxy ------------------------------------------------------------------------------------

FAR = "https://api.cloudflare.com/client/v4"
DENIES = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"


async def kill(proxy: FaultProxy) -> None:
    await proxy.switch(Mode.REFUSE)


async def lock(proxy: FaultProxy) -> None:
    proxy.answer = DENIES
    proxy.reset_open()
    await proxy.switch(Mode.INSTEAD)


@pytest.mark.parametrize("strike", [kill, lock])
async def test_a_proxy_that_fails_and_comes_back(
    strike: Callable[[FaultProxy], Awaitable[None]],
    authority: trustme.CA,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
    figure: Figure,
) -> None:
    """It dies, or wants a password that it did not want before."""
    far = certified(authority.issue_cert("api.cloudflare.com"))
    async with (
        served(saying(reply()), far) as server,
        tunnelling(server.port) as tunnel,
        fault_proxy(tunnel.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with holding(FAR, ca_file=ca_file) as bench:
            await bench.renewed()
            await strike(proxy)
            await bench.failed(3)
            await proxy.heal()
            await bench.renewed()

    assert "proxy" in bench.causes <= {"proxy", "reset"}
    assert bench.became(Eligibility.LAPSED) == []
    figure(*bench.outlived())


# --- connections that are forgotten -------------------------------------------------------------


async def test_a_full_pool_that_a_nat_forgets_is_given_up_after_one_timeout(figure: Figure) -> None:
    """Each connection by itself would cost a timeout: without giving all of them up, this took 33 s."""
    seen: set[asyncio.StreamWriter] = set()
    forgotten: set[asyncio.StreamWriter] = set()
    latency = 2.0  # slow at first, so that everybody gets a connection

    async def behind_nat(_: Request, writer: asyncio.StreamWriter) -> None:
        seen.add(writer)
        await asyncio.sleep(latency)
        if writer not in forgotten:
            writer.write(reply())

    async with served(behind_nat) as server, holding(server.url, count=FULL_HOUSE) as bench:
        await asyncio.sleep(20)
        latency = 0.1
        await asyncio.sleep(25)
        assert len(seen) == FULL_HOUSE
        forgotten.update(seen)
        await asyncio.sleep(60)

    assert bench.causes == {"timeout"}
    assert bench.became(Eligibility.LAPSED) == []
    assert oldest_lease(bench) < 25
    figure("42 dead connections: the oldest lease reached {} of 45 s", oldest_lease(bench))
