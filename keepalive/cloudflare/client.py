"""The client: sends requests to Cloudflare. Every fault of theirs comes back as an outcome."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from math import inf
from types import TracebackType
from typing import Self
from urllib.parse import quote

from aiohttp import ClientError, ClientTimeout
from yarl import URL

from keepalive._version import __version__
from keepalive.cloudflare import live_tail, query
from keepalive.cloudflare.auth import ApiToken, Credential
from keepalive.cloudflare.exchange import Reply, Signature, read_body
from keepalive.cloudflare.failure import failure
from keepalive.cloudflare.filters import explained
from keepalive.cloudflare.live_tail import Doors
from keepalive.cloudflare.pool import Pool
from keepalive.cloudflare.proxy import proxy_for
from keepalive.cloudflare.quota import merged
from keepalive.cloudflare.tls import tls_context
from keepalive.cloudflare.verification import TokenActive, TokenUnverifiable, verdict
from keepalive.core.outcome import Accepted, Denied, Outcome, Throttled, Transient
from keepalive.core.target import Target
from keepalive.core.telemetry import Page, Prepared, Question, Wanted

PROJECT_URL = "https://github.com/keepalive-dev/keepalive"
USER_AGENT = f"keepalive/{__version__} (+{PROJECT_URL})"

LARGEST_BODY = 64 * 1024
"""Bytes of a reply that are read, a query's aside; no honest one comes near."""

REMEMBERED_ACCOUNTS = 4096
"""URLs kept ready; beyond that they are made anew, so that a stream of leases cannot fill the memory."""

_TELEMETRY = "workers/observability/telemetry"
_FIXED_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # replies are tiny, and what is not packed cannot be a bomb
    "Content-Type": "application/json",
    "User-Agent": USER_AGENT,
}


@lru_cache(maxsize=64)
def _within(seconds: float) -> ClientTimeout:
    """A bound from the start to the end of a request; aiohttp would round one of 5 s up to a whole second."""
    return ClientTimeout(total=seconds, ceil_threshold=inf)


class CloudflareClient:
    """Speaks for named credentials; used as `async with`.

    Connections are shared by all credentials and stay open between beats. TLS is always verified,
    redirects are never followed, cookies and ~/.netrc are ignored.
    """

    def __init__(  # noqa: PLR0913 - by name, and all but two have a default
        self,
        credentials: Mapping[str, Credential],
        *,
        base_url: str,
        ca_file: str | None = None,
        live_tail_hosts: tuple[str, ...] = (),
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
            live_tail_hosts: Where a live tail may be besides, as `HOST` or `HOST:PORT` in lower case.
            keepalive_seconds: How long an idle connection is kept; has to be above the interval, or
                every beat opens a new one.
            wall_clock: Seconds since 1970, for a `Retry-After` that is a date.

        Raises:
            ConfigError: The CA file, the proxy's address or a secret cannot be used.
        """
        origin = URL(base_url).origin()
        self._base = f"{origin}{URL(base_url).raw_path.rstrip('/')}"
        self._host = f"{origin.host}:{origin.port}"
        self._doors = Doors(origin, live_tail_hosts)
        self._proxy = proxy_for(origin)
        self._pool = Pool(
            tls=tls_context(ca_file) if origin.scheme == "https" else None,
            keepalive_seconds=keepalive_seconds,
            largest_read=LARGEST_BODY,
            headers=_FIXED_HEADERS,
        )
        self._wall_clock = wall_clock
        self._urls: dict[str, URL] = {}
        self._signatures: dict[str, Signature] = {}
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
        body = b"{}" if script is None else b'{"scriptId":%s}' % json.dumps(script).encode()
        reply = await self._exchange("POST", self._heartbeat_url(target.account_id), signature, body, timeout)
        return reply.judged(self._wall_clock()) if isinstance(reply, Reply) else reply

    async def prepare(
        self, target: Target, wanted: Wanted, *, timeout: float
    ) -> Prepared | Throttled | Denied | Transient:
        """Open a live tail session that waits for its one WebSocket, within `timeout` seconds.

        Raises:
            KeyError: The target's credential is unknown: a bug of the caller's.
        """
        signature = self._signatures[target.credential]
        url = self._telemetry_url(target.account_id, "live-tail")
        reply = await self._exchange("POST", url, signature, live_tail.request(target, wanted), timeout)
        if isinstance(reply, Transient):
            return reply
        outcome = reply.judged(self._wall_clock())
        if isinstance(outcome, Accepted):
            return live_tail.prepared(outcome, reply.body, self._doors)
        return explained(outcome, wanted)

    async def query(
        self, target: Target, question: Question, *, timeout: float
    ) -> Page | Throttled | Denied | Transient:
        """Ask what a target logged, within `timeout` seconds.

        Raises:
            KeyError: The target's credential is unknown: a bug of the caller's.
        """
        signature = self._signatures[target.credential]
        url, body = self._telemetry_url(target.account_id, "query"), query.request(target, question)
        largest = query.LARGEST_REPLY
        reply = await self._exchange("POST", url, signature, body, timeout, largest=largest)
        if isinstance(reply, Transient):
            return reply
        opened = query.opened(reply.body)
        outcome = reply.with_body(opened.envelope).judged(self._wall_clock())
        if isinstance(outcome, Accepted):
            return query.page(outcome, opened.result)
        return explained(outcome, question.wanted)

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
        signatures = {name: Signature.of(name, each) for name, each in credentials.items()}
        self._signatures = signatures
        self._tokens = frozenset(name for name, each in credentials.items() if isinstance(each, ApiToken))

    async def _verified(self, url: str, credential: str, timeout: float) -> TokenActive | Outcome:
        signature = self._signatures[credential]
        reply = await self._exchange("GET", URL(url, encoded=True), signature, None, timeout)
        if isinstance(reply, Transient):
            return reply
        outcome = reply.judged(self._wall_clock())
        return verdict(outcome, reply.body) if isinstance(outcome, Accepted) else outcome

    async def _exchange(  # noqa: PLR0913 - one request, and how much of an answer it may have
        self,
        method: str,
        url: URL,
        signature: Signature,
        body: bytes | None,
        timeout: float,
        *,
        largest: int = LARGEST_BODY,
    ) -> Reply | Transient:
        """Send one request, connecting included, and read its reply."""
        lot, sent_at = self._pool.take(), self._pool.now()
        try:
            async with lot.session.request(
                method,
                url,
                data=body,
                headers=signature.headers,
                timeout=_within(timeout),
                allow_redirects=False,
                proxy=self._proxy.url if self._proxy else None,
                proxy_headers=self._proxy.headers if self._proxy else None,
            ) as answer:
                seen, cut = await read_body(answer, largest)
        except (ClientError, OSError) as error:
            self._pool.doubt(lot, error, sent_at)
            return failure(error, self._host, timeout=timeout)
        finally:
            await self._pool.give_back(lot)
        self._pool.trust()
        return Reply(answer.status, merged(answer.headers), seen, cut, signature)

    def _heartbeat_url(self, account_id: str) -> URL:
        url = self._urls.get(account_id)
        if url is None:
            if len(self._urls) >= REMEMBERED_ACCOUNTS:
                self._urls.clear()
            url = self._telemetry_url(account_id, "live-tail/heartbeat")
            self._urls[account_id] = url
        return url

    def _telemetry_url(self, account_id: str, call: str) -> URL:
        return URL(f"{self._base}/accounts/{quote(account_id, safe='')}/{_TELEMETRY}/{call}", encoded=True)
