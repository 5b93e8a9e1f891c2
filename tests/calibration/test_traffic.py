from __future__ import annotations

import pytest

from keepalive.calibration.traffic import KNOWN, Traffic


def traffic(*dates: float) -> Traffic:
    made = Traffic()
    made.note(dates)
    return made


def test_of_a_single_event_nothing_follows() -> None:
    assert traffic().gap is None
    assert traffic(5.0).gap is None
    assert traffic(5.0).next_after(7.0) is None


def test_regular_traffic_is_foretold() -> None:
    regular = traffic(10.0, 30.0, 50.0, 70.0, 90.0)
    assert regular.gap == 20
    assert regular.next_after(80.0) == 90
    assert regular.next_after(91.0) == 110
    assert regular.next_after(175.0) == 190


def test_a_lost_event_leaves_it_regular() -> None:
    assert traffic(0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0).next_after(7.5) == pytest.approx(8)


def test_irregular_traffic_is_not_foretold() -> None:
    assert traffic(0.0, 3.0, 4.0, 9.0, 9.5, 16.0).next_after(17.0) is None


def test_of_bursts_the_gap_is_the_one_between_them() -> None:
    bursts = traffic(*(ten + tenth / 10 for ten in range(0, 100, 10) for tenth in range(9)))
    assert bursts.next_after(100.0) is None
    assert bursts.gap == pytest.approx(8.5, abs=0.1)


def test_events_may_come_twice_and_in_any_order() -> None:
    assert traffic(30.0, 10.0, 20.0, 10.0, 30.0, 50.0, 40.0).next_after(41.0) == 50


def test_only_the_newest_are_remembered() -> None:
    long = Traffic()
    for number in range(100_000):
        long.note([float(number)])
    long.note(100_000 + 2.0 * number for number in range(2 * KNOWN))
    assert long.gap == 2
