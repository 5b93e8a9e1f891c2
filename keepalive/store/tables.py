"""The tables: how the states of the rate groups, and the leases, lie in one file of SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import groupby
from math import inf
from pathlib import Path
from typing import NamedTuple

from keepalive.core.lease import Lease, LeaseChanges
from keepalive.core.outcome import Fault
from keepalive.core.stamp import Stamp
from keepalive.core.state import GroupState, Refusal
from keepalive.core.target import Key, Target
from keepalive.errors import StoreError

FORMAT = 1
"""Version of the tables, in SQLite's `user_version`."""

APPLICATION = 0x6B65_6570
"""Marks the file as ours, in SQLite's `application_id`."""

REMEMBERED_SECONDS = 86_400.0
"""Age after which a renewal is forgotten at the next start."""

LONGEST_SILENCE = 86_401.0
"""Seconds that no silence exceeds: a reply that asks for more than a day is not obeyed."""

_MOST_THROTTLES = 1_000_000
_BUSY_SECONDS = 1.0
_TABLES = f"""
BEGIN;
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
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
COMMIT;
"""
_LEASES = """
CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY, targets TEXT NOT NULL, ends_at REAL NOT NULL,
    boot_id TEXT NOT NULL, saved_at REAL NOT NULL
) STRICT
"""
"""A file of this format may be without: nobody who knows no leases is disturbed by them."""

_LONGEST_LEASE = 86_401.0
"""Seconds for which no lease is granted at a time."""


class Known(NamedTuple):
    """What a file says, on the clock of its reader."""

    groups: Mapping[str, GroupState]
    leases: tuple[Lease, ...]


def look(path: Path, ours: Stamp) -> Known | None:
    """Read a file, and leave every byte of it as it is.

    Args:
        path: The file, which is there.
        ours: The moment.

    Returns:
        What is known, on the clock of `ours`; None when nothing was ever written.

    Raises:
        StoreError: It belongs to another program or to a newer version.
        sqlite3.Error: It cannot be read, or is damaged.
        ValueError: It is damaged.
        TypeError: It is damaged.
    """
    try:
        return _look(path, "ro", ours)
    except sqlite3.OperationalError as error:
        if code_of(error) != sqlite3.SQLITE_READONLY:
            raise
    return _look(path, "rw", ours)  # a first writer was killed half way: SQLite has to take that back


def connect(path: Path, known: Known | None, ours: Stamp) -> sqlite3.Connection:
    """Open a file for writing, and let it say what is known now: what is old, or of another boot, goes.

    Args:
        path: The file.
        known: What `look` gave.
        ours: The moment.

    Raises:
        sqlite3.Error: It cannot be written.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if known is None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLES)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.execute(_LEASES)
            for table in ("rate_groups", "renewals", "refusals", "leases"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
            if known:
                put(connection, known.groups, {lease.name: lease for lease in known.leases}, ours)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def put(
    connection: sqlite3.Connection, states: Mapping[str, GroupState], leases: LeaseChanges, at: Stamp
) -> None:
    """Write what became of these groups and leases, within the caller's transaction.

    Raises:
        sqlite3.Error: It cannot be written.
    """
    write = connection.executemany
    write(
        "INSERT OR REPLACE INTO rate_groups VALUES (?, ?, ?, ?, ?)",
        (
            (
                name,
                at.boot_id,
                at.at,
                None if state.silent_until == -inf else state.silent_until,
                state.throttles,
            )
            for name, state in states.items()
        ),
    )
    write(
        "INSERT OR REPLACE INTO renewals VALUES (?, ?, ?, ?, ?)",
        (
            (name, target.credential, target.account_id, target.script_id or "", renewed_at)
            for name, state in states.items()
            for target, renewed_at in state.renewed
        ),
    )
    write("DELETE FROM refusals WHERE rate_group = ?", ((name,) for name in states))
    write(
        "INSERT INTO refusals VALUES (?, ?, ?, ?)",
        (
            (name, json.dumps(refusal.key), json.dumps(asdict(refusal.fault)), refusal.opened_at)
            for name, state in states.items()
            for refusal in state.refusals
        ),
    )
    write("DELETE FROM leases WHERE name = ?", ((name,) for name, lease in leases.items() if not lease))
    write(
        "INSERT INTO leases VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET targets = excluded.targets, ends_at = excluded.ends_at, "
        "boot_id = excluded.boot_id, saved_at = excluded.saved_at",  # a renewal keeps its place in the order
        (
            (lease.name, json.dumps(lease.targets), lease.ends_at, at.boot_id, at.at)
            for lease in leases.values()
            if lease
        ),
    )


def code_of(error: sqlite3.Error) -> int:
    """Which of SQLite's primary result codes stands behind an error; SQLITE_ERROR where it names none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _look(path: Path, mode: str, ours: Stamp) -> Known | None:
    place = f"{path.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(place, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        if not _has_tables(connection, path):
            return None
        return Known(dict(_states(connection, ours)), tuple(_leases(connection, ours)))


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


