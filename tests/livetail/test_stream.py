from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from itertools import pairwise

import looptime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keepalive.core.outcome import Denied, Fault, Throttled, Transient
from keepalive.core.target import Scope
from keepalive.core.telemetry import Event
from keepalive.livetail.record import Changed, State
from keepalive.livetail.splice import OUT_OF_TURN_MS
from keepalive.livetail.watch import LONGEST_APART_SECONDS
from tests.livetail.model import BEGAN_MS, Account, Model, World, account, tailing

pytestmark = pytest.mark.looptime


@dataclass
class Play:
    """What hypothesis draws: a world, and when its connections break."""

    world: World
    kills: list[tuple[float, bool]] = field(default_factory=list)


LENGTH = 120.0
QUIESCENCE = 100.0


async def _played(play: Play) -> tuple[Model, Account]:
    async with tailing(play.world) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(LENGTH + QUIESCENCE))
        for at, half_open in sorted(play.kills):
            await model.until(at)
            model.kill(half_open=half_open)
        await model.until(LENGTH + QUIESCENCE + LONGEST_APART_SECONDS)  # so late a silence may be asked about
    return model, account(model, 1.0, LENGTH + QUIESCENCE - 45)


def spans(shortest: float, longest: float) -> st.SearchStrategy[list[tuple[float, float]]]:
    begins = st.floats(min_value=15, max_value=LENGTH - longest)
    lengths = st.floats(min_value=shortest, max_value=longest)
    one = st.tuples(begins, lengths).map(lambda span: (span[0], span[0] + span[1]))
    return st.lists(one, max_size=2)


def knowable(world: World) -> World:
    """Where nothing is stored, a stall that nobody is told of cannot be told from a silence."""
    return world if world.stored else replace(world, revoked=[])


worlds = st.builds(
    World,
    rate=st.sampled_from([8.0, 15.0]),
    lag=st.floats(min_value=0, max_value=20),
    latency=st.floats(min_value=0.01, max_value=0.5),
    repeats=st.sampled_from([0.0, 0.1]),
    stored=st.sampled_from([True, True, True, False]),
    ahead=st.sampled_from([0.0, 0.0, 45.0, -45.0]),
    seed=st.integers(min_value=0, max_value=1000),
    quiet=spans(1, 30),
    revoked=spans(7, 40),
    lapsed=spans(3, 40),
    silent_archive=spans(1, 40),
    closed=spans(1, 40),
).map(knowable)
plays = st.builds(
    Play, worlds, st.lists(st.tuples(st.floats(min_value=3, max_value=LENGTH), st.booleans()), max_size=6)
)


