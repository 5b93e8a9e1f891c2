from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.outcome import Denied, Fault, Throttled, Transient
from keepalive.core.target import Scope
from keepalive.livetail.backoff import DENIED_SECONDS, LONGEST_SECONDS, THROTTLED_SECONDS, pause

failures = st.integers(min_value=1, max_value=10_000)
draws = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(failures, draws)
def test_an_outage_is_tried_every_few_seconds_however_long_it_lasts(count: int, draw: float) -> None:
    for outcome in (Transient(Fault("connect")), Fault("closed")):
        assert 0 <= pause(outcome, count, draw) <= LONGEST_SECONDS


@given(failures, draws)
def test_a_refusal_is_tried_more_slowly(count: int, draw: float) -> None:
    seconds = pause(Denied(Fault("authentication"), Scope.ACCOUNT), count, draw)
    assert LONGEST_SECONDS <= seconds <= DENIED_SECONDS
    assert count < 4 or seconds >= DENIED_SECONDS / 2


@given(failures, draws, st.floats(min_value=0.1, max_value=400))
def test_a_429_is_never_cut_short(count: int, draw: float, asked: float) -> None:
    assert asked <= pause(Throttled(Fault("throttled"), asked), count, draw) <= asked + 1
    assert pause(Throttled(Fault("throttled")), count, draw) >= THROTTLED_SECONDS


def test_the_whole_pause_is_left_to_chance() -> None:
    assert pause(Fault("closed"), 10, 0.0) == 0.0
    assert pause(Fault("closed"), 10, 0.5) == pytest.approx(LONGEST_SECONDS / 2)


def test_the_first_tries_follow_each_other_fast() -> None:
    assert [pause(Fault("closed"), count, 1.0) for count in (1, 2, 3, 4, 5, 6)] == [
        0.5,
        1.0,
        2.0,
        4.0,
        5.0,
        5.0,
    ]