def _states(connection: sqlite3.Connection, ours: Stamp) -> Iterator[tuple[str, GroupState]]:
    renewals = connection.execute(
        "SELECT * FROM renewals WHERE renewed_at BETWEEN ? AND ? ORDER BY rate_group",
        (ours.at - REMEMBERED_SECONDS, ours.at),
    )
    renewed = {
        str(name): tuple((Target(row[1], row[2], row[3] or None), float(row[4])) for row in rows)
        for name, rows in groupby(renewals, key=lambda row: row[0])
    }
    refusals = connection.execute("SELECT * FROM refusals ORDER BY rate_group")
    refused = {
        str(name): tuple(_refusal(*row[1:]) for row in rows)
        for name, rows in groupby(refusals, key=lambda row: row[0])
    }
    for name, boot_id, saved_at, silent_until, throttles in connection.execute("SELECT * FROM rate_groups"):
        state = GroupState(
            renewed=renewed.get(name, ()),
            silent_until=-inf if silent_until is None else silent_until,
            throttles=throttles,
            refusals=refused.get(name, ()),
        )
        _believe(state, saved_at)
        yield name, state.carried_over(Stamp(boot_id, saved_at), ours)


def _leases(connection: sqlite3.Connection, ours: Stamp) -> Iterator[Lease]:
    (there,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'leases'").fetchone()
    rows = connection.execute("SELECT * FROM leases ORDER BY rowid") if there else ()
    for name, targets, ends_at, boot_id, saved_at in rows:
        if not (-inf < saved_at < inf and ends_at - saved_at <= _LONGEST_LEASE):
            raise ValueError("a lease without end")
        lease = Lease(name, tuple(Target(*each) for each in json.loads(targets)), ends_at)
        yield lease.carried_over(Stamp(boot_id, saved_at), ours)


def _refusal(key: str, fault: str, opened_at: float) -> Refusal:
    return Refusal(_key(json.loads(key)), Fault(**json.loads(fault)), opened_at)


def _key(words: list[str | None]) -> Key:
    if not 1 <= len(words) <= len(Target._fields):
        raise ValueError("a refusal of nobody")
    return tuple(words)


def _believe(state: GroupState, saved_at: float) -> None:
    """Look whether all of it can be: a flipped bit must not silence a group for a century.

    Raises:
        ValueError: It cannot.
    """
    silence = state.silent_until - saved_at
    opened = [refusal.opened_at for refusal in state.refusals]
    if not (-inf < saved_at < inf and silence <= LONGEST_SILENCE and 0 <= state.throttles <= _MOST_THROTTLES):
        raise ValueError("a silence without end")
    if not all(-inf < at <= saved_at for at in opened):
        raise ValueError("a refusal that is still to come")
