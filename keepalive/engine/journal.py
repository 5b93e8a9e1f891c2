"""A journal: tells the store what a restart has to know, and never makes a heartbeat wait for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from keepalive.core.events import Sink, StateFailed, StateRecovered, StateRestored
from keepalive.core.group import RateGroup
from keepalive.core.lease import Lease, LeaseChanges
from keepalive.core.plan import GroupPlan
from keepalive.core.state import GroupState
from keepalive.engine.ports import Clock, Store
from keepalive.errors import StoreError

SAVE_SECONDS = 0.1
"""Seconds for which changes are collected before they are saved: at most 200 ms are lost by a SIGKILL."""

STUCK_SECONDS = 5.0
"""Seconds after which a write that has not come back is told."""

RETRY_SECONDS = 5.0
"""Seconds until a failed write is tried again."""

LAST_SECONDS = 0.5
"""Seconds that the last write may take at the end."""


class Journal:
    """Owns the store. `run` writes what was touched; whatever fails is told once and tried again."""

    def __init__(self, store: Store, clock: Clock, tell: Sink) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self._touched: set[RateGroup] = set()
        self._leases: dict[str, Lease | None] = {}
        self._incomplete: set[RateGroup] = set()
        self._prepared: dict[str, GroupState | StoreError] = {}
        self._wake = asyncio.Event()
        self._failed_at: float | None = None
        self._told: set[str] = set()

    async def prepare(self, plans: Iterable[GroupPlan]) -> None:
        """Open the ledgers of these plans in a thread, so that `begin` and `follow` wait for no disk."""
        for plan in plans:
            self._prepared[plan.name] = await asyncio.to_thread(self._opened, plan, self._clock.now())

    def _opened(self, plan: GroupPlan, now: float) -> GroupState | StoreError:
        try:
            return self._store.begin(plan, now)
        except StoreError as error:
            return error

    def begin(self, group: RateGroup, now: float) -> None:
        """Let a group go on where an earlier process stopped, also where its ledger cannot be kept."""
        state = self._taken(group, now)
        group.restore(state, now)
        if state != GroupState():
            calls = sum(count for _, count in state.calls)
            renewals, denied = len(state.renewed), len(state.refusals)
            self._tell(
                StateRestored(at=now, rate_group=group.name, renewals=renewals, calls=calls, denied=denied)
            )

    def follow(self, group: RateGroup, now: float) -> None:
        """Make room for the calls of a quota that has changed."""
        self._taken(group, now)

    def _taken(self, group: RateGroup, now: float) -> GroupState:
        state = self._prepared.pop(group.name, None)
        if state is None:
            state = self._opened(group.plan, now)
        if isinstance(state, StoreError):
            self._tell(StateFailed(at=now, path=state.path, cause=state.found, hint=state.hint))
            return self._store.known(group.name)
        return state

    def charge(self, group: RateGroup, now: float) -> None:
        """A call of this group leaves now."""
        self._store.charge(group.name, now)

    def touch(self, group: RateGroup) -> None:
        """Something about this group has changed."""
        self._touched.add(group)
        self._wake.set()

    @property
    def leases(self) -> tuple[Lease, ...]:
        """Those that an earlier process had granted."""
        return self._store.leases

    def keep(self, changes: LeaseChanges) -> None:
        """Some leases have changed."""
        self._leases.update(changes)
        self._wake.set()

    async def run(self) -> None:
        """Save what is touched, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(SAVE_SECONDS)
            await self._save()
            if self._failed_at is not None:
                await asyncio.sleep(RETRY_SECONDS)

    async def finish(self) -> None:
        """Save what is left, for half a second at most, and let go of the store."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._save()
        except TimeoutError:
            self._tell_stuck()
        self._store.close()

    async def _save(self) -> None:
        """Write once; while the disk is stuck, changes wait in the groups and cost no memory."""
        self._wake.clear()
        touched, self._touched = self._touched, set()
        leases, self._leases = self._leases, {}
        if not touched and not leases:
            return
        now = self._clock.now()
        whole = touched & self._incomplete
        states = {group.name: group.save(now) if group in whole else group.changes() for group in touched}
        self._incomplete |= touched
        stuck = asyncio.get_running_loop().call_later(STUCK_SECONDS, self._tell_stuck)
        try:
            await self._store.save(states, leases, now)
            self._incomplete -= touched
            leases = {}
        except StoreError as error:
            self._tell_failure(error)
        finally:
            stuck.cancel()
            self._touched |= touched & self._incomplete
            self._leases = leases | self._leases
        if self._touched or self._leases:
            self._wake.set()
        if not self._incomplete and not leases and self._failed_at is not None:
            now = self._clock.now()
            self._tell(StateRecovered(at=now, failed_for=now - self._failed_at))
            self._failed_at = None
            self._told.clear()

    def _tell_stuck(self) -> None:
        hint = "look at the disk; heartbeats go on, and a restart would not know the newest ones"
        self._tell_failure(StoreError(self._store.path, "a write does not come back", hint))

    def _tell_failure(self, error: StoreError) -> None:
        now = self._clock.now()
        if self._failed_at is None:
            self._failed_at = now
        if error.found not in self._told:
            self._told.add(error.found)
            self._tell(StateFailed(at=now, path=error.path, cause=error.found, hint=error.hint))
