from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.plan import Policy
from keepalive.core.schedule import AnswerTime, next_beat, regained_phase, retry_delay

draws = st.floats(0, 1, exclude_max=True)
latencies = st.floats(0.001, 5)


@given(st.floats(0, 1e6), st.floats(0.1, 60), st.floats(0, 0.5), draws)
def test_jitter_makes_a_beat_early_and_never_late(
    renewed_at: float, interval: float, jitter: float, u: float
) -> None:
    due = next_beat(renewed_at, interval, Policy(interval=interval, jitter=jitter), u)

    assert renewed_at + interval * (1 - jitter) - 1e-6 <= due <= renewed_at + interval


@given(st.floats(0, 1e5), st.floats(1, 60), st.integers(1, 100))
def test_a_crowd_renewed_at_one_moment_is_spread_evenly_over_one_interval(
    now: float, interval: float, count: int
) -> None:
    dues = [regained_phase(now, interval, rank, count) for rank in range(count)]

    assert dues[-1] == pytest.approx(now + interval)
    assert dues[0] > now
    gaps = [later - earlier for earlier, later in pairwise(dues)]
    assert gaps == pytest.approx([interval / count] * (count - 1), abs=1e-6)


@given(st.integers(1, 1000), st.floats(-5, 45), draws)
def test_a_retry_waits_at_most_two_seconds_or_a_quarter_of_what_is_left(
    failures: int, left: float, u: float
) -> None:
    delay = retry_delay(failures, left, u)

    assert 0 <= delay <= 2
    assert delay <= max(0.05, left / 4)
    if failures == 1:
        assert delay <= 0.5


@given(st.floats(8, 45), draws)
def test_the_backoff_doubles_until_its_cap(left: float, u: float) -> None:
    delays = [retry_delay(failures, left, u) for failures in range(1, 6)]

    assert delays == pytest.approx([u * cap for cap in (0.5, 1.0, 2.0, 2.0, 2.0)])


@given(st.lists(latencies, max_size=60))
def test_an_answer_is_never_overdue_before_one_second_nor_before_three_while_little_is_known(
    answers: list[float],
) -> None:
    time = AnswerTime()
    for seconds in answers:
        time.observe(seconds)

    assert time.overdue >= (1 if len(answers) >= 20 else 3)


@given(latencies)
def test_a_steady_answer_time_is_learnt(seconds: float) -> None:
    time = AnswerTime()
    for _ in range(60):
        time.observe(seconds)

    assert time.overdue == pytest.approx(max(1.0, seconds), rel=0.01)


@pytest.mark.parametrize(("before", "since"), [(0.1, 3.0), (4.0, 1.5)])
def test_an_answer_time_that_changed_is_learnt_anew(before: float, since: float) -> None:
    time = AnswerTime()
    for _ in range(30):
        time.observe(before)
    for _ in range(100):
        time.observe(since)

    assert time.overdue == pytest.approx(since, rel=0.01)


def test_answers_that_vary_are_waited_for_longer_than_their_mean() -> None:
    time = AnswerTime()
    for index in range(100):
        time.observe(2.0 if index % 2 else 1.0)

    assert 2.5 < time.overdue < 4.5


@given(st.lists(latencies, max_size=40), st.floats(-10, 45))
def test_a_hedge_leaves_sooner_when_little_of_the_lease_is_left_but_not_within_a_second(
    answers: list[float], left: float
) -> None:
    time = AnswerTime()
    for seconds in answers:
        time.observe(seconds)

    delay = time.hedge_delay(left)

    assert delay == min(time.overdue, max(1.0, left / 6))
    assert delay >= 1