REGRESSIONS = (
    Play(  # a stall that lasts while the session is replaced: living is not bringing
        World(
            rate=8.0,
            lag=9.57,
            latency=0.289,
            repeats=0.0,
            seed=974,
            quiet=[(36.47, 56.47)],
            revoked=[(20.13, 56.47), (54.58, 84.58)],
            closed=[(30.0, 60.0)],
        ),
        [(88.99, True), (88.99, True)],
    ),
    Play(  # patience that ends in the same moment in which somebody waits for it
        World(
            rate=15.0,
            lag=10.391981831096311,
            latency=0.11241828441231791,
            repeats=0.1,
            stored=False,
            seed=579,
            quiet=[(51.34395432047227, 79.46776144859533), (81.08064940690558, 99.50861240758391)],
            lapsed=[(79.0, 91.47981494811117)],
            silent_archive=[(53.43038111732231, 63.668159912705676), (66.48953972039112, 71.7809545457418)],
            closed=[(34.06929482779674, 71.71567746106611), (63.73215529174778, 84.55979389564344)],
        ),
        [(3.0000000000000004, True), (30.0, True), (10.0, True), (47.71937708711956, True)],
    ),
    Play(  # a stall that was too short to be doubted, found when the connection breaks
        World(
            rate=8.0,
            lag=0.0,
            latency=0.5,
            repeats=0.1,
            ahead=-45.0,
            seed=272,
            revoked=[(60.0, 68.79), (42.41, 50.43)],
            lapsed=[(25.18, 29.33)],
            silent_archive=[(42.47, 44.37)],
            closed=[(18.13, 19.13)],
        ),
        [(74.94, False), (25.28, True), (46.05, False), (106.52, True), (118.03, True), (69.68, True)],
    ),
    Play(  # a minute of holding back that ends before the index had its time since the last break
        World(
            rate=8.0,
            lag=5.71,
            latency=0.14,
            repeats=0.0,
            seed=759,
            revoked=[(62.64, 97.11)],
            lapsed=[(61.58, 81.86), (24.35, 45.33)],
            silent_archive=[(30.89, 62.31)],
        ),
        [(70.43, False)],
    ),
    Play(  # a lapse while a doubt is open, which ends without having met it
        World(
            rate=1.0,
            lag=6.91,
            latency=0.38,
            repeats=0.0,
            stored=False,
            seed=79873,
            lapsed=[(31.54, 65.58), (60.28, 85.02)],
        ),
        [(75.93, False)],
    ),
    Play(  # a first connection that brings nothing, by a clock that is ahead
        World(rate=0.2, lag=0.0, latency=1.9, repeats=0.0, ahead=45.0, seed=59528), [(8.7, True)]
    ),
    Play(  # two stalls, the second one hidden by the hand-over at its end
        World(
            rate=8.0,
            lag=0.55,
            latency=0.48,
            repeats=0.0,
            seed=103,
            revoked=[(29.15, 43.38), (51.42, 68.01)],
            closed=[(36.77, 65.3)],
        ),
    ),
    Play(  # an index that lags by more than a doubt is patient
        World(
            rate=0.2,
            lag=37.33,
            latency=0.3,
            repeats=0.0,
            seed=63442,
            silent_archive=[(19.32, 57.39)],
            closed=[(47.78, 98.94)],
        ),
        [(39.12, True), (115.99, False), (119.25, True), (11.63, False)],
    ),
)
"""Plays that once went wrong."""

PLAYS = int(os.environ.get("PLAYS", "0"))
"""How many plays are drawn at random; without that they are few, and the same each time."""


@pytest.mark.timeout(60 + PLAYS)
@settings(max_examples=PLAYS or 20, deadline=None, derandomize=not PLAYS)
@given(play=plays)
@example(play=REGRESSIONS[0])
@example(play=REGRESSIONS[1])
@example(play=REGRESSIONS[2])
@example(play=REGRESSIONS[3])
@example(play=REGRESSIONS[4])
@example(play=REGRESSIONS[5])
@example(play=REGRESSIONS[6])
@example(play=REGRESSIONS[7])
def test_every_event_is_told_once_and_in_order_or_lies_in_a_gap(play: Play) -> None:
    loop = looptime.new_event_loop(start=0.0, noop_cycles=4, _enabled=True)
    try:
        _, found = loop.run_until_complete(_played(play))
    finally:
        loop.close()
    assert not found.missing
    assert not found.repeated
    if play.world.stored:
        assert found.disorder_ms <= OUT_OF_TURN_MS + 250


async def test_sessions_are_replaced_before_they_are_an_hour_old_without_a_gap_or_a_repetition() -> None:
    async with tailing(World(rate=0.1)) as model:
        await model.log(6600)
    ages = [later - earlier for earlier, later in pairwise(model.prepared)]
    assert len(ages) == 2
    assert all(2700 <= age <= 3010 for age in ages)
    assert not model.gaps
    found = account(model, 1, 6590)
    assert found.faithful
    assert model.states == [State.ELIGIBLE]


async def test_the_old_connection_ends_once_the_new_one_has_taken_over() -> None:
    async with tailing(World(rate=0.1)) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(3100))
        await model.until(3090)
        assert len(model.prepared) == 2
        assert len(model.open) == 1


