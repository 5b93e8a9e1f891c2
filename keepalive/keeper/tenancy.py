"""A tenancy: what a running daemon holds for one process of ours, one lease for each credential."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from keepalive.config.access import Access
from keepalive.config.configuration import Configuration
from keepalive.control.answers import TargetSaid, lease, overview, release_lease, take_lease
from keepalive.control.client import Daemon, named
from keepalive.core.target import Target
from keepalive.errors import DaemonRefusedError
from keepalive.keeper.leased import TTL_SECONDS

SECONDS = 2.0
"""Seconds that the daemon may take to answer: its heartbeats would be late long before."""


class Tenancy:
    """Asks the daemon in threads, one question at a time."""

    def __init__(self, daemon: Daemon, name: str, targets: Sequence[Target]) -> None:
        """Say who asks for what.

        Args:
            daemon: Where it answers.
            name: What the lease is called; unique, or two processes would end each other's.
            targets: What is to be held.
        """
        self.name = name
        self._daemon = daemon
        self._turn, self._asked = Lock(), 0
        credentials = dict.fromkeys(target.credential for target in targets)
        self._parts = [
            (
                name if len(credentials) == 1 else f"{name}.{number}",
                tuple(target.label for target in targets if target.credential == credential),
                credential,
            )
            for number, credential in enumerate(credentials)
        ]

    @property
    def address(self) -> str:
        """Where the daemon answered."""
        return named(self._daemon.address) if self._daemon.address else "the daemon"

    async def renew(self) -> Sequence[TargetSaid]:
        """Take the leases, or renew them."""
        return await self._each(
            lambda name, targets, credential: (
                take_lease(self._daemon, name, targets, credential, TTL_SECONDS).targets
            )
        )

    async def look(self) -> Sequence[TargetSaid]:
        """Ask how the targets stand."""
        return await self._each(lambda name, *_: lease(self._daemon, name).targets)

    async def release(self) -> None:
        """Let go of them."""

        def let_go(name: str, *_: object) -> tuple[TargetSaid, ...]:
            with suppress(DaemonRefusedError):  # it has ended already; the others are still to be
                release_lease(self._daemon, name)
            return ()

        await self._each(let_go)

    async def _each(
        self, ask: Callable[[str, tuple[str, ...], str], tuple[TargetSaid, ...]]
    ) -> Sequence[TargetSaid]:
        self._asked += 1
        number = self._asked

        def ask_all() -> list[TargetSaid]:
            with self._turn:  # whoever is cancelled leaves his question behind in its thread
                if number != self._asked:  # and there it had not begun
                    return []
                return [one for part in self._parts for one in ask(*part)]

        return await asyncio.to_thread(ask_all)


async def find_tenancy(
    configuration: Configuration, targets: Sequence[Target], access: Access, prefix: str
) -> Tenancy:
    """Find a daemon that can keep these targets eligible for the user whom the configuration speaks for.

    That takes the same configuration: under the same name another one may have the credential of another
    user, and Cloudflare would stream to that one.

    Args:
        configuration: Ours.
        targets: What is to be held.
        access: Where the daemon may be.
        prefix: What the lease's name begins with.

    Raises:
        DaemonUnreachableError: There is none.
        DaemonRefusedError: It will not answer, or has another configuration.
    """
    daemon = Daemon(access, seconds=SECONDS)
    theirs = (await asyncio.to_thread(overview, daemon)).config
    if not _same(theirs, configuration.path):
        found = f"the daemon at {named(daemon.address) if daemon.address else '?'} runs by {theirs}"
        raise DaemonRefusedError(409, found, "name that file with --config to lean on it")
    return Tenancy(daemon, f"{prefix}-{os.getpid()}-{secrets.token_hex(4)}", targets)


def _same(theirs: str, ours: Path | None) -> bool:
    """Whether what a daemon says of its configuration names ours, by whatever path."""
    if ours is None:
        return theirs == "environment"
    try:
        return theirs == str(ours) or ours.samefile(theirs)
    except (OSError, ValueError):
        return False
