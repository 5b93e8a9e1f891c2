"""The store on a disk: renewals, silences and refusals in SQLite, the calls of each rate group in a ring."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from keepalive.core.lease import LeaseChanges
from keepalive.core.plan import GroupPlan
from keepalive.core.stamp import Stamp
from keepalive.core.state import GroupState
from keepalive.errors import StoreError
from keepalive.store import tables
from keepalive.store.lock import Lock
from keepalive.store.ring import Ring

_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file that is not what it should be; all else stands in the way of a good one."""


SMALLEST_RING = 2048
"""Calls that a ring remembers at least: a longer period may count more than the quota of today allows."""

STUCK_SECONDS = 3.0
"""Seconds that opening a ring may take."""

LAST_SECONDS = 0.2
"""Seconds that letting go may take."""


class SqliteStore:
    """One file, with a folder of rings beside it; locked for as long as it is open.

    Attributes:
        path: The file.
        leases: Those that an earlier process had granted, on the clock of its opening.
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
        self._scribe = ThreadPoolExecutor(1, thread_name_prefix="keepalive-ledger")
        self._unflushed: deque[Ring] = deque()
        self._flush_asked = False
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
        self._known = dict(known.groups) if known else {}
        self.leases = known.leases if known else ()

    def known(self, group: str) -> GroupState:
        """What an earlier process knew of a group, its calls aside."""
        return self._known.get(group, GroupState())

    def begin(self, plan: GroupPlan, now: float) -> GroupState:
        """Keep the ledger of a group from now on, and give what an earlier process knew of it."""
        try:
            ring = self._scribe.submit(self._open, plan, now).result(STUCK_SECONDS)
        except TimeoutError:
            raise self._unusable(OSError(errno.ETIMEDOUT, "")) from None
        known = self._known.pop(plan.name, GroupState())
        return replace(known, calls=tuple((moment, 1) for moment in ring.calls))

    def _open(self, plan: GroupPlan, now: float) -> Ring:
        """In the thread of the rings, behind all that was noted before."""
        old = self._rings.get(plan.name)
        if old:
            old.flush()
        try:
            self._rings_in.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None
        capacity, period = max(plan.quota.allowed, SMALLEST_RING), plan.quota.period
        ring = Ring(self._rings_in / plan.name, capacity, self._boot_id, now=now, period=period)
        self._rings[plan.name] = ring
        if old:
            old.close()
        return ring

    def charge(self, group: str, at: float) -> None:
        """Remember one call that leaves at `at`, without waiting for a disk."""
        ring = self._rings.get(group)
        if ring is None or not ring.charge(at):
            return
        self._unflushed.append(ring)
        # One hand-over for all that leave together: each costs both threads a switch.
        if not self._flush_asked:
            self._flush_asked = True
            self._scribe.submit(self._flush)

    def _flush(self) -> None:
        self._flush_asked = False
        while self._unflushed:
            self._unflushed.popleft().flush()

    async def save(self, states: Mapping[str, GroupState], leases: LeaseChanges, at: float) -> None:
        """Remember what became of these groups and leases, in a thread: the loop goes on meanwhile."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._save, states, leases, at)
        except RuntimeError as error:  # no thread to be had, for want of memory
            raise self._unusable(OSError(errno.ENOMEM, str(error))) from None

    def close(self) -> None:
        """Let go of it. Whatever a stuck disk holds up is not waited for."""
        jobs = [self._writer.submit(self._connection.close)]
        jobs += [self._scribe.submit(ring.close) for ring in self._rings.values()]
        wait(jobs, LAST_SECONDS)
        self._writer.shutdown(wait=False)
        self._scribe.shutdown(wait=False)
        self._lock.release()

    def _save(self, states: Mapping[str, GroupState], leases: LeaseChanges, at: float) -> None:
        if not self._lock.holds():
            hint = "restart keepalive: until then nothing is kept"
            raise StoreError(self.path, "was deleted or moved away while it was in use", hint)
        for ring in [ring for ring in self._rings.values() if ring.fault]:
            self._scribe.submit(ring.flush).result(STUCK_SECONDS)
            if ring.fault:
                raise ring.fault
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                tables.put(self._connection, states, leases, Stamp(self._boot_id, at))
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