async def test_a_session_that_was_dead_before_its_replacement_came_is_a_doubt_and_no_loss() -> None:
    world = World(rate=0.02, quiet=[(0, 2600)])  # too quiet for the death to be noticed by its silence
    async with tailing(world) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(3600))
        while len(model.prepared) < 2:
            model.kill(half_open=True)  # again and again: whichever is open
            await asyncio.sleep(500)
        await model.until(3600)
    found = account(model, 1, 3500)
    assert found.faithful


async def test_silence_lapse_and_disconnection_are_three_states() -> None:
    async with tailing(World(rate=1.0, lapsed=[(20, 40)])) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(100))
        await model.until(80)
        model.kill()
        await model.until(100)
    assert model.states == [
        State.ELIGIBLE,
        State.LAPSED,
        State.ELIGIBLE,
        State.DISCONNECTED,
        State.ELIGIBLE,
    ]


async def test_a_tail_that_begins_in_the_past_tells_what_is_stored_and_then_goes_on() -> None:
    model = Model(World(rate=5.0))
    logging = asyncio.create_task(model.log(200))
    await model.until(100)
    async with tailing(model, since=40):
        await logging
        await model.until(205)
    assert model.told[0].timestamp - BEGAN_MS == pytest.approx(40_000, abs=300)
    found = account(model, 40, 199)
    assert found.faithful
    assert found.disorder_ms < 250
    assert not model.gaps


async def test_what_was_logged_before_the_tail_began_is_not_told_when_a_gap_is_filled() -> None:
    model = Model(World(rate=5.0))
    logging = asyncio.create_task(model.log(60))
    await model.until(20)
    async with tailing(model):
        await model.until(22)
        model.kill()
        await logging
    assert model.told[0].timestamp - BEGAN_MS >= 20_000
    assert min(event.timestamp for event in model.told) - BEGAN_MS >= 20_000


async def test_without_stored_events_a_gap_says_so_and_later_ones_are_not_waited_for_as_long() -> None:
    async with tailing(World(stored=False)) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(120))
        for at in (20, 80):
            await model.until(at)
            model.kill()
        await model.until(120)
    assert [gap.reason for gap in model.gaps] == ["not_stored", "not_stored"]
    told = [at for at, record in zip(model.at, model.records, strict=True) if record in model.gaps]
    assert 45 < told[0] < 55
    assert 80 < told[1] < 90


async def test_a_query_that_is_denied_makes_a_gap_at_once() -> None:
    denied = Denied(Fault("authentication"), Scope.ACCOUNT)
    async with tailing(World(denies=denied)) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(40))
        await model.until(20)
        model.kill()
        await model.until(40)
    assert [gap.reason for gap in model.gaps] == ["authentication"]
    assert model.at[model.records.index(model.gaps[0])] < 23
    assert model.gaps[0].from_ms < BEGAN_MS + 20_000 < model.gaps[0].to_ms


async def test_a_break_without_any_event_around_it_is_told_as_unconfirmed() -> None:
    async with tailing(World(rate=1.0, quiet=[(0, 200)])) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(100))
        await model.until(20)
        model.kill()
        await model.until(100)
    assert [gap.reason for gap in model.gaps] == ["unconfirmed"]


async def test_what_is_held_back_when_the_tail_ends_is_told_behind_its_gap() -> None:
    async with tailing(World(rate=5.0)) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(22))
        await model.until(20)
        model.kill()
        await model.until(22)
    gap = model.records.index(model.gaps[0])
    assert [each.reason for each in model.gaps] == ["interrupted"]
    assert any(isinstance(each, Event) for each in model.records[gap:])
    assert account(model, 1, 21.5).faithful


