"""The client: sends requests to Cloudflare. Every fault of theirs comes back as an outcome."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

from aiohttp import ClientError, ClientPayloadError, ClientResponse
from yarl import URL

from keepalive._version import __version__
from keepalive.cloudflare.auth import ApiToken, Credential
from keepalive.cloudflare.failure import failure
from keepalive.cloudflare.judge import Cut, judge
from keepalive.cloudflare.pool import Pool
from keepalive.cloudflare.proxy import proxy_for
from keepalive.cloudflare.quota import Fields, merged
from keepalive.cloudflare.verification import TokenActive, TokenUnverifiable, verdict
from keepalive.core.outcome import Accepted, Denied, Outcome, Transient
from keepalive.core.target import Target
from keepalive.errors import ConfigError, ConfigFault

PROJECT_URL = "https://github.com/keepalive-dev/keepalive"
USER_AGENT = f"keepalive/{__version__} (+{PROJECT_URL})"

LARGEST_BODY = 64 * 1024
"""Bytes of a reply that are read; no honest one comes near."""

REMEMBERED_ACCOUNTS = 4096
"""URLs kept ready; beyond that they are made anew, so that a stream of leases cannot fill the memory."""

SHORTEST_SECRET = 6
"""Bytes from which a secret is looked for in replies; a shorter one would be found in any of them."""

_HEARTBEAT = "workers/observability/telemetry/live-tail/heartbeat"
_FIXED_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # replies are tiny, and what is not packed cannot be a bomb
    "Content-Type": "application/json",
    "User-Agent": USER_AGENT,
}


@dataclass(frozen=True, slots=True)
class _Signature:
    """A credential made ready: all headers of a request, and what of them must never be quoted."""

    headers: dict[str, str] = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)


class _Reply(NamedTuple):
    """What came back, before anybody judged it."""

    status: int
    fields: Fields
    body: bytes
    cut: Cut | None

    def judged(self, wall_now: float) -> Outcome:
        """Say what it means."""
        return judge(self.status, self.fields, self.body, cut=self.cut, wall_now=wall_now)


class CloudflareClient:
    """Speaks for named credentials; used as `async with`.

    Connections are shared by all credentials and stay open between beats. TLS is always verified,
    redirects are never followed, cookies and ~/.netrc are ignored.
    """

    def __init__(
        self,
        credentials: Mapping[str, Credential],
        *,
        base_url: str,
        ca_file: str | None = None,
        keepalive_seconds: float = 60.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Make it ready; nothing is opened yet.

        Args:
            credentials: Who may speak, by name.
            base_url: Where the API is, with or without a slash at the end. A user or a query in it is
                not sent.
            ca_file: A CA bundle that is trusted besides the system's, not instead of it: a proxy that
                inspects TLS often leaves some hosts alone.
            keepalive_seconds: How long an idle connection is kept; has to be above the interval, or
                every beat opens a new one.
            wall_clock: Seconds since 1970, for a `Retry-After` that is a date.

        Raises:
            ConfigError: The CA file, the proxy's address or a secret cannot be used.
        """
        origin = URL(base_url).origin()
        self._base = f"{origin}{URL(base_url).raw_path.rstrip('/')}"
        self._host = f"{origin.host}:{origin.port}"
        self._proxy = proxy_for(origin)
        self._pool = Pool(
            tls=_tls_context(ca_file) if origin.scheme == "https" else None,
            keepalive_seconds=keepalive_seconds,
            largest_read=LARGEST_BODY,
        )
        self._wall_clock = wall_clock
        self._urls: dict[str, URL] = {}
        self._signatures: dict[str, _Signature] = {}
        self._tokens: frozenset[str] = frozenset()
        self.replace_credentials(credentials)

    async def __aenter__(self) -> Self:
        self._pool.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    @property
    def connections_opened(self) -> int:
        """TCP connections begun since the start, those that failed included."""
        return self._pool.connections_opened

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        """Send one attempt and say how it ended, within `timeout` seconds from start to end.

        Raises:
            KeyError: The target's credential is unknown: a bug of the caller's.
        """
        signature = self._signatures[target.credential]
        script = target.script_id
        body = b"{}" if script is None else json.dumps({"scriptId": script}, separators=(",", ":")).encode()
        reply = await self._exchange("POST", self._heartbeat_url(target.account_id), signature, body, timeout)
        return reply.judged(self._wall_clock()) if isinstance(reply, _Reply) else reply

    async def verify(
        self,
        credential: str,
        account_id: str,
        *,
        timeout: float,
        leave: Callable[[], Awaitable[Outcome | None]] | None = None,
    ) -> TokenActive | TokenUnverifiable | Outcome:
        """Ask whether a token is valid: as a user's, and where that is denied as an account's own.

        Args:
            credential: Its name.
            account_id: The account that may own it.
            timeout: Seconds for each of the two requests.
            leave: Asked before each of them; an outcome is the answer instead of the request.
        """
        if credential not in self._tokens:
            return TokenUnverifiable(
                "Cloudflare verifies API tokens only; a heartbeat shows whether keys work"
            )
        if leave and (refused := await leave()):
            return refused
        as_user = await self._verified(f"{self._base}/user/tokens/verify", credential, timeout)
        if not isinstance(as_user, Denied):
            return as_user
        if leave and (refused := await leave()):
            return refused
        path = f"{self._base}/accounts/{quote(account_id, safe='')}/tokens/verify"
        as_account = await self._verified(path, credential, timeout)
        return as_user if isinstance(as_account, Denied) else as_account

    async def drop_connections(self) -> None:
        """Forget every connection, those in use included: after a suspend they are dead already.

        Attempts in flight end at once as a passing fault, which is sooner than their timeout.
        """
        await self._pool.drop()

    def replace_credentials(self, credentials: Mapping[str, Credential]) -> None:
        """Let the next attempt be signed by these; attempts in flight keep what they have.

        Raises:
            ConfigError: A secret holds a character that no header can carry.
        """
        signatures = {name: _signature(name, credential) for name, credential in credentials.items()}
        self._signatures = signatures
        self._tokens = frozenset(name for name, each in credentials.items() if isinstance(each, ApiToken))

    async def _verified(self, url: str, credential: str, timeout: float) -> TokenActive | Outcome:
        signature = self._signatures[credential]
        reply = await self._exchange("GET", URL(url, encoded=True), signature, None, timeout)
        if isinstance(reply, Transient):
            return reply
        outcome = reply.judged(self._wall_clock())
        return verdict(outcome, reply.body) if isinstance(outcome, Accepted) else outcome

    async def _exchange(
        self, method: str, url: URL, signature: _Signature, body: bytes | None, timeout: float
    ) -> _Reply | Transient:
        """Send one request, connecting included, and read its reply."""
        lot, sent_at = self._pool.take(), asyncio.get_running_loop().time()
        try:
            async with (
                asyncio.timeout(timeout),
                lot.session.request(
                    method,
                    url,
                    data=body,
                    headers=signature.headers,
                    allow_redirects=False,
                    proxy=self._proxy.url if self._proxy else None,
                    proxy_headers=self._proxy.headers if self._proxy else None,
                ) as answer,
            ):
                seen, cut = await _read(answer)
        except (ClientError, OSError) as error:
            self._pool.doubt(lot, error, sent_at)
            return failure(error, self._host, timeout=timeout)
        finally:
            await self._pool.give_back(lot)
        self._pool.trust()
        for secret in signature.secrets:
            seen = seen.replace(secret, b"[secret]")
        return _Reply(answer.status, merged(answer.headers), seen, cut)

    def _heartbeat_url(self, account_id: str) -> URL:
        url = self._urls.get(account_id)
        if url is None:
            if len(self._urls) >= REMEMBERED_ACCOUNTS:
                self._urls.clear()
            url = URL(f"{self._base}/accounts/{quote(account_id, safe='')}/{_HEARTBEAT}", encoded=True)
            self._urls[account_id] = url
        return url


async def _read(answer: ClientResponse) -> tuple[bytes, Cut | None]:
    """Read a body, but no more than `LARGEST_BODY` bytes of it."""
    body = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > LARGEST_BODY:
                answer.close()
                return b"", Cut.TOO_LARGE
    except ClientPayloadError:
        return b"", Cut.TRUNCATED
    return bytes(body), None


def _signature(name: str, credential: Credential) -> _Signature:
    signed = credential.headers()
    if not all(value.isascii() and value.isprintable() for value in signed.values()):
        found, hint = (
            "a secret with a character that no HTTP header can carry",
            "look for a line break or quotes",
        )
        raise ConfigError((ConfigFault(f"credentials.{name}", "", found, hint),))
    secrets = (value.removeprefix("Bearer ").encode() for value in signed.values())
    return _Signature(
        _FIXED_HEADERS | signed, tuple(each for each in secrets if len(each) >= SHORTEST_SECRET)
    )


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            found = "no PEM certificates" if isinstance(error, ssl.SSLError) else str(error.strerror).lower()
            fault = ConfigFault(
                ca_file, "cloudflare.ca_file", found, "name a readable PEM file of CA certificates"
            )
            raise ConfigError((fault,)) from None
    return context
