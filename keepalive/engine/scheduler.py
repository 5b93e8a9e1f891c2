"""The scheduler: one dispatcher that sends what the groups order, and tells them what came back."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from heapq import heappop, heappush
from math import inf

from keepalive.core.events import DaemonDraining, DaemonReady, Event, LoopStalled, Sink, SuspendDetected
from keepalive.core.group import RateGroup
from keepalive.core.lease import Lease, LeaseChanges
from keepalive.core.outcome import Attempt, Fault, Order, Outcome, Transient
from keepalive.core.pace import Pace
from keepalive.core.plan import GroupPlan, Plan
from keepalive.core.state import GroupState
from keepalive.core.tally import Tally
from keepalive.core.target import Key, Scope, Target
from keepalive.engine.beat import Beat
from keepalive.engine.journal import Journal
from keepalive.engine.ports import Client, Clock, Store

SHORTEST_SLEEP = 0.002
"""Seconds that the dispatcher sleeps at least: what falls due together then leaves together."""

STALL_WORTH_TELLING = 1.0
"""Seconds that the loop may oversleep before it is told."""

DRAIN_SECONDS = 4.0
"""Seconds that a drain may take; the supervisor allows five for all."""


class _Drained(Exception):  # noqa: N818 - no error: it ends the group of tasks once a drain is over
    """The last heartbeats have left."""


class Scheduler:
    """Turns for as long as `run` does. One agenda of `(next wake, group)`: a silent group costs one entry."""

    def __init__(  # noqa: PLR0913 - the four ports, and two choices of the caller's
        self,
        client: Client,
        clock: Clock,
        sink: Sink,
        *,
        chance: Callable[[], float],
        max_requests_per_second: float = 200,
        store: Store | None = None,
    ) -> None:
        """Wire it up.

        Args:
            client: Sends the attempts.
            clock: Tells the time.
            sink: Gets every event.
            chance: Draws a number in [0, 1).
            max_requests_per_second: What may leave this address, over all groups.
            store: Keeps what a restart needs; without one a restart renews everybody at once.
        """
        self.tally = Tally()
        self._client = client
        self._clock = clock
        self._sink = sink
        self._chance = chance
        self._address = Pace(max_requests_per_second)
        self._journal = Journal(store, clock, self.tell) if store else None
        self._groups: dict[str, RateGroup] = {}
        self._group_of: dict[Target, RateGroup] = {}
        self._agenda: list[tuple[float, int, RateGroup]] = []
        self._wake_at: dict[RateGroup, float] = {}
        self._sequence = 0
        self._waiting: dict[Target, asyncio.Future[Order | None]] = {}
        self._wake = asyncio.Event()
        self._asleep_until = -inf
        self._tasks: asyncio.TaskGroup | None = None
        self._beats = 0
        self._started_at = clock.now()
        self._ready = False
        self._draining_since: float | None = None

    @property
    def in_flight(self) -> int:
        """Attempts that are unanswered: beats that do not wait for an order."""
        return self._beats - len(self._waiting)

    @property
    def groups(self) -> Mapping[str, RateGroup]:
        """Every rate group that was ever planned; one that is gone holds nobody and rests."""
        return self._groups

    @property
    def draining(self) -> bool:
        """Whether the last heartbeats are on their way."""
        return self._draining_since is not None

    def group_of(self, target: Target) -> RateGroup | None:
        """The rate group that a target belongs to; None where the plan does not name it."""
        return self._group_of.get(target)

    def overdue(self, now: float) -> float:
        """Seconds by which the dispatcher is late; 0 while it is on time."""
        return max(0.0, now - self._earliest())

    def tell(self, event: Event) -> None:
        """Count an event and pass it on to the sink."""
        self.tally(event)
        self._sink(event)

    # --- what is wanted ------------------------------------------------------------------------

    async def prepare(self, plan: Plan) -> None:
        """Do what `apply` of this plan has to wait for; beats go on meanwhile."""
        if self._journal:
            known = {name: group.plan.quota for name, group in self._groups.items()}
            await self._journal.prepare(each for each in plan.values() if known.get(each.name) != each.quota)

    def apply(self, plan: Plan) -> None:
        """Hold what `plan` says from now on. A group that is gone rests: what it sent still counts.

        While a drain is on, nothing new begins.
        """
        if self._draining_since is not None:
            return
        now = self._clock.now()
        moved = self._moved(plan, now)
        for name in self._groups.keys() - plan.keys():
            group = self._groups[name]
            group.apply(replace(group.plan, targets=()), now)
        for name, group_plan in plan.items():
            group = self._begun(group_plan, now)
            if name in moved:
                group.restore(GroupState(renewed=tuple(moved[name])), now)
        self._group_of = {target: self._groups[name] for name in plan for target in plan[name].targets}
        for target in self._waiting.keys() - self._group_of.keys():
            self._release(target)
        for group in self._groups.values():
            self._tell_all(group.announce(now))
            self._schedule(group, now)

    def _begun(self, plan: GroupPlan, now: float) -> RateGroup:
        """The group of a plan, which it holds from now on."""
        group = self._groups.get(plan.name)
        if group is None:
            group = self._groups[plan.name] = RateGroup(plan.name)
            group.apply(plan, now)
            if self._journal:
                self._journal.begin(group, now)
            return group
        quota = group.plan.quota
        group.apply(plan, now)
        if self._journal and plan.quota != quota:
            self._journal.follow(group, now)
        return group

    def _moved(self, plan: Plan, now: float) -> dict[str, list[tuple[Target, float]]]:
        """The renewals of targets whose credential goes to another rate group, by that group."""
        home = {target: name for name in plan for target in plan[name].targets} if self._groups else {}
        moved: dict[str, list[tuple[Target, float]]] = {}
        for group in self._groups.values():
            for target, renewed_at in group.save(now).renewed:
                if (name := home.get(target, group.name)) != group.name:
                    moved.setdefault(name, []).append((target, renewed_at))
        return moved

    def forgive(self, key: Key) -> None:
        """Try those under `key` who suffered from a fault now: its cause has changed."""
        now = self._clock.now()
        for group in self._groups.values():
            group.forgive(key, now)
            self._schedule(group, now)

    def drain(self, cause: str) -> None:
        """Send the last heartbeats, let those in flight finish, and end `run`."""
        if self._draining_since is not None:
            return
        now = self._draining_since = self._clock.now()
        self.tell(DaemonDraining(at=now, cause=cause, in_flight=self.in_flight))
        for group in self._groups.values():
            group.drain(now)
            self._schedule(group, now)
        self._wake.set()

    def lend(self, name: str) -> float:
        """Charge one call that another process sends now to the rate group `name`.

        Returns:
            0 when it may leave; else the seconds after which to ask again, and nothing is charged.

        Raises:
            KeyError: There is no such group.
        """
        now, group = self._clock.now(), self._groups[name]
        ready_at = max(self._address.ready_at(now), now)
        if ready_at <= now and (ready_at := group.lend(now)) <= now:
            self._address.charge(now)
            if self._journal:
                self._journal.charge(group, now)
            return 0.0
        return ready_at - now

    def room_in(self, name: str) -> float:
        """Seconds until a rate group has room for the first heartbeats of more targets; 0 for now.

        A group that there is none of yet has.
        """
        now, group = self._clock.now(), self._groups.get(name)
        return max(0.0, group.room_at(now) - now) if group else 0.0

    @property
    def kept_leases(self) -> tuple[Lease, ...]:
        """The leases that an earlier process had granted; some may have ended."""
        return self._journal.leases if self._journal else ()

    def keep_leases(self, changes: LeaseChanges) -> None:
        """Let these changes outlive the process, within 200 ms."""
        if self._journal:
            self._journal.keep(changes)

    # --- the loop ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Beat until a drain has ended. Every task is owned here and gone when this returns."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                if self._journal:
                    tasks.create_task(self._journal.run(), name="journal")
                await self._turn()
        except* _Drained:
            self._beats = 0  # one that was ended before its first step could not say so
        if self._journal:
            await self._journal.finish()

    async def _turn(self) -> None:
        """Dispatch until a drain is over, and end the tasks then: the unanswered have had its time.

        Raises:
            _Drained: Always.
        """
        self._watch_readiness(self._clock.now())
        while (until := self._next_wake(self._clock.now())) is not None:
            self._asleep_until = until
            slept = await self._clock.wait(self._wake, until)
            self._asleep_until = -inf
            self._wake.clear()
            now = self._clock.now()
            if slept:
                await self._resume(slept, now)
            else:
                self._notice_stall(now - until)
            self._dispatch(now)
            self._notice_stall(self._clock.now() - now)
        for target in list(self._waiting):
            self._release(target)
        raise _Drained

    def _next_wake(self, now: float) -> float | None:
        """When to look again; None when a drain is over."""
        until = self._earliest()
        if self._draining_since is not None:
            end = self._draining_since + DRAIN_SECONDS
            leaves_at = min((group.next_departure(now) for group in self._groups.values()), default=inf)
            if now >= end or (not self.in_flight and leaves_at > end):
                return None
            until = min(until, end)
        return max(until, now + SHORTEST_SLEEP)

    def _earliest(self) -> float:
        """The first moment of the agenda; infinite for none."""
        while self._agenda and self._agenda[0][0] != self._wake_at.get(self._agenda[0][2]):
            heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else inf

    def _dispatch(self, now: float) -> None:
        while self._agenda and self._agenda[0][0] <= now:
            wake_at, _, group = heappop(self._agenda)
            if self._wake_at.get(group) != wake_at:
                continue
            del self._wake_at[group]
            self._tell_all(group.announce(now))
            while (free_at := self._address.ready_at(now)) <= now and (order := group.take(now)):
                self._address.charge(now)
                if self._journal:
                    self._journal.charge(group, now)
                self._send(order)
            self._tell_all(group.announce(now))
            self._schedule(group, now, not_before=free_at)

    def _schedule(self, group: RateGroup, now: float, not_before: float = -inf) -> None:
        """Put a group into the agenda for when it next has something to say."""
        wake_at = max(group.next_wake(now), not_before)
        if wake_at == self._wake_at.get(group):
            return
        self._wake_at[group] = wake_at
        if wake_at < inf:
            self._sequence += 1
            heappush(self._agenda, (wake_at, self._sequence, group))
        if wake_at < self._asleep_until:
            self._wake.set()

    async def _resume(self, slept: float, now: float) -> None:
        """The machine was suspended: its connections are dead, and everybody is due."""
        self.tell(SuspendDetected(at=now, suspended=slept))
        await self._client.drop_connections()
        for group in self._groups.values():
            group.hasten(now)
            self._schedule(group, now)

    def _notice_stall(self, seconds: float) -> None:
        """Tell when the process was stopped, starved or blocked for so long, asleep or at work."""
        if seconds > STALL_WORTH_TELLING:
            self.tell(LoopStalled(at=self._clock.now(), lasted=seconds))

    def _watch_readiness(self, now: float) -> None:
        if not self._ready and self.tally.waiting == 0:
            self._ready = True
            tally = self.tally
            eligible = sum(count for state, count in tally.counts.items() if state.holds)
            after = now - self._started_at
            self.tell(DaemonReady(at=now, eligible=eligible, targets=tally.targets, after_seconds=after))

    # --- the beats -----------------------------------------------------------------------------

    def _send(self, order: Order) -> None:
        """Hand an order to the beat that waits for it, or begin a new one."""
        waiting = self._waiting.pop(order.target, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(order)
        elif self._tasks is not None:
            self._beats += 1
            self._tasks.create_task(Beat(order, self).run(), name="beat")

    async def carry_out(self, order: Order) -> bool:
        """Send one attempt and settle it; True when its beat has nothing more to do."""
        target, group = order.target, self._group_of.get(order.target)
        sent_at = self._clock.now()
        outcome: Outcome
        try:
            outcome = await self._client.heartbeat(target, timeout=order.timeout)
        except Exception as error:  # noqa: BLE001 - a bug in one attempt must not lapse everybody else
            outcome = Transient(Fault("internal", _place_of(error)), scope=Scope.TARGET)
        if group is None:
            return True
        now = self._clock.now()
        self._tell_all(group.settle(Attempt(order, sent_at, now, outcome), now, self._chance()))
        self._schedule(group, now)
        if self._journal:
            self._journal.touch(group)
        self._watch_readiness(now)
        if group.failing(target, now) and self._draining_since is None:
            return target in self._waiting  # another attempt of this target goes on already
        self._release(target)
        return True

    def ended(self) -> None:
        """A beat is over."""
        self._beats -= 1
        if self._draining_since is not None:
            self._wake.set()

    def due_in(self, target: Target) -> float:
        """Seconds until `target` is due."""
        group = self._group_of.get(target)
        return max(0.0, group.due_at(target) - self._clock.now()) if group else 0.0

    async def next_order(self, target: Target) -> Order | None:
        """Wait for the group's next order for `target`."""
        future: asyncio.Future[Order | None] = asyncio.get_running_loop().create_future()
        self._waiting[target] = future
        return await future

    def _release(self, target: Target) -> None:
        waiting = self._waiting.pop(target, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _tell_all(self, events: list[Event]) -> None:
        for event in events:
            self.tell(event)


def _place_of(error: Exception) -> str:
    """Name an unexpected error and where it was raised; its text might hold a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}: please report it"
