from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.trail import TRAIL_ATTEMPTS, TRAIL_SILENCE, TRAIL_TARGETS, Trail
from tests.core.stage import fleet

OVERDUE = 1.0


def failing(trail: Trail, targets: int, attempts: int, begin: float = 0.0, gap: float = 0.1) -> float:
    """Send attempts to targets in turn; all fail. The moment after the last."""
    crowd = fleet(targets)
    for serial in range(attempts):
        trail.sent(serial, crowd[serial % targets], begin + gap * serial)
        trail.failed(serial, outrun=False)
    return begin + gap * attempts


@given(st.integers(1, 12), st.integers(0, 30), st.integers(1, 60))
def test_it_takes_ten_failures_without_an_answer_spread_over_five_targets_or_all(
    failed: int, attempts: int, targets: int
) -> None:
    trail = Trail()
    failed = min(failed, targets)
    now = failing(trail, failed, attempts)

    spread = min(failed, attempts)
    assert trail.dead(now, OVERDUE, targets) == (
        attempts >= TRAIL_ATTEMPTS and spread >= min(TRAIL_TARGETS, targets)
    )


@given(st.floats(0, 10))
def test_an_answer_within_the_last_five_seconds_keeps_the_origin_alive(since: float) -> None:
    trail = Trail()
    trail.answered(100.0)
    failing(trail, 10, 20, begin=100.0, gap=0.0)

    assert trail.dead(100.0 + since, OVERDUE, 42) == (since >= TRAIL_SILENCE)


def test_what_was_sent_before_an_answer_says_nothing_any_more() -> None:
    trail = Trail()
    now = failing(trail, 5, 9)
    trail.answered(now)
    trail.sent(9, fleet(1)[0], now)
    trail.failed(9, outrun=False)

    assert not trail.dead(now + 100, OVERDUE, 5)


@given(st.floats(0, 3))
def test_an_attempt_that_is_overdue_counts_as_failed_before_it_has_come_back(age: float) -> None:
    trail, crowd = Trail(), fleet(10)
    for serial in range(TRAIL_ATTEMPTS):
        trail.sent(serial, crowd[serial], 10.0)

    assert trail.dead(10 + age, OVERDUE, 42) == (10 + age - 10 > OVERDUE)


def test_hangs_count_in_the_order_of_sending_whenever_they_come_back() -> None:
    trail, crowd = Trail(), fleet(11)
    for serial, target in enumerate(crowd):
        trail.sent(serial, target, float(serial))
    for serial in reversed(range(1, 11)):
        assert not trail.dead(11.0, 100.0, 42)
        trail.failed(serial, outrun=False)

    assert trail.dead(11.0, 100.0, 42)


def test_an_attempt_that_was_outrun_is_no_fault_and_leaves_no_trace() -> None:
    trail, crowd = Trail(), fleet(10)
    for serial, target in enumerate(crowd):
        trail.sent(serial, target, 0.0)
    for serial in range(TRAIL_ATTEMPTS):
        trail.failed(serial, outrun=serial == 3)

    assert not trail.dead(60.0, OVERDUE, 42)


def test_a_failure_that_has_left_the_trail_changes_nothing() -> None:
    trail = Trail()
    now = failing(trail, 5, 10)
    trail.failed(999, outrun=True)

    assert trail.dead(now, OVERDUE, 5)


def test_attempts_too_young_to_be_judged_do_not_hide_those_that_hang() -> None:
    trail, crowd = Trail(), fleet(42)
    for serial in range(40):
        trail.sent(serial, crowd[serial], 0.1 * serial)

    assert trail.dead(4.0, OVERDUE, 42)
    assert not trail.dead(1.5, OVERDUE, 42)


def test_a_group_without_targets_has_no_dead_origin() -> None:
    trail = Trail()
    now = failing(trail, 5, 10)

    assert not trail.dead(now, OVERDUE, 0)
