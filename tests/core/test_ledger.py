from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.ledger import Ledger

moments = st.lists(st.floats(0, 1000, allow_nan=False), min_size=1, max_size=60).map(sorted)
shapes = st.sampled_from([(300.0, 300), (300.0, 30), (60.0, 60), (1.0, 100), (10.0, 7)])


def true_count(calls: list[float], now: float, period: float) -> int:
    return sum(now - period < call <= now for call in calls)


@given(moments, shapes)
def test_it_never_counts_fewer_than_the_true_calls_and_at_most_one_slot_more(
    calls: list[float], shape: tuple[float, int]
) -> None:
    period, slots = shape
    ledger = Ledger(10, period, slots)
    for index, call in enumerate(calls):
        ledger.charge(call)
        known = calls[: index + 1]
        count = ledger.count(call)
        assert count >= true_count(known, call, period)
        assert count <= true_count(known, call, period + 1.0001 * period / slots)


@given(moments, shapes, st.integers(1, 8), st.floats(0, 400))
def test_ready_at_is_the_first_moment_at_which_one_more_fits(
    calls: list[float], shape: tuple[float, int], limit: int, later: float
) -> None:
    period, slots = shape
    ledger = Ledger(limit, period, slots)
    for call in calls:
        ledger.charge(call)
    now = calls[-1] + later

    ready = ledger.ready_at(now)

    assert now <= ready < inf
    if ready > now:
        assert ledger.count(ready - 1e-6 * period) >= limit
    assert ledger.count(ready + 1e-6 * period) < limit


@given(shapes, st.integers(1, 8), st.lists(st.floats(0, 5), min_size=30, max_size=60))
def test_who_waits_for_ready_at_never_sends_more_than_the_limit_in_a_sliding_period(
    shape: tuple[float, int], limit: int, pauses: list[float]
) -> None:
    period, slots = shape
    ledger = Ledger(limit, period, slots)
    now, sent = 0.0, list[float]()
    for pause in pauses:
        now = ledger.ready_at(now + pause * period / 10)
        ledger.charge(now)
        sent.append(now)
        assert true_count(sent, now - 1e-9 * period, period * (1 - 1e-9)) <= limit


@given(moments, shapes, st.floats(0, 100))
def test_a_saved_ledger_goes_on_elsewhere_as_if_nothing_had_happened(
    calls: list[float], shape: tuple[float, int], later: float
) -> None:
    period, slots = shape
    first, second = Ledger(5, period, slots), Ledger(5, period, slots)
    for call in calls:
        first.charge(call)

    second.restore(first.save(calls[-1]))

    now = calls[-1] + later
    assert second.count(now) == first.count(now)
    assert second.ready_at(now) == first.ready_at(now)


def test_many_calls_of_one_moment_are_charged_at_once() -> None:
    ledger = Ledger(1080, 300)

    ledger.charge(50, calls=1080)

    assert ledger.count(50) == 1080
    assert 350 <= ledger.ready_at(50) <= 351


def test_a_clock_that_is_behind_never_makes_room() -> None:
    ledger = Ledger(1, 10, slots=10)
    ledger.charge(100)

    ledger.charge(50)

    assert ledger.count(105) == 2


def test_a_limit_that_was_lowered_waits_until_enough_calls_are_old() -> None:
    ledger = Ledger(10, 10, slots=10)
    for moment in range(5):
        ledger.charge(moment)
    ledger.limit = 2

    assert ledger.ready_at(5) == pytest.approx(14)


@pytest.mark.parametrize("limit", [0, 0.5])
def test_under_a_limit_below_one_nothing_ever_fits(limit: float) -> None:
    assert Ledger(limit, 10).ready_at(5) == inf
