from itertools import pairwise
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keepalive.core.budget import SILENCE_MARGIN, UNTOLD_SILENCES, Budget
from keepalive.core.outcome import Headroom
from keepalive.core.plan import Quota
from tests.core.stage import throttled

SMALL = Quota(requests=20, period=60, share=0.9)

headrooms = st.builds(Headroom, st.integers(0, 40), st.floats(0.5, 90))
steps = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 40)),
    st.tuples(st.just("send"), st.integers(1, 12)),
    st.tuples(st.just("heed"), headrooms),
    st.tuples(st.just("told"), st.floats(0.5, 60)),
    st.tuples(st.just("untold"), st.floats(0, 20)),
    st.tuples(st.just("answered"), st.floats(0, 20)),
)


def calls_in(sent: list[float], begin: float, end: float) -> int:
    return sum(begin <= moment < end for moment in sent)


def greedy(budget: Budget, begin: float, end: float) -> list[float]:
    """Send as often as the budget lets, and tell when."""
    now, sent = begin, list[float]()
    while (now := budget.ready_at(now)) < end:
        budget.charge(now)
        sent.append(now)
    return sent


@given(st.lists(steps, max_size=60))
def test_whatever_comes_between_it_never_lets_more_than_the_share_leave_in_a_sliding_period(
    script: list[tuple[str, object]],
) -> None:
    budget, now, sent = Budget(SMALL), 0.0, list[float]()
    for step, value in script:
        match step, value:
            case "wait", float(seconds):
                now += seconds
            case "send", int(count):
                for _ in range(count):
                    if budget.ready_at(now) <= now:
                        budget.charge(now)
                        sent.append(now)
            case "heed", Headroom() as headroom:
                budget.heed(headroom, now)
            case "told", float(seconds):
                budget.silence(throttled(seconds), now, now, 0.5)
            case "untold", float(age):
                budget.silence(throttled(), now - age, now, 0.5)
            case _, float(age):
                budget.answered(now - age)
        assert sum(now - 60 < moment for moment in sent) <= SMALL.allowed


@given(st.lists(steps, max_size=40))
def test_ready_at_is_a_moment_at_which_an_attempt_may_leave_indeed(script: list[tuple[str, object]]) -> None:
    budget, now = Budget(SMALL), 0.0
    for step, value in script:
        match step, value:
            case "wait", float(seconds):
                now += seconds
            case "send", int():
                budget.charge(max(now, budget.ready_at(now)))
            case "heed", Headroom() as headroom:
                budget.heed(headroom, now)
            case "told", float(seconds):
                budget.silence(throttled(seconds), now, now, 0.5)
            case _:
                pass
        ready = budget.ready_at(now)
        assert now <= ready < inf
        assert budget.ready_at(ready) <= ready + 1e-9


@given(st.integers(1, 30), st.floats(10, 60))
def test_a_low_quota_slows_down_first_and_lasts_until_its_reset(remaining: int, reset_in: float) -> None:
    budget = Budget(Quota())
    budget.heed(Headroom(remaining, reset_in), 0.0)

    sent = greedy(budget, 0.0, reset_in * (1 - 1e-9))

    assert len(sent) == remaining
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert gaps == pytest.approx([reset_in / remaining] * len(gaps))


def test_nothing_left_waits_for_the_reset_and_no_longer() -> None:
    budget = Budget(Quota())

    budget.heed(Headroom(0, 30), 10.0)

    assert budget.ready_at(10) == 40
    budget.charge(40)
    assert budget.ready_at(40) == 40


def test_an_ample_quota_changes_nothing_and_ends_a_slow_spell() -> None:
    budget = Budget(Quota())
    budget.heed(Headroom(1, 100), 0.0)
    budget.charge(0.0)
    assert budget.ready_at(1) == 100

    budget.heed(Headroom(1000, 100), 2.0)

    assert budget.ready_at(2) == 2


def test_a_second_reply_of_the_same_spell_gives_no_call_for_nothing() -> None:
    budget = Budget(Quota())
    budget.heed(Headroom(10, 20), 0.0)
    budget.charge(0.0)

    budget.heed(Headroom(9, 19), 1.0)

    assert budget.ready_at(1) == 2


def test_a_429_that_names_no_time_is_probed_after_5_and_15_seconds_and_then_300_from_the_last() -> None:
    budget, probes = Budget(Quota()), list[float]()
    now = 0.0
    for _ in range(5):
        assert budget.silence(throttled(), now, now, 0.5)
        now = budget.ready_at(now)
        probes.append(now)

    assert probes == [5, 15, 315, 615, 915]


