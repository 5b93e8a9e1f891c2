"""The quota of those who stay: shared within the process, and with a daemon that may come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

from keepalive.config.access import Access
from keepalive.config.configuration import Configuration
from keepalive.control.client import Daemon
from keepalive.control.quota import CAUSE, SECONDS, Lender
from keepalive.core.ledger import Ledger
from keepalive.core.outcome import Fault, Throttled
from keepalive.core.plan import Quota

AGAIN_SECONDS = 10.0
"""Seconds after which a daemon that did not answer is asked again: one that hangs costs a heartbeat two."""

_SPENT: dict[tuple[str, Quota], Ledger] = {}
"""What this process has sent, by rate group. A program with a hundred sessions has a hundred engines, and to
Cloudflare they are one user."""

_FULL = Fault(
    CAUSE, "this process has spent keepalive's share of the quota", hint="hold fewer targets at once"
)


class StayingLender(Lender):
    """A lender that gives no daemon up for good, and counts for all engines of the process."""

    def __init__(self, access: Access, quotas: Mapping[str, Quota]) -> None:
        """Say where the daemon may be, and how much each rate group may send."""
        super().__init__(access)
        self._access = access
        self._quotas = quotas
        self._again_at = monotonic() + AGAIN_SECONDS

    async def leave(self, group: str) -> Throttled | None:
        """Ask for one call of a rate group; as `Lender` does."""
        now = monotonic()
        if now >= self._again_at:
            self._again_at = now + AGAIN_SECONDS
            self._strange.clear()  # a reload may have brought the group
            self._daemon = self._daemon or Daemon(self._access, seconds=SECONDS)
        quota = self._quotas[group]
        spent = _SPENT.setdefault((group, quota), Ledger(quota.allowed, quota.period))
        if (ready_at := spent.ready_at(now)) > now:
            return Throttled(_FULL, ready_at - now)
        refused = await super().leave(group)
        if refused is None:
            spent.charge(monotonic())
        return refused

    def rest(self) -> None:
        """Ask no daemon for a while: it was found not to answer, and to find that again costs time."""
        self._daemon = None
        self._again_at = monotonic() + AGAIN_SECONDS

    async def permit(self, group: str) -> None:
        """Wait until one call of a rate group may be sent."""
        while True:
            refused = await self.leave(group)
            if refused is None:
                return
            await asyncio.sleep(refused.retry_after or AGAIN_SECONDS)


def quotas_of(configuration: Configuration) -> dict[str, Quota]:
    """How much each rate group may send that the configuration has targets of."""
    return {name: group.quota for name, group in configuration.plan.items()}
