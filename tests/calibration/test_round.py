from __future__ import annotations

from math import inf

import pytest

from keepalive.calibration.round import REMEMBERED, Beat, Round

BEAT = Beat(100.0, 100.2)


def watched(*brought: float, shown: tuple[float, ...] = ()) -> Round:
    """A round that began at 100 s, with events dated as they came; nothing came after 130 s."""
    made = Round(BEAT, 99.0)
    for date in brought:
        made.deliver(date, date + 0.1)
    made.show(shown)
    return made


def restored(*brought: float, shown: tuple[float, ...], came: tuple[float, ...]) -> Round:
    """The same, ended by a heartbeat at 160 s."""
    made = watched(*brought, shown=shown)
    made.restore(160.0)
    made.accept(160.2)
    for date in came:
        made.deliver(date, 161.0)
    return made


def test_the_silence_begins_between_the_last_that_came_and_the_first_that_did_not() -> None:
    seen = watched(120.0, 130.0, shown=(130.0, 140.0, 150.0))
    assert tuple(seen.lapse) == pytest.approx((29.8, 40.0))
    assert (seen.brought, seen.missing) == (2, 2)


def test_before_anything_is_missing_only_the_lower_side_is_known() -> None:
    assert tuple(watched(120.0, shown=(110.0, 120.0)).lapse) == pytest.approx((19.8, inf))


def test_an_event_that_is_lost_before_later_ones_is_no_silence() -> None:
    seen = watched(120.0, shown=(120.0, 125.0))
    assert seen.first_missing == 125
    seen.deliver(130.0, 130.1)
    assert seen.first_missing is None


def test_events_may_come_in_any_order() -> None:
    assert watched(130.0, 120.0, 110.0, shown=(140.0,)).lapse == watched(130.0, shown=(140.0,)).lapse


def test_the_first_event_after_the_silence_bounds_the_shift() -> None:
    seen = restored(130.0, shown=(140.0, 155.0), came=(165.0, 162.0))
    assert seen.resumed == 162
    assert tuple(seen.shift or ()) == pytest.approx((-0.1, 2.0))


def test_a_missing_event_right_before_it_bounds_the_shift_too() -> None:
    seen = restored(130.0, shown=(140.0,), came=(162.0,))
    seen.show((161.5,))
    assert tuple(seen.shift or ()) == pytest.approx((1.3, 2.0))


def test_an_event_that_was_on_its_way_for_long_does_not_end_the_silence() -> None:
    seen = restored(130.0, shown=(140.0,), came=(135.0,))
    assert seen.resumed is None
    assert seen.last == 135


def test_a_silence_that_no_heartbeat_ends_tells_nothing_of_the_shift() -> None:
    assert watched(130.0, shown=(140.0,)).shift is None
    assert restored(130.0, shown=(140.0,), came=()).shift is None


def test_of_several_attempts_the_first_may_have_ended_it() -> None:
    seen = watched(130.0, shown=(140.0,))
    seen.restore(160.0)
    seen.restore(165.0)
    seen.accept(165.2)
    assert seen.restored == Beat(160.0, 165.2)


def test_an_event_that_comes_before_the_answer_ends_it_already() -> None:
    seen = watched(130.0, shown=(140.0,))
    seen.restore(160.0)
    seen.deliver(160.1, 160.15)
    seen.accept(160.2)
    assert seen.resumed == 160.1


def test_one_event_that_is_dated_ahead_does_not_spoil_the_lead() -> None:
    seen = Round(BEAT, 99.0)
    for number in range(20):
        seen.deliver(101.0 + number, 101.3 + number)
    seen.deliver(125.0, 121.0)
    assert seen.lead == pytest.approx(-0.3)


def test_however_much_is_shown_the_beginning_and_the_end_are_remembered() -> None:
    seen = watched(130.0)
    for begin in range(0, 10_000, 100):
        seen.show(140.0 + number for number in range(begin, begin + 100))
    assert seen.first_missing == 140
    assert seen.missing == REMEMBERED
    seen.restore(10_138.0)
    seen.accept(10_138.2)
    seen.deliver(10_140.0, 10_140.1)
    assert tuple(seen.shift or ()) == pytest.approx((0.8, 2.0))