@given(st.integers(0, 3), st.lists(st.floats(0, 4.9), min_size=1, max_size=20))
def test_untold_429s_of_attempts_sent_before_the_silence_never_escalate(
    refusals: int, late: list[float]
) -> None:
    budget, now = Budget(Quota()), 0.0
    for _ in range(refusals):
        budget.silence(throttled(), now, now, 0.5)
        now = budget.ready_at(now)
    budget.silence(throttled(), now, now, 0.5)
    until = budget.silent_until

    for after in sorted(late):
        assert not budget.silence(throttled(), now - 0.001, now + after, 0.5)

    assert budget.silent_until == until
    pause = UNTOLD_SILENCES[min(refusals + 1, len(UNTOLD_SILENCES) - 1)]
    budget.silence(throttled(), until, until, 0.5)
    assert budget.silent_until == until + pause


@given(
    st.floats(0.001, 86400),
    st.floats(0, 30),
    st.floats(0, 1, exclude_max=True),
    st.lists(st.one_of(headrooms, st.floats(0, 100)), max_size=5),
)
def test_retry_after_is_always_obeyed_with_a_little_on_top(
    retry_after: float, age: float, u: float, before: list[Headroom | float]
) -> None:
    budget = Budget(Quota())
    for said in before:
        if isinstance(said, Headroom):
            budget.heed(said, 90.0)
        else:
            budget.silence(throttled(), said, 100.0, u)

    budget.silence(throttled(retry_after), 100.0 - age, 100.0, u)

    until, told = budget.silent_until, 100 + retry_after
    assert until >= told + SILENCE_MARGIN[0] - 1e-9
    assert until <= max(told + sum(SILENCE_MARGIN), 100 + UNTOLD_SILENCES[-1]) + 1e-9
    assert budget.ready_at(100.0) >= until
    assert budget.ready_at(until) >= until


def test_a_shorter_retry_after_does_not_cut_a_silence_short() -> None:
    budget = Budget(Quota())
    budget.silence(throttled(60), 0.0, 0.0, 0.0)

    assert not budget.silence(throttled(1), 0.0, 2.0, 0.0)

    assert budget.ready_at(2) == pytest.approx(60.1)


def test_groups_that_were_silenced_together_do_not_come_back_together() -> None:
    early, late = Budget(Quota()), Budget(Quota())

    early.silence(throttled(5), 0.0, 0.0, 0.0)
    late.silence(throttled(5), 0.0, 0.0, 0.99)

    assert late.ready_at(0) - early.ready_at(0) > 0.3


def test_only_an_answer_to_an_attempt_sent_after_the_silence_ends_the_spell() -> None:
    budget = Budget(Quota())
    budget.silence(throttled(), 0.0, 0.0, 0.5)

    assert not budget.answered(4.9)
    assert budget.answered(5.0)
    assert not budget.answered(5.0)

    budget.silence(throttled(), 6.0, 6.0, 0.5)
    assert budget.silent_until == 6 + UNTOLD_SILENCES[0]


def test_a_silence_holds_longer_than_a_low_quota_that_resets_sooner() -> None:
    budget = Budget(Quota())
    budget.silence(throttled(60), 0.0, 0.0, 0.0)

    budget.heed(Headroom(0, 5), 0.0)

    assert budget.ready_at(0) == pytest.approx(60.1)


def test_hedges_are_allowed_up_to_98_percent_of_the_share() -> None:
    budget = Budget(Quota())
    for _ in range(1058):
        assert budget.allows_hedges(0)
        budget.charge(0)

    budget.charge(0)

    assert not budget.allows_hedges(0)
    assert budget.ready_at(0) == 0


def test_what_was_sent_still_counts_under_another_quota_of_the_same_period() -> None:
    budget = Budget(Quota())
    for _ in range(540):
        budget.charge(0)

    budget.resize(Quota(requests=600), 1)

    assert budget.rate == Quota(requests=600).rate
    assert budget.ready_at(1) > 299


@example([0.95], 10.0, 0.99)
@given(
    st.lists(st.floats(0, 300), min_size=1, max_size=40).map(sorted),
    st.sampled_from([10.0, 60.0, 600.0]),
    st.floats(0, 0.999),
)
def test_what_was_sent_still_counts_under_another_period(
    calls: list[float], period: float, later: float
) -> None:
    budget = Budget(Quota())
    for call in calls:
        budget.charge(call)

    budget.resize(Quota(period=period), calls[-1])

    now = calls[-1] + later * period
    assert budget.ledger.count(now) >= calls_in(calls, now - period + 1e-6, now + 1)
