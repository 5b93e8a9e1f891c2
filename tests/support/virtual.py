"""Fakes of the engine's ports for a virtual loop (the `looptime` marker): time passes without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from keepalive.core.events import Event
from keepalive.core.lease import Lease, LeaseChanges
from keepalive.core.outcome import Accepted, Fault, Outcome, Transient
from keepalive.core.plan import GroupPlan
from keepalive.core.stamp import Stamp, carried
from keepalive.core.state import GroupState
from keepalive.core.target import Target
from keepalive.engine.clock import wait
from keepalive.errors import StoreError


class LoopClock:
    """The loop's own time, which looptime moves.

    Attributes:
        suspended: Seconds of suspend that the next wait tells.
        oversleeps: Seconds by which the next wait comes back late.
    """

    def __init__(self) -> None:
        self.suspended = 0.0
        self.oversleeps = 0.0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def wait(self, wake: asyncio.Event, until: float) -> float:
        await wait(wake, until - self.now())
        late, self.oversleeps = self.oversleeps, 0.0
        await asyncio.sleep(late)
        slept, self.suspended = self.suspended, 0.0
        return slept


@dataclass
class Sent:
    target: Target
    at: float


Answer = Callable[[Target, float], Awaitable[Outcome]]


async def accept(target: Target, timeout: float) -> Outcome:
    await asyncio.sleep(0.05)
    return Accepted()


async def hang(target: Target, timeout: float) -> Outcome:
    await asyncio.sleep(timeout)
    return Transient(Fault("timeout"), hung=True)


async def refuse(target: Target, timeout: float) -> Outcome:
    await asyncio.sleep(0.001)
    return Transient(Fault("connect"))


@dataclass
class FakeClient:
    """Answers as `answer` says, and remembers what was sent."""

    answer: Answer = accept
    sent: list[Sent] = field(default_factory=list)
    drops: int = 0

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        self.sent.append(Sent(target, asyncio.get_running_loop().time()))
        return await self.answer(target, timeout)

    async def drop_connections(self) -> None:
        self.drops += 1

    def times(self, target: Target) -> list[float]:
        return [sent.at for sent in self.sent if sent.target == target]


@dataclass
class Recorder:
    """A sink that keeps what it is told."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


NO_ROOM = StoreError("memory", "cannot be written: no space left on device", "make room")


class MemoryStore:
    """A store without a disk. What it keeps outlives the daemon that used it: `reopen` is the next one's.

    Attributes:
        fault: Raised by every save, while it is set.
        free: Cleared, no save comes back.
        broken: Groups whose ledger cannot be kept.
        saves: What was saved when, for tests of how soon and how much.
    """

    path = "memory"

    def __init__(self, boot_id: str = "one", now: float = 0.0) -> None:
        self.fault: StoreError | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.broken: set[str] = set()
        self.saves: list[tuple[float, Mapping[str, GroupState]]] = []
        self.closed = False
        self._boot_id = boot_id
        self._known: dict[str, GroupState] = {}
        self.leases: tuple[Lease, ...] = ()
        self._leases: dict[str, tuple[Stamp, Lease]] = {}
        self._states: dict[str, tuple[Stamp, GroupState]] = {}
        self._calls: dict[str, list[Stamp]] = {}
        self._room: dict[str, int] = {}
        self._kept: set[str] = set()

    def reopen(self, now: float, boot_id: str | None = None) -> MemoryStore:
        """What the next daemon opens, in this boot or in another one."""
        store = MemoryStore(self._boot_id if boot_id is None else boot_id)
        ours = Stamp(store._boot_id, now)
        store._known = {name: state.carried_over(then, ours) for name, (then, state) in self._states.items()}
        store._states = {name: (ours, state) for name, state in store._known.items()}
        store._calls, store._room = self._calls, self._room
        store.leases = tuple(lease.carried_over(then, ours) for then, lease in self._leases.values())
        store._leases = {lease.name: (ours, lease) for lease in store.leases}
        return store

    def known(self, group: str) -> GroupState:
        return replace(self._known.get(group, GroupState()), calls=())

    def begin(self, plan: GroupPlan, now: float) -> GroupState:
        self._kept.discard(plan.name)
        if plan.name in self.broken:
            raise NO_ROOM
        self._kept.add(plan.name)
        self._room[plan.name] = max(self._room.get(plan.name, 0), plan.quota.allowed)
        calls, ours = self._calls.setdefault(plan.name, []), Stamp(self._boot_id, now)
        at_least, at_most = ours.elapsed(calls[-1]) if calls else (0.0, 0.0)
        if at_least < at_most:  # they are of another boot
            newest = calls[-1].at
            kept = [call.at for call in calls if call.at > newest - plan.quota.period]
            calls[:] = [Stamp(self._boot_id, carried(at, newest, now)) for at in kept]
        known = self._known.pop(plan.name, GroupState())
        counting = tuple((call.at, 1) for call in calls if call.at > now - plan.quota.period)
        return replace(known, calls=counting)

    def charge(self, group: str, at: float) -> None:
        if group in self._kept:
            calls = self._calls[group]
            calls.append(Stamp(self._boot_id, at))
            del calls[: -self._room[group]]  # no more than a quota so far could count

    async def save(self, states: Mapping[str, GroupState], leases: LeaseChanges, at: float) -> None:
        await self.free.wait()
        if self.fault:
            raise self.fault
        self.saves.append((asyncio.get_running_loop().time(), states))
        for name, state in states.items():
            old = self._states.get(name)
            renewed = dict(old[1].renewed if old else ()) | dict(state.renewed)
            kept = replace(state, renewed=tuple(renewed.items()), calls=())
            self._states[name] = (Stamp(self._boot_id, at), kept)
        for name, lease in leases.items():
            if lease:
                self._leases[name] = (Stamp(self._boot_id, at), lease)
            else:
                self._leases.pop(name, None)

    def close(self) -> None:
        self.closed = True
