from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.pace import BURST_SECONDS, Pace


@given(st.integers(1, 500), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_no_second_holds_more_than_the_limit(limit: int, pauses: list[float]) -> None:
    pace, now, sent = Pace(limit), 100.0, list[float]()
    for pause in pauses:
        now += pause
        while pace.ready_at(now) <= now:
            pace.charge(now)
            sent.append(now)
    assert all(later - earlier >= 1 - 1e-9 for earlier, later in zip(sent, sent[limit:], strict=False))


@given(st.integers(10, 500))
def test_whoever_comes_when_it_is_ready_gets_nearly_the_whole_limit(limit: int) -> None:
    pace, now, sent = Pace(limit), 100.0, 0
    while now < 110:
        pace.charge(now)
        sent += 1
        now = pace.ready_at(now)
    assert sent >= 9 * (limit - 1) / (1 + BURST_SECONDS) - 1


def test_the_first_attempts_leave_at_half_the_pace() -> None:
    pace, now = Pace(200), 5.0
    for _ in range(100):
        pace.charge(now)
        now = pace.ready_at(now)
    assert 0.9 < now - 5 < 1.1


def test_a_crowd_does_not_leave_at_one_moment() -> None:
    pace, crowd = Pace(200), 0
    while pace.ready_at(5.0) <= 5.0:
        pace.charge(5.0)
        crowd += 1
    assert crowd <= 3
