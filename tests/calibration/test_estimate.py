from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepalive.calibration.estimate import Estimate, Estimator
from keepalive.calibration.round import Beat, Round
from tests.calibration.world import Played, World

WINDOWS = st.floats(4.0, 180.0)
SEEDS = st.integers(0, 10_000)


def played(window: float, shift: float = 0.0, gap: float = 1.0, ended_by: float | None = 200.0) -> Round:
    """A round with an event right at either end of a silence, one gap away from the next one."""
    seen = Round(Beat(100.0, 100.0), 99.0 + shift)
    seen.deliver(100.0 + shift + window - gap / 2, 100.0 + window)
    seen.show([100.0 + shift + window + gap / 2])
    if ended_by is not None:
        seen.restore(ended_by)
        seen.accept(ended_by)
        seen.show([ended_by + shift - gap / 2])
        seen.deliver(ended_by + shift + gap / 2, ended_by + gap)
    return seen


def estimator(*rounds: Round, error: float = 1.0) -> Estimator:
    made = Estimator(error)
    for each in rounds:
        made.add(each, 60.0)
    return made


@settings(deadline=None, max_examples=60)
@given(window=WINDOWS, seed=SEEDS, regular=st.booleans())
def test_an_unknown_window_is_found(window: float, seed: int, *, regular: bool) -> None:
    world = World(Played(window, regular=regular), seed)
    estimate = world.play(60)
    assert estimate.settled(1.0)
    assert estimate.at_least - 0.01 <= window <= estimate.at_most + 0.01


@settings(deadline=None, max_examples=40)
@given(WINDOWS, SEEDS, st.floats(-3600, 3600), st.floats(0.0, 2.0))
def test_clocks_that_differ_and_late_decisions_cancel_out(
    window: float, seed: int, ahead: float, held: float
) -> None:
    world = World(Played(window, ahead=ahead, held=held, delay=(held + 0.1, held + 2.0)), seed)
    estimate = world.play(60)
    assert estimate.settled(1.0)
    assert estimate.at_least - 0.01 <= window <= estimate.at_most + 0.01


@settings(deadline=None, max_examples=20)
@given(WINDOWS, SEEDS)
def test_regular_traffic_is_bisected(window: float, seed: int) -> None:
    estimate = World(Played(window, gap=20.0), seed).play(10)
    assert estimate.settled(1.0)
    assert estimate.at_least - 0.01 <= window <= estimate.at_most + 0.01


def test_lost_events_are_outvoted() -> None:
    errors = [abs(World(Played(45.0, loss=0.05), seed).play(60).window - 45.0) for seed in range(100)]
    assert max(errors) <= 1.0


def test_nothing_is_known_before_the_first_round() -> None:
    fresh = Estimator(1.0)
    assert fresh.estimate == Estimate(0.0, inf)
    assert not fresh.done
    assert fresh.more_seconds is None
    assert (fresh.start_in(0.0, 0.5), fresh.restore_in(0.0, 0.5)) == (0.0, 0.0)


def test_one_round_is_not_enough_however_narrow() -> None:
    one = estimator(played(45.0, gap=0.01))
    assert one.estimate.error < 0.1
    assert not one.done
    assert estimator(*[played(45.0, gap=0.01)] * 3).done


def test_the_shift_cancels_out() -> None:
    for shift in (-50.0, 0.0, 3.0):
        estimate = estimator(*[played(45.0, shift, gap=0.5)] * 3).estimate
        assert estimate.window == pytest.approx(45.0, abs=0.3)


def test_rounds_that_contradict_each_other_settle_nothing() -> None:
    torn = estimator(
        played(45.0, gap=0.1), played(45.0, gap=0.1), played(60.0, gap=0.1), played(75.0, gap=0.1)
    )
    assert torn.estimate.agreeing == 2
    assert not torn.done


def test_half_of_the_rounds_settle_nothing_against_the_other_half() -> None:
    others = [played(window, gap=0.1) for window in (50.0, 60.0, 70.0)]
    torn = estimator(*[played(45.0, gap=0.1)] * 3, *others)
    assert (torn.estimate.agreeing, torn.estimate.rounds, torn.done) == (3, 6, False)


def test_rounds_have_to_agree_on_both_ends_of_the_silence() -> None:
    moved = [played(45.0 - shift, shift, gap=0.1) for shift in (0.0, 5.0, 10.0)]
    assert estimator(*moved).estimate.agreeing == 1


def test_one_in_four_may_say_something_else() -> None:
    mostly = estimator(*[played(45.0, gap=0.1)] * 3, played(40.0, gap=0.1))
    assert (mostly.estimate.agreeing, mostly.estimate.rounds, mostly.done) == (3, 4, True)


def test_without_a_stream_that_comes_back_the_delay_is_assumed() -> None:
    estimate = estimator(*[played(45.0, gap=0.1, ended_by=None)] * 3).estimate
    assert estimate.assumed
    assert estimate.at_least < 45.0 <= estimate.at_most + 1.0


def test_a_heartbeat_is_timed_so_that_an_event_falls_in_the_middle() -> None:
    one = estimator(played(45.0, gap=20.0))
    one.traffic.note(1000.0 + 20 * number for number in range(6))
    for draw in (0.0, 0.5, 0.99):
        delay = one.start_in(1105.0, draw)
        assert 20 * draw <= delay <= 20 * draw + 20
        assert (1105.0 + delay + 45.0) % 20 == pytest.approx(0.0, abs=0.1)


def test_where_events_cannot_be_foretold_chance_decides() -> None:
    one = estimator(played(45.0))
    one.traffic.note([1000.0, 1003.0, 1004.0, 1009.0, 1009.5, 1016.0])
    assert one.start_in(1020.0, 0.0) == 0.0
    assert 0 < one.start_in(1020.0, 0.5) < one.start_in(1020.0, 0.9)


def test_how_much_longer_it_takes_follows_from_the_rounds_so_far() -> None:
    wide = estimator(*[played(45.0, gap=8.0)] * 3)
    wide.traffic.note(float(number * 8) for number in range(10))
    regular = wide.more_seconds
    wide.traffic.note([81.0, 85.0, 102.0, 103.0, 120.0, 170.0, 173.0, 190.0])
    irregular = wide.more_seconds
    assert regular is not None
    assert irregular is not None
    assert regular == 3 * 60.0
    assert irregular > regular


def test_the_window_to_configure_is_rounded_down() -> None:
    assert Estimate(44.97, 45.2).safe == 44
    assert Estimate(0.7, 1.2).safe is None