async def test_what_waits_for_a_hand_over_when_the_tail_ends_is_told_too() -> None:
    async with tailing(World(rate=1.0)) as model:
        logging = asyncio.create_task(model.log(3100))
        await model.until(2695)
        while len(model.open) < 2:
            await asyncio.sleep(0.02)
            if len(model.prepared) == 2:
                model.kill(half_open=True)
                await asyncio.sleep(0.2)
        ends_at = model.now + 5
        await model.until(ends_at)
    logging.cancel()
    assert [each.reason for each in model.gaps] == ["interrupted"]
    assert model.told[-1].timestamp > BEGAN_MS + (ends_at - 2) * 1000
    assert account(model, 1, ends_at - 1).faithful


async def test_what_cannot_be_read_is_named_as_a_gap_but_not_each_time() -> None:
    async with tailing(World(rate=1.0)) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(60))
        await model.until(10)
        came = []
        while model.now < 40:
            for connection in model.open:
                connection.bring_junk()
            came.append(BEGAN_MS + model.now * 1000)
            await asyncio.sleep(0.1)
        await model.until(60)
    assert {gap.reason for gap in model.gaps} == {"unreadable"}
    assert len(model.gaps) == 4
    assert all(any(gap.from_ms <= at <= gap.to_ms for gap in model.gaps) for at in came)
    assert account(model, 1, 59).faithful
    assert model.states == [State.ELIGIBLE]


async def test_no_try_cuts_short_the_silence_of_a_429() -> None:
    async with tailing(World()) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(100))
        model.outcomes.append(Throttled(Fault("throttled"), 30.0))
        await model.until(60)
    first, second = model.prepared[:2]
    assert 30 <= second - first <= 32


async def test_an_outage_is_told_once_with_its_cause_and_tried_for_ever() -> None:
    async with tailing(World()) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(200))
        model.outcomes.extend([Transient(Fault("connect", "cannot connect", hint="check it"))] * 40)
        await model.until(200)
    changes = [record for record in model.records if isinstance(record, Changed)]
    assert changes == [
        Changed(State.DISCONNECTED, "connect: cannot connect; check it"),
        Changed(State.ELIGIBLE),
    ]
    assert max(later - earlier for earlier, later in pairwise(model.prepared)) < 6


async def test_connections_that_end_at_once_are_opened_with_pauses() -> None:
    async with tailing(World(rate=2.0)) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(60))
        while model.now < 60:
            model.kill()
            await asyncio.sleep(0.01)
    assert 10 <= len(model.prepared) <= 40


async def test_refusals_are_tried_less_and_less() -> None:
    async with tailing(World()) as model:
        model.outcomes.extend([Denied(Fault("unknown_script"), Scope.TARGET)] * 1000)
        await model.until(3600)
    assert 60 <= len(model.prepared) <= 130


async def test_a_stall_of_a_steady_stream_is_found_and_healed_without_the_keeper() -> None:
    async with tailing(World(rate=10.0, revoked=[(30, 90)])) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(200))
        await model.until(200)
    found = account(model, 1, 190)
    assert found.faithful
    assert not model.gaps
    assert len(model.prepared) >= 2


async def test_what_a_short_silence_of_a_slow_stream_hid_is_named_as_a_gap() -> None:
    world = World(rate=0.25, revoked=[(200, 220)])
    async with tailing(world) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(700))
        await model.until(700)
    assert {gap.reason for gap in model.gaps} == {"stalled"}
    assert not account(model, 1, 690).missing


async def test_a_quiet_tail_costs_the_quota_next_to_nothing() -> None:
    async with tailing(World(rate=1.0, quiet=[(0, 3600)])) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(2600))
        await model.until(2600)
    assert model.queries <= 12
    assert len(model.prepared) == 1


async def test_more_than_can_be_held_back_is_told_at_once_with_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keepalive.livetail.doubt.MOST_HELD", 50)
    async with tailing(World(rate=20.0, lag=25.0)) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(60))
        await model.until(30)
        model.kill()
        await model.until(60)
    assert [gap.reason for gap in model.gaps] == ["too_many"]
    assert not account(model, 1, 59).missing
