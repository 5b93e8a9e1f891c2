"""A pool: the connections that attempts share, given up for new ones where nobody answers on any of them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from aiohttp import (
    AddrInfoType,
    ClientConnectorError,
    ClientError,
    ClientSession,
    DummyCookieJar,
    TCPConnector,
)
from multidict import CIMultiDict

DNS_SECONDS = 30
"""How long an address is remembered. Connections are few, so this only spares a crowd of them at once."""


@dataclass(slots=True, eq=False)
class Lot:
    """Connections that were begun under the same belief, and how many attempts are under way on them."""

    session: ClientSession
    connector: TCPConnector
    in_flight: int = 0


class Pool:
    """Connections to one origin, open between `open` and `close`.

    A NAT or a firewall that has forgotten its connections leaves all of them dead without a word. Trying
    one after the other costs a timeout each: a pool of thirty was measured to take half a minute, while
    new connections would have worked. So when an attempt ran into its timeout and nobody was answered
    since it left, those that come next go by new connections; what is under way keeps its own.

    Attributes:
        connections_opened: TCP connections begun since the start, those that failed included.
        now: The clock of the loop; kept, because to ask for the loop costs a call of the system.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None,
        keepalive_seconds: float,
        largest_read: int,
        headers: Mapping[str, str],
    ) -> None:
        """Make it ready; nothing is opened yet.

        Args:
            tls: What verifies the far side; None where the origin speaks no TLS.
            keepalive_seconds: How long an idle connection is kept.
            largest_read: Bytes that are read ahead.
            headers: What every request carries.
        """
        self.connections_opened = 0
        self._tls = tls
        self._keepalive_seconds = keepalive_seconds
        self._largest_read = largest_read
        self._headers = CIMultiDict(headers)
        self._answered_at = -inf
        self.now: Callable[[], float]
        self._lot: Lot

    def open(self) -> None:
        """Begin anew: whoever takes from now on gets new connections."""
        self.now = asyncio.get_running_loop().time
        connector = TCPConnector(
            limit=0,  # the budget bounds what is in flight; a queue here would hide an attempt's age
            limit_per_host=0,
            keepalive_timeout=self._keepalive_seconds,
            ttl_dns_cache=DNS_SECONDS,
            ssl=self._tls or True,
            socket_factory=self._open_socket,  # counts; a trace would cost every beat a tenth more
        )
        session = ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            headers=self._headers,
            read_bufsize=self._largest_read,
        )
        self._lot = Lot(session, connector)

    async def drop(self) -> None:
        """Begin anew and end what is open, attempts in flight included."""
        old = self._lot
        self.open()
        await old.session.close()

    async def close(self) -> None:
        """End what is open."""
        await self._lot.session.close()

    def take(self) -> Lot:
        """Lend the connections for one attempt; they have to be given back."""
        self._lot.in_flight += 1
        return self._lot

    async def give_back(self, lot: Lot) -> None:
        """Take connections back; those that were given up end with their last attempt."""
        lot.in_flight -= 1
        if lot is not self._lot and not lot.in_flight:
            await lot.session.close()

    def trust(self) -> None:
        """An attempt was answered."""
        self._answered_at = self.now()

    def doubt(self, lot: Lot, error: ClientError | OSError, sent_at: float) -> None:
        """An attempt failed: give up the connections, or the address, where they may be what is broken.

        Args:
            lot: What it went by.
            error: How it failed; a `TimeoutError` is the attempt's own timeout.
            sent_at: When it left, on the clock of the loop.
        """
        if isinstance(error, TimeoutError) and lot is self._lot and self._answered_at < sent_at:
            self.open()
        elif isinstance(error, ClientConnectorError):
            lot.connector.clear_dns_cache()  # the name may lead elsewhere by now

    def _open_socket(self, address: AddrInfoType) -> socket.socket:
        self.connections_opened += 1
        family, kind, protocol, _, _ = address
        return socket.socket(family, kind, protocol)
