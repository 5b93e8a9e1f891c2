from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import (
    EligibilityChanged,
    HeartbeatAccepted,
    StateFailed,
    StateRecovered,
    StateRestored,
)
from keepalive.core.group import RateGroup
from keepalive.core.outcome import Accepted, Attempt, Fault, Throttled
from keepalive.core.plan import GroupPlan
from keepalive.core.state import GroupState, Refusal
from keepalive.core.target import Target
from keepalive.engine.journal import Journal
from keepalive.engine.scheduler import Scheduler
from keepalive.errors import StoreError
from tests.support.virtual import NO_ROOM, FakeClient, LoopClock, MemoryStore, Recorder

pytestmark = pytest.mark.looptime

ACCOUNT = "0123456789abcdef0123456789abcdef"
STUCK = "a write does not come back"
WORN = StoreError("memory", "cannot be written: input/output error", "look at the disk")


def targets(count: int) -> tuple[Target, ...]:
    return tuple(Target("prod", ACCOUNT, f"script-{number}") for number in range(count))


class Desk:
    """A journal over a store in memory, and one group whose heartbeats the test decides."""

    def __init__(self, count: int = 3) -> None:
        self.store = MemoryStore()
        self.told = Recorder()
        self.clock = LoopClock()
        self.journal = Journal(self.store, self.clock, self.told)
        self.group = RateGroup("default")
        self.group.apply(GroupPlan("default", targets(count)), self.clock.now())
        self.journal.begin(self.group, self.clock.now())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        run = asyncio.create_task(self.journal.run())
        try:
            yield
        finally:
            run.cancel()
            await asyncio.wait([run])

    def beat(self) -> Target:
        """Have the next heartbeat accepted, sent and answered now."""
        now = self.clock.now()
        order = self.group.take(now)
        assert order
        self.group.settle(Attempt(order, now, now, Accepted()), now, 0.5)
        self.journal.touch(self.group)
        return order.target

    def known(self) -> GroupState:
        """What a daemon would know that starts now."""
        now = self.clock.now()
        return self.store.reopen(now).begin(self.group.plan, now)

    def recoveries(self) -> list[StateRecovered]:
        return [event for event in self.told.events if isinstance(event, StateRecovered)]

    def failures(self) -> list[str]:
        return [event.cause for event in self.told.events if isinstance(event, StateFailed)]


