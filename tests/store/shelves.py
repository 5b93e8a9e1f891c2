"""Shelves: what survives between two openings of one store, for tests that hold over every kind of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from keepalive.core.outcome import Fault
from keepalive.core.plan import GroupPlan, Quota
from keepalive.core.state import GroupState, Refusal
from keepalive.core.target import Key, Target
from keepalive.engine.ports import Store
from keepalive.store.sqlite import SqliteStore
from tests.support.virtual import MemoryStore

API = Target("prod", "a" * 32, "api")
WEB = Target("prod", "a" * 32, "web")
WHOLE = Target("prod", "b" * 32)


def plan(name: str = "default", requests: int = 10, period: float = 60.0) -> GroupPlan:
    """A group whose share is all of its quota."""
    return GroupPlan(name, (API, WEB, WHOLE), quota=Quota(requests, period, share=1.0))


def refused(key: Key = ("prod",), opened_at: float = 990.0, cause: str = "authentication") -> Refusal:
    fault = Fault(cause, "said no", http_status=401, error_code=10000, cf_ray="8f-FRA", hint="mend it")
    return Refusal(key, fault, opened_at)


def save(store: Store, state: GroupState, at: float, name: str = "default") -> None:
    """Let one group be saved, on a loop of its own."""
    states: Mapping[str, GroupState] = {name: state}
    asyncio.run(store.save(states, {}, at))


class Shelf(Protocol):
    """Opens a store, and the same one again."""

    def open(self, now: float, boot_id: str = "one") -> Store:
        """What the next daemon finds; the one before has let go."""
        ...

    def clear(self) -> None:
        """Let go of the last one."""
        ...


class MemoryShelf:
    def __init__(self) -> None:
        self._store = MemoryStore()

    def open(self, now: float, boot_id: str = "one") -> Store:
        self._store.close()
        self._store = self._store.reopen(now, boot_id)
        return self._store

    def clear(self) -> None:
        self._store.close()


class SqliteShelf:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.db"
        self._store: SqliteStore | None = None

    def open(self, now: float, boot_id: str = "one") -> Store:
        self.clear()
        self._store = SqliteStore(self.path, boot_id, now)
        return self._store

    def clear(self) -> None:
        if self._store:
            self._store.close()
            self._store._writer.shutdown(wait=True)
            self._store._scribe.shutdown(wait=True)
            self._store = None
