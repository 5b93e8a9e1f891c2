"""The store on a disk: renewals, silences and refusals in SQLite, the calls of each rate group in a ring."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import groupby
from math import inf
from pathlib import Path

from keepalive.core.outcome import Fault
from keepalive.core.plan import GroupPlan
from keepalive.core.stamp import Stamp
from keepalive.core.state import GroupState, Refusal
from keepalive.core.target import Target
from keepalive.errors import StoreError
from keepalive.store.lock import Lock
from keepalive.store.ring import Ring

FORMAT = 1
"""Version of the tables, in SQLite's `user_version`."""

APPLICATION = 0x6B65_6570
"""Marks the file as ours, in SQLite's `application_id`."""

REMEMBERED_SECONDS = 86_400.0
"""Age after which a renewal is forgotten at the next start."""

_TABLES = """
CREATE TABLE rate_groups (
    name TEXT PRIMARY KEY, boot_id TEXT NOT NULL, saved_at REAL NOT NULL,
    silent_until REAL, throttles INTEGER NOT NULL
) STRICT;
CREATE TABLE renewals (
    rate_group TEXT NOT NULL, credential TEXT NOT NULL, account_id TEXT NOT NULL, script_id TEXT NOT NULL,
    renewed_at REAL NOT NULL,
    PRIMARY KEY (rate_group, credential, account_id, script_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE refusals (
    rate_group TEXT NOT NULL, key TEXT NOT NULL, fault TEXT NOT NULL, opened_at REAL NOT NULL,
    PRIMARY KEY (rate_group, key)
) STRICT, WITHOUT ROWID;
"""


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
            self._connection = _connect(path)
            self._known = self._read(now)
            self._carry_over(now)
        except StoreError:
            self._lock.release()
            raise
        except (
            OSError,
            sqlite3.Error,
            ValueError,
            TypeError,
        ) as error:  # the last two: JSON of somebody else's
            self._lock.release()
            raise self._unusable(error) from None

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
        return replace(known, calls=tuple((moment, 1) for moment in ring.calls.moments))

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

    # --- reading -------------------------------------------------------------------------------

    def _read(self, now: float) -> dict[str, GroupState]:
        """What is known of every group, on the clock of `now`."""
        ours = Stamp(self._boot_id, now)
        renewals = self._connection.execute("SELECT * FROM renewals ORDER BY rate_group")
        renewed = {
            name: tuple((Target(row[1], row[2], row[3] or None), row[4]) for row in rows)
            for name, rows in groupby(renewals, key=lambda row: str(row[0]))
        }
        refused: dict[str, list[Refusal]] = {}
        for name, key, fault, opened_at in self._connection.execute("SELECT * FROM refusals"):
            refusal = Refusal(tuple(json.loads(key)), Fault(**json.loads(fault)), opened_at)
            refused.setdefault(name, []).append(refusal)
        return {
            name: GroupState(
                renewed=renewed.get(name, ()),
                silent_until=-inf if silent_until is None else silent_until,
                throttles=throttles,
                refusals=tuple(refused.get(name, ())),
            ).carried_over(Stamp(boot_id, saved_at), ours)
            for name, boot_id, saved_at, silent_until, throttles in self._connection.execute(
                "SELECT * FROM rate_groups"
            )
        }

    def _carry_over(self, now: float) -> None:
        """Let all that is kept be of this boot, and forget what is a day old."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        with self._connection:
            execute("DELETE FROM renewals WHERE renewed_at < ?", (now - REMEMBERED_SECONDS,))
            others = execute("SELECT count(*) FROM rate_groups WHERE boot_id <> ?", (self._boot_id,))
            if others.fetchone()[0]:
                execute("DELETE FROM renewals")
                self._put(self._known, now)

    # --- writing -------------------------------------------------------------------------------

    def _save(self, states: Mapping[str, GroupState], at: float) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                self._put(states, at)
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _put(self, states: Mapping[str, GroupState], at: float) -> None:
        put = self._connection.executemany
        put(
            "INSERT OR REPLACE INTO rate_groups VALUES (?, ?, ?, ?, ?)",
            [
                (
                    name,
                    self._boot_id,
                    at,
                    state.silent_until if state.silent_until > -inf else None,
                    state.throttles,
                )
                for name, state in states.items()
            ],
        )
        put(
            "INSERT OR REPLACE INTO renewals VALUES (?, ?, ?, ?, ?)",
            (
                (name, target.credential, target.account_id, target.script_id or "", renewed_at)
                for name, state in states.items()
                for target, renewed_at in state.renewed
            ),
        )
        put("DELETE FROM refusals WHERE rate_group = ?", [(name,) for name in states])
        put("INSERT INTO refusals VALUES (?, ?, ?, ?)", _refusals(states))

    def _unusable(self, error: Exception) -> StoreError:
        folder = Path(self.path).parent
        if isinstance(error, OSError):
            found = f"cannot be written: {os.strerror(error.errno or 0).lower()}"
        elif isinstance(error, sqlite3.OperationalError):
            found = f"cannot be written: {error}"
        else:
            hint = "move it away and restart: until then a restart would know nothing"
            return StoreError(self.path, f"is damaged, or no state of keepalive's ({error})", hint)
        hint = f"make room and let keepalive write to {folder}, or set [state] path to another place"
        return StoreError(self.path, found, hint)


def _refusals(states: Mapping[str, GroupState]) -> Iterable[tuple[str, str, str, float]]:
    return [
        (name, json.dumps(refusal.key), json.dumps(asdict(refusal.fault)), refusal.opened_at)
        for name, state in states.items()
        for refusal in state.refusals
    ]


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file; a damaged or foreign one is only looked at."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        if not _has_tables(connection, path):
            marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {_TABLES} {marks} COMMIT;")
        connection.execute("PRAGMA synchronous = NORMAL")
    except (StoreError, sqlite3.Error):
        with suppress(sqlite3.Error):
            connection.close()
        raise
    return connection


def _has_tables(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether it is a state already, and none that this version must not touch."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    hint = "set [state] path to another place"
    if application != APPLICATION and (application or tables):
        raise StoreError(str(path), "belongs to another program", hint)
    if version > FORMAT:
        found = f"was written by a newer keepalive (format {version}, this one knows {FORMAT})"
        raise StoreError(str(path), found, f"install the newer one again, or {hint}")
    if (damage := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(str(damage).partition("\n")[0])
    return bool(tables)
