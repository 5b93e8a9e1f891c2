"""What a keeper is to those above it, and what one needs of a daemon, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from keepalive.cloudflare.client import CloudflareClient
from keepalive.control.answers import TargetSaid
from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Fault
from keepalive.core.target import Target


class Keeper(Protocol):
    """Keeps targets eligible for as long as its context is entered."""

    @property
    def client(self) -> CloudflareClient:
        """What speaks to Cloudflare for others too; `permit` first."""
        ...

    @property
    def shared(self) -> bool:
        """Whether a running daemon sends the heartbeats now."""
        ...

    def state(self, target: Target) -> Eligibility:
        """Say what a target is now."""
        ...

    def fault(self, target: Target) -> Fault | None:
        """Say why a target is not renewed; None while nothing is wrong, or before anything is known."""
        ...

    async def changed(self) -> None:
        """Wait until the state of some target changes. What changed before the call is not waited for."""
        ...

    async def permit(self, credential: str) -> None:
        """Wait until the quota of a credential lends one call; it is charged then. Heartbeats go first."""
        ...


class Landlord(Protocol):
    """A daemon that holds a lease of ours."""

    @property
    def name(self) -> str:
        """What the lease is called."""
        ...

    @property
    def address(self) -> str:
        """Where the daemon answers, for people."""
        ...

    async def renew(self) -> Sequence[TargetSaid]:
        """Have it hold the targets for another while, and say how they stand.

        Raises:
            DaemonUnreachableError: It does not answer; as with the others.
            DaemonRefusedError: It will not; as with the others.
        """
        ...

    async def look(self) -> Sequence[TargetSaid]:
        """Ask how the targets stand."""
        ...

    async def release(self) -> None:
        """Have it let go of them."""
        ...
