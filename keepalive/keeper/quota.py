"""The quota beside a daemon, for those who stay: one that was away is asked again."""

from __future__ import annotations

import asyncio
from time import monotonic

from keepalive.config.access import Access
from keepalive.control.client import Daemon
from keepalive.control.quota import SECONDS, Lender
from keepalive.core.outcome import Throttled

AGAIN_SECONDS = 10.0
"""Seconds after which a daemon that did not answer is asked again: a restart takes one, and to ask costs a
heartbeat up to two where a daemon hangs."""


class StayingLender(Lender):
    """A lender that gives no daemon up for good."""

    def __init__(self, access: Access) -> None:
        """Say where the daemon may be."""
        super().__init__(access)
        self._access = access
        self._again_at = monotonic() + AGAIN_SECONDS

    async def leave(self, group: str) -> Throttled | None:
        """Ask for one call of a rate group; as `Lender` does."""
        if monotonic() >= self._again_at:
            self._again_at = monotonic() + AGAIN_SECONDS
            self._strange.clear()  # a reload may have brought the group
            self._daemon = self._daemon or Daemon(self._access, seconds=SECONDS)
        return await super().leave(group)

    async def permit(self, group: str) -> None:
        """Wait until one call of a rate group may be sent."""
        while True:
            refused = await self.leave(group)
            if refused is None:
                return
            await asyncio.sleep(refused.retry_after or AGAIN_SECONDS)