async def let_pass(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def test_a_change_is_saved_within_200_milliseconds() -> None:
    desk = Desk()
    async with desk.running():
        await let_pass(50)
        target = desk.beat()
        changed_at = desk.clock.now()
        await let_pass(0.2)

        assert dict(desk.known().renewed) == {target: changed_at}


async def test_changes_without_end_are_saved_all_along() -> None:
    desk = Desk(50)
    async with desk.running():
        for _ in range(50):
            desk.beat()
            await let_pass(0.02)
        seen = [at for at, _ in desk.store.saves]

    assert 5 <= len(seen) <= 10
    assert max(later - sooner for sooner, later in zip([0.0, *seen], seen, strict=False)) <= 0.2


async def test_a_save_says_of_the_renewals_only_what_is_new() -> None:
    desk = Desk()
    async with desk.running():
        saved = []
        for _ in range(3):
            target = desk.beat()
            await let_pass(0.5)
            saved.append(target)

    assert [dict(states["default"].renewed).keys() for _, states in desk.store.saves] == [
        {target} for target in saved
    ]


async def test_a_throttle_and_its_end_are_saved_like_a_renewal() -> None:
    desk = Desk()
    async with desk.running():
        now = desk.clock.now()
        order = desk.group.take(now)
        assert order
        throttled = Throttled(Fault("throttled", http_status=429), retry_after=30)
        desk.group.settle(Attempt(order, now, now, throttled), now, 0.0)
        desk.journal.touch(desk.group)
        await let_pass(0.2)

        assert desk.known().silent_until == pytest.approx(now + 30.1)
        assert desk.known().throttles == 1

        await let_pass(40)
        desk.beat()
        await let_pass(0.2)
        assert desk.known().throttles == 0


# --- failure -----------------------------------------------------------------------------------


async def test_after_a_failure_nothing_is_missing_once_it_is_written_again() -> None:
    desk = Desk(5)
    async with desk.running():
        renewed = {desk.beat(): 0.0}
        await let_pass(1)
        desk.store.fault = NO_ROOM
        for _ in range(3):
            at = desk.clock.now()
            renewed[desk.beat()] = at
            await let_pass(4)
        desk.store.fault = None
        at = desk.clock.now()
        renewed[desk.beat()] = at
        await let_pass(5.2)

        assert dict(desk.known().renewed) == renewed


async def test_it_is_tried_again_even_if_nothing_changes_any_more() -> None:
    desk = Desk()
    async with desk.running():
        desk.store.fault = NO_ROOM
        target = desk.beat()
        await let_pass(60)
        desk.store.fault = None
        await let_pass(5.2)

        assert dict(desk.known().renewed) == {target: 0.0}


async def test_a_spell_of_failure_is_told_once_and_so_is_its_end() -> None:
    desk = Desk(20)
    async with desk.running():
        for spell in (1, 2):
            desk.store.fault = NO_ROOM
            began = desk.clock.now()
            for _ in range(5):
                desk.beat()
                await let_pass(7)
            assert len(desk.failures()) == spell
            desk.store.fault = None
            await let_pass(6)
            ends = desk.recoveries()
            assert len(ends) == spell
            assert 35 <= ends[-1].failed_for <= ends[-1].at - began
    assert desk.failures() == [NO_ROOM.found] * 2


async def test_two_causes_that_take_turns_are_told_once_each() -> None:
    desk = Desk(20)
    async with desk.running():
        for fault in (NO_ROOM, WORN, NO_ROOM, WORN, NO_ROOM):
            desk.store.fault = fault
            desk.beat()
            await let_pass(6)

    assert desk.failures() == [NO_ROOM.found, WORN.found]


async def test_a_store_that_does_not_come_back_is_told_after_five_seconds_and_loses_nothing() -> None:
    desk = Desk(5)
    async with desk.running():
        desk.store.free.clear()
        renewed = {desk.beat(): 0.0}
        await let_pass(4.9)
        assert not desk.failures()
        await let_pass(0.3)
        assert desk.failures() == [STUCK]
        for _ in range(3):
            at = desk.clock.now()
            renewed[desk.beat()] = at
            await let_pass(20)
        assert desk.failures() == [STUCK]

        desk.store.free.set()
        await let_pass(0.3)
        assert dict(desk.known().renewed) == renewed
        [recovered] = desk.recoveries()
        assert recovered.failed_for == pytest.approx(60, abs=1)


async def test_a_store_that_is_slow_now_and_then_is_not_worth_telling() -> None:
    desk = Desk()
    async with desk.running():
        desk.store.free.clear()
        desk.beat()
        await let_pass(4)
        desk.store.free.set()
        await let_pass(10)

    assert not desk.told.events


# --- start and end -----------------------------------------------------------------------------


async def test_the_last_changes_are_saved_at_the_end() -> None:
    desk = Desk()
    async with desk.running():
        target = desk.beat()
    await desk.journal.finish()

    assert dict(desk.known().renewed) == {target: 0.0}
    assert desk.store.closed


@pytest.mark.parametrize("stuck_for", [0.0, 30.0])
async def test_the_end_waits_half_a_second_for_a_store_that_does_not_come_back(stuck_for: float) -> None:
    desk = Desk()
    async with desk.running():
        desk.store.free.clear()
        desk.beat()
        await let_pass(stuck_for)
    began = desk.clock.now()
    await desk.journal.finish()

    assert desk.clock.now() - began <= 0.5
    assert desk.failures() == [STUCK]
    assert desk.store.closed


async def test_the_end_tells_what_cannot_be_saved() -> None:
    desk = Desk()
    desk.store.fault = NO_ROOM
    desk.beat()
    await desk.journal.finish()

    assert desk.failures() == [NO_ROOM.found]
    assert desk.store.closed


async def test_what_is_known_is_told_and_gone_on_with() -> None:
    desk = Desk()
    async with desk.running():
        first, second = desk.beat(), desk.beat()
        for _ in range(2):
            desk.journal.charge(desk.group, desk.clock.now())
        await let_pass(1)
    now = desk.clock.now()
    refusal = Refusal(("prod",), Fault("authentication"), 0.0)
    await desk.store.save({"default": GroupState(refusals=(refusal,))}, {}, now)

    told, group = Recorder(), RateGroup("default")
    group.apply(desk.group.plan, now)
    Journal(desk.store.reopen(now), desk.clock, told).begin(group, now)

    [event] = told.events
    assert event == StateRestored(at=now, rate_group="default", renewals=2, calls=2, denied=1)
    assert {target for target, _ in group.save(now).renewed} == {first, second}
    assert group.budget.ledger.count(now) == 2


async def test_a_first_start_tells_nothing() -> None:
    assert not Desk().told.events


async def test_a_group_whose_ledger_cannot_be_kept_beats_all_the_same() -> None:
    desk = Desk()
    desk.store.broken.add("other")
    other = RateGroup("other")
    other.apply(GroupPlan("other", targets(1)), desk.clock.now())
    desk.journal.begin(other, desk.clock.now())
    desk.journal.charge(other, desk.clock.now())

    assert desk.failures() == [NO_ROOM.found]
    assert other.take(desk.clock.now())


# --- under the scheduler -----------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["stuck", "full"])
async def test_a_disk_in_trouble_delays_no_heartbeat(trouble: str) -> None:
    store, client, told, clock = MemoryStore(), FakeClient(), Recorder(), LoopClock()
    if trouble == "stuck":
        store.free.clear()
    else:
        store.fault = NO_ROOM
    scheduler = Scheduler(client, clock, told, chance=lambda: 0.5, store=store)
    scheduler.apply({"default": GroupPlan("default", targets(42))})
    running = asyncio.create_task(scheduler.run())
    await let_pass(300)
    began = clock.now()
    scheduler.drain("test")
    await running

    assert clock.now() - began < 5
    assert max(event.lateness for event in told.events if isinstance(event, HeartbeatAccepted)) < 0.5
    changes = [event.to_state for event in told.events if isinstance(event, EligibilityChanged)]
    assert Eligibility.AT_RISK not in changes
    cause = STUCK if trouble == "stuck" else NO_ROOM.found
    assert [event.cause for event in told.events if isinstance(event, StateFailed)] == [cause]
    assert len(store.reopen(clock.now()).begin(GroupPlan("default", ()), clock.now()).calls) > 700
