"""Rivals: a running daemon that sends heartbeats for the same Cloudflare user, which no silence survives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from keepalive.config.access import Access
from keepalive.control.answers import overview, rate_groups, targets
from keepalive.control.client import Daemon, named
from keepalive.errors import DaemonRefusedError, DaemonUnreachableError

SECONDS = 2.0
"""Seconds that the daemon may take to answer."""

MOST_TARGETS = 5000
"""Targets that are looked through for an account; a daemon with more of them is a rival without a look."""


class Rivals:
    """Looks for a daemon whose heartbeats may count for the same user.

    Its targets are of the same rate group, which is one Cloudflare user. Under another configuration a
    group of that name may be somebody else's: there it takes a target of the same account too.

    Args:
        access: Where a daemon may be.
        configuration: The file that ours was read from, or None.
        group: The rate group that is measured.
        account_id: The account that is measured.
    """

    def __init__(self, access: Access, configuration: Path | None, group: str, account_id: str) -> None:
        self._access = access
        self._configuration = "environment" if configuration is None else str(configuration)
        self._group = group
        self._account_id = account_id

    async def look(self) -> str:
        """Name a rival in a sentence without its end; "" where none answers."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> str:
        daemon = Daemon(self._access, seconds=SECONDS)
        try:
            whole = overview(daemon)
            held = sum(group.targets for group in rate_groups(daemon) if group.rate_group == self._group)
            if not held or not (whole.config == self._configuration or self._shares_account(daemon)):
                return ""
        except (DaemonUnreachableError, DaemonRefusedError):
            return ""
        where = named(daemon.address) if daemon.address else "its socket"
        things = f"{held:,} target{'' if held == 1 else 's'}"
        return f"the daemon at {where} sends heartbeats for {things} of the rate group {self._group!r}"

    def _shares_account(self, daemon: Daemon) -> bool:
        """Whether one of its targets in the group is of our account."""
        found = list(targets(daemon, most=MOST_TARGETS))
        return len(found) >= MOST_TARGETS or any(
            target.account_id == self._account_id and target.as_json().get("rate_group") == self._group
            for target in found
        )
