from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.demo.scene import Held, Weather, counted
from keepalive.emulator import Tally

SECONDS = st.floats(0, 1e6)


def test_what_was_held_is_the_share_of_all_targets_seconds() -> None:
    held = Held.of([Tally(90.0, 10.0, 2, 9), Tally(100.0, 0.0, 0, 9)])
    assert held.ratio == pytest.approx(0.95)
    assert held.lapses == 2


def test_before_anything_was_measured_nothing_was_lost() -> None:
    assert Held.of([]) == (1.0, 0)


@given(st.lists(st.tuples(SECONDS, SECONDS), max_size=9))
def test_a_hundred_percent_means_that_nothing_was_lost(seconds: list[tuple[float, float]]) -> None:
    held = Held.of(Tally(eligible, lapsed, 1, 1) for eligible, lapsed in seconds)
    assert 0 <= held.ratio <= 1
    if held.percent == "100.000 %":
        assert held.ratio == 1


def test_a_ratio_is_rounded_down() -> None:
    assert Held(0.999999, 1).percent == "99.999 %"


def test_the_weather_says_what_goes_on_or_what_comes() -> None:
    assert str(Weather("an outage", playing=True, seconds=2.34)) == "now: an outage, 2.3 s left"
    assert (
        str(Weather("an outage", playing=False, seconds=1)) == "now: all is well; next: an outage, in 1.0 s"
    )


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(number, "lapse") for number in (0, 1, 1200)] == ["0 lapses", "1 lapse", "1,200 lapses"]
    assert counted(2, "retry", "retries") == "2 retries"
