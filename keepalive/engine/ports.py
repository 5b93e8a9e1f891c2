"""What the engine needs from the outside, as protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from keepalive.core.lease import Lease, LeaseChanges
from keepalive.core.outcome import Outcome
from keepalive.core.plan import GroupPlan
from keepalive.core.state import GroupState
from keepalive.core.target import Target


class Client(Protocol):
    """Sends heartbeats."""

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        """Send one attempt and say how it ended, within `timeout` seconds.

        Every fault is an outcome; raising is a bug.
        """
        ...

    async def drop_connections(self) -> None:
        """Forget every pooled connection: after a suspend they are dead without knowing it."""
        ...


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Seconds on a clock that never jumps and counts suspend."""
        ...

    async def wait(self, wake: asyncio.Event, until: float) -> float:
        """Wait for `wake` or for the moment `until` (infinity is allowed), whichever is first.

        One waiter for each clock: a suspend is told to who waits first.

        Returns:
            Seconds that the machine was suspended meanwhile; 0 where it was not.
        """
        ...


class Store(Protocol):
    """Keeps what a restart needs of each rate group, at two rates: calls at once, all else soon.

    Attributes:
        path: Where it is, for people.
        leases: Those that an earlier process had granted, on the clock of now; some may have ended.
    """

    path: str
    leases: tuple[Lease, ...]

    def known(self, group: str) -> GroupState:
        """What an earlier process knew of a group that has not begun yet, its calls aside."""
        ...

    def begin(self, plan: GroupPlan, now: float) -> GroupState:
        """Keep the ledger of a group from now on. May wait for a disk: ask for it in a thread.

        Returns:
            What an earlier process knew of it, on the clock of `now`.

        Raises:
            StoreError: Its ledger cannot be kept; what was there is untouched. `charge` then does nothing.
        """
        ...

    def charge(self, group: str, at: float) -> None:
        """Remember one call that leaves at `at`, without waiting for a disk.

        A SIGKILL loses at most the calls of the last few milliseconds.
        """
        ...

    async def save(self, states: Mapping[str, GroupState], leases: LeaseChanges, at: float) -> None:
        """Remember what became of these groups and leases.

        The renewals given are added to those that are known; all else replaces what was known. Calls are
        not looked at: `charge` has them. One call at a time.

        Raises:
            StoreError: It could not be written.
        """
        ...

    def close(self) -> None:
        """Let go of it, without waiting for a disk."""
        ...
