from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from keepalive.calibration.interval import Agreement, Interval, agreed

MOMENTS = st.integers(-100, 100).map(float)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    low = draw(st.one_of(MOMENTS, st.just(-inf)))
    high = draw(st.one_of(MOMENTS, st.just(inf)).filter(lambda edge: edge > low))
    return Interval(low, high)


def votes(number: float, given: list[Interval]) -> int:
    return sum(low < number <= high for low, high in given)


def test_without_intervals_everything_is_open() -> None:
    assert agreed([]) == Agreement(Interval(-inf, inf), 0)


def test_those_that_agree_are_cut_down_to_what_they_share() -> None:
    assert agreed([Interval(40, 50), Interval(44, 60), Interval(-inf, 46)]) == Agreement(Interval(44, 46), 3)


def test_one_that_contradicts_two_others_is_outvoted() -> None:
    assert agreed([Interval(44, 46), Interval(10, 12), Interval(45, 47)]) == Agreement(Interval(45, 46), 2)


def test_where_votes_are_equal_everything_between_is_open() -> None:
    assert agreed([Interval(10, 12), Interval(44, 46)]) == Agreement(Interval(10, 46), 1)


def test_intervals_that_only_touch_do_not_agree() -> None:
    assert agreed([Interval(10, 20), Interval(20, 30)]) == Agreement(Interval(10, 30), 1)


@given(st.lists(intervals(), min_size=1, max_size=8))
def test_nothing_has_more_votes_than_what_is_found(given: list[Interval]) -> None:
    found = agreed(given)
    numbers = [edge + shift for each in given for edge in each if abs(edge) < inf for shift in (-0.5, 0, 0.5)]
    most = max((votes(number, given) for number in [*numbers, 0.0]), default=0)
    assert found.votes == most
    for number in numbers:
        if votes(number, given) == most:
            assert found.interval.low < number <= found.interval.high


@given(st.integers(-100, 100), st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), min_size=1))
def test_what_all_hold_is_found(truth: int, spreads: list[tuple[int, int]]) -> None:
    found = agreed([Interval(float(truth - below), float(truth + above)) for below, above in spreads])
    assert found.interval.low < truth <= found.interval.high
    assert found.votes == len(spreads)
