"""The shared quota: what a command sends beside a running daemon is charged to the daemon's ledger first."""

from __future__ import annotations

import asyncio
from time import monotonic

from keepalive.config.access import Access
from keepalive.config.duration import format_duration
from keepalive.control.answers import Loan, take_call
from keepalive.control.client import Daemon
from keepalive.core.outcome import Fault, Outcome, Throttled
from keepalive.core.target import Target
from keepalive.engine.ports import Client
from keepalive.errors import DaemonRefusedError, DaemonUnreachableError

SECONDS = 2.0
"""Seconds that the daemon may take to answer; one that hangs is asked once."""

PATIENCE = 1.0
"""Seconds that a call waits here for its turn; a longer wait is told to whoever wants to send."""

SHORTEST_WAIT = 0.01
"""Seconds between two questions for the same call."""

CAUSE = "quota_shared"


class Lender:
    """Asks a running daemon for each call, and for none any more once it does not answer.

    Attributes:
        counted: Calls that the daemon has charged.
        alone: Calls that it was not asked for, or does not count: no daemon, or none with that rate group.
    """

    def __init__(self, access: Access) -> None:
        """Say where the daemon may be."""
        self.counted = 0
        self.alone = 0
        self._daemon: Daemon | None = Daemon(access, seconds=SECONDS)
        self._strange: set[str] = set()

    @property
    def sent(self) -> int:
        """Calls that might leave."""
        return self.counted + self.alone

    @property
    def shares(self) -> bool:
        """Whether everything that was sent is counted in the daemon's quota."""
        return self.counted > 0 and not self.alone

    def __str__(self) -> str:
        """Say in one sentence what was counted where."""
        if self.shares:
            return "These requests were counted in the running daemon's quota."
        if self.counted:
            return f"{self.counted:,} of {self.sent:,} requests were counted in the running daemon's quota."
        if not self.sent:
            return "No request was sent."
        if self._daemon is not None and self._strange:
            return (
                "The running daemon holds no such rate group, so these requests are not counted in its quota."
            )
        return "No daemon answers, so the quota is not shared: these requests are counted nowhere else."

    async def leave(self, group: str) -> Throttled | None:
        """Ask for one call of a rate group.

        Returns:
            None when it may be sent now, whether the daemon counts it or there is none that would; else why
            not, and when to ask again.
        """
        until = monotonic() + PATIENCE
        while True:
            loan = await self._ask(group)
            if loan is None or loan.granted:
                return None
            wait = max(SHORTEST_WAIT, loan.retry_after_seconds)
            if monotonic() + wait > until:
                return Throttled(_fault(loan), wait)
            await asyncio.sleep(wait)

    async def _ask(self, group: str) -> Loan | None:
        """The daemon's answer; None where there is no daemon that holds the group."""
        daemon = self._daemon
        if daemon is None or group in self._strange:
            self.alone += 1
            return None
        try:
            loan = await asyncio.to_thread(take_call, daemon, group)
        except DaemonRefusedError as error:
            if error.status == 404:
                self._strange.add(group)
            else:
                self._daemon = None
        except DaemonUnreachableError:
            self._daemon = None
        else:
            self.counted += loan.granted
            return loan
        self.alone += 1
        return None


def _fault(loan: Loan) -> Fault:
    wait = format_duration(max(1, round(loan.retry_after_seconds)))
    return Fault(CAUSE, loan.reason, hint=f"the running daemon goes first; it may have a call left in {wait}")


class SharedQuota:
    """A client whose attempts are charged to a running daemon where they share a rate group."""

    def __init__(self, client: Client, lender: Lender, groups: dict[str, str]) -> None:
        """Wire it up.

        Args:
            client: Sends the attempts.
            lender: Asks the daemon.
            groups: The rate group of each credential.
        """
        self._client = client
        self._lender = lender
        self._groups = groups

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        """Send one attempt once it is charged; the time that takes is part of `timeout`."""
        began = monotonic()
        refused = await self._lender.leave(self._groups[target.credential])
        if refused is not None:
            return refused
        return await self._client.heartbeat(target, timeout=max(0.1, timeout - (monotonic() - began)))

    async def drop_connections(self) -> None:
        """Forget every pooled connection."""
        await self._client.drop_connections()
