"""The store on a disk: renewals, silences and refusals in SQLite, the calls of each rate group in a ring."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from keepalive.core.plan import GroupPlan
from keepalive.core.stamp import Stamp
from keepalive.core.state import GroupState
from keepalive.errors import StoreError
from keepalive.store import tables
from keepalive.store.lock import Lock
from keepalive.store.ring import Ring

_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file that is not what it should be; all else stands in the way of a good one."""


class SqliteStore:
    """One file, with a folder of rings beside it; locked for as long as it is open.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, boot_id: str, now: float) -> None:
        """Open or begin it.

        Args:
            path: The file; it and its folder are made where they are missing.
            boot_id: This boot; "" where the system does not say.
            now: The moment, in seconds since this boot.

        Raises:
            StoreLockedError: Another daemon has it.
            StoreError: It cannot be read or written, is damaged or of a newer version; it is left as it was.
        """
        self.path = str(path)
        self._boot_id = boot_id
        self._rings_in = path.with_name(f"{path.name}-ledgers")
        self._rings: dict[str, Ring] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="keepalive-state")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = Lock(path.with_name(f"{path.name}-lock"), path)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            known = tables.look(path, Stamp(boot_id, now))
            self._connection = tables.connect(path, known, Stamp(boot_id, now))
        except StoreError:
            self._lock.release()
            raise
        except (OSError, sqlite3.Error, ValueError, TypeError) as error:
            self._lock.release()
            raise self._unusable(error) from None
        self._known = known or {}

    def begin(self, plan: GroupPlan, now: float) -> GroupState:
        """Keep the ledger of a group from now on, and give what an earlier process knew of it."""
        name, quota = plan.name, plan.quota
        if old := self._rings.pop(name, None):
            old.close()
        try:
            self._rings_in.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None
        ring = Ring(self._rings_in / name, quota.allowed, self._boot_id, now=now, period=quota.period)
        self._rings[name] = ring
        known = self._known.pop(name, GroupState())
        return replace(known, calls=tuple((moment, 1) for moment in ring.calls))

    def charge(self, group: str, at: float) -> None:
        """Remember one call that leaves at `at`, without waiting for a disk."""
        ring = self._rings.get(group)
        if ring is not None:
            ring.charge(at)

    async def save(self, states: Mapping[str, GroupState], at: float) -> None:
        """Remember what became of these groups, in a thread: the loop goes on meanwhile."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._save, states, at)

    def close(self) -> None:
        """Let go of it: the thread closes the file when it comes back from the disk."""
        self._writer.submit(self._connection.close)
        self._writer.shutdown(wait=False)
        for ring in self._rings.values():
            ring.close()
        self._lock.release()

    def _save(self, states: Mapping[str, GroupState], at: float) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                tables.put(self._connection, states, Stamp(self._boot_id, at))
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> StoreError:
        if isinstance(error, OSError):
            found = os.strerror(error.errno or 0).lower()
        elif isinstance(error, sqlite3.Error) and tables.code_of(error) not in _DAMAGE:
            found = str(error)
        else:
            hint = "move it away and restart: until then a restart would know nothing"
            return StoreError(self.path, f"is damaged, or no state of keepalive's ({error})", hint)
        folder = Path(self.path).parent
        hint = f"make room and let keepalive write to {folder}, or set [state] path to another place"
        return StoreError(self.path, f"cannot be written: {found}", hint)
