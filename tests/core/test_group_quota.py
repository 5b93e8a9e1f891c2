"""The rules of the budget: 429s, headers, admission and stretching."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged, GroupStretched, GroupThrottled, TargetRefused
from keepalive.core.group import RateGroup
from keepalive.core.outcome import Accepted, Attempt, Headroom, Order, Transient
from keepalive.core.plan import Policy, Quota
from tests.core.stage import (
    HUNG,
    NOT_JSON,
    RESET,
    START,
    UNAVAILABLE,
    Answer,
    Reply,
    Sent,
    Stage,
    fleet,
    planned,
    throttled,
)


def spell(begin: float, end: float, retry_after: float | None, latency: float = 0.1) -> Answer:
    """429 to all that is sent in a spell, whose ends are seconds since the start."""

    def answer(order: Order, at: float) -> Reply:
        inside = begin <= at - START < end
        return Reply(throttled(retry_after) if inside else Accepted(), latency)

    return answer


def after(stage: Stage, moment: float) -> list[Sent]:
    return [sent for sent in stage.sent if sent.at > moment]


def first_throttle(stage: Stage) -> GroupThrottled:
    return next(stage.told(GroupThrottled))


@settings(max_examples=20)
@given(st.floats(0.5, 40), st.integers(1, 42), st.floats(0, 1, exclude_max=True))
def test_after_a_429_the_whole_group_is_silent_until_retry_after_and_a_little(
    retry_after: float, count: int, u: float
) -> None:
    stage = Stage(planned(fleet(count)), u=u)
    stage.play(40)
    stage.answer = lambda order, at: Reply(throttled(retry_after))
    stage.play(20)
    told = first_throttle(stage)

    assert told.until >= told.at + retry_after + 0.1
    assert told.retry_after == retry_after
    stage.answer = lambda order, at: Reply()
    stage.play(retry_after + 20)
    assert not any(told.at < sent.at < told.until for sent in stage.sent)
    assert after(stage, told.at)


@pytest.mark.parametrize("latency", [0.1, 0.9])
def test_after_the_silence_comes_one_probe_then_four_in_flight_and_one_more_per_success(
    latency: float,
) -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.answer = spell(60, 62, 20, latency)
    stage.play(60)

    sent = [sent.at for sent in after(stage, max(told.until for told in stage.told(GroupThrottled)) - 0.001)]

    probe, crowd = sent[0], sent[1:]
    assert crowd[0] >= probe + latency
    assert sum(at < probe + 2 * latency - 1e-6 for at in crowd) <= 4
    assert all(later - earlier >= 0.1 - 1e-6 for earlier, later in pairwise(sent[:20]))
    for at in sent[1:20]:
        answered = sum(other + latency <= at + 1e-9 for other in sent)
        in_flight = sum(other <= at < other + latency - 1e-9 for other in sent)
        assert in_flight <= 3 + answered


def test_a_probe_in_flight_holds_back_who_becomes_due_meanwhile() -> None:
    stage = Stage(planned(fleet(8)))
    stage.play(60)
    throttles = iter([Reply(throttled(0.2))])
    stage.answer = lambda order, at: next(throttles, Reply(after=2.9))
    stage.play(30)

    (until,) = [told.until for told in stage.told(GroupThrottled)]
    assert len([sent for sent in stage.sent if until <= sent.at < until + 2.9 - 1e-6]) == 1


def test_a_429_to_a_target_that_is_gone_is_probed_first_too() -> None:
    stage = Stage(
        planned(fleet(9)), lambda order, at: Reply(throttled(1), 0.5) if order.serial == 9 else Reply()
    )
    stage.play(0.4)
    stage.group.apply(planned(fleet(8)), stage.now)
    stage.answer = lambda order, at: Reply(after=2.0)
    stage.play(30)

    (until,) = [told.until for told in stage.told(GroupThrottled)]
    first = min(sent.at for sent in stage.sent if sent.at >= until)
    assert len([sent for sent in stage.sent if first <= sent.at < first + 2 - 1e-6]) == 1


def test_attempts_ordered_before_a_429_but_sent_after_it_make_no_room_for_more_probes() -> None:
    group, begin = RateGroup("default"), START
    group.apply(planned(fleet(1)), begin)
    early = group.take(begin)
    assert early
    group.apply(planned(fleet(6)), begin + 1)
    crowd = list(iter(lambda: group.take(begin + 1), None))
    assert len(crowd) == 5
    group.settle(Attempt(early, begin, begin + 1, throttled(1)), begin + 1, 0.5)
    for ordered in crowd:
        group.settle(Attempt(ordered, begin + 1.001, begin + 1.1, RESET), begin + 1.1, 0.5)

    until = group.budget.silent_until
    probes = [order for tick in range(20) if (order := group.take(until + 0.11 * tick))]

    assert len(probes) == 1


def test_a_429_that_names_no_time_is_probed_singly_after_5_and_15_seconds_then_300_from_the_last() -> None:
    stage = Stage(planned(fleet(42)), lambda order, at: Reply(throttled(), 0.0625))

    stage.play(1000)

    assert [round(at) for at in stage.moments()[41:]] == [0, 5, 15, 315, 615, 915]
    assert len(stage.sent) == 42 + 5


def test_429s_to_attempts_sent_before_the_silence_never_escalate_it() -> None:
    stage = Stage(
        planned(fleet(20)), lambda order, at: Reply(throttled(), 0.1 if order.serial <= 10 else 4.0)
    )

    stage.play(5.05)
    assert len(stage.sent) == 20
    assert len(list(stage.told(GroupThrottled))) == 1

    stage.play(0.1)
    assert stage.moments()[20:] == pytest.approx([5.1])


def test_a_throttled_lease_is_renewed_in_time_when_the_silence_is_shorter_than_it() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.answer = spell(60, 65, 20)
    stage.play(60)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 42
    assert stage.tally.ratio(stage.now) > 0.998


def test_a_low_quota_in_a_reply_slows_the_group_down_before_it_is_empty() -> None:
    stage = Stage(planned(fleet(40)), lambda order, at: Reply(Accepted(Headroom(1000, 300))))
    stage.play(60)
    stage.answer = lambda order, at: Reply(Accepted(Headroom(5, 10)))

    sent = [sent.at for sent in stage.play(30)]

    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert min(gaps[3:]) >= 2 - 1e-6


def test_an_empty_quota_in_a_failure_waits_for_its_reset() -> None:
    emptied = Headroom(0, 20)
    stage = Stage(planned(fleet(5)))
    stage.play(60)
    stage.answer = lambda order, at: Reply(Transient(NOT_JSON.fault, NOT_JSON.scope, headroom=emptied))
    first = stage.play(16)[0].at
    stage.answer = lambda order, at: Reply()
    stage.play(60)

    assert not any(first + 0.2 < sent.at < first + 20 for sent in stage.sent)
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 5


# --- admission and stretching -----------------------------------------------------------------------


def test_a_crowded_group_is_stretched_and_says_so() -> None:
    stage = Stage(planned(fleet(63)))
    stage.play(1)

    told = next(stage.told(GroupStretched))
    assert told.interval == pytest.approx(22.5)
    assert told.nominal == 15


def test_the_surplus_is_refused_by_order_and_told_once() -> None:
    stage = Stage(planned(fleet(66)))
    stage.play(30)
    stage.group.apply(planned(fleet(66)), stage.now)
    stage.play(30)

    refused = [told.target for told in stage.told(TargetRefused)]
    assert refused == list(fleet(66)[63:])
    assert {told.room for told in stage.told(TargetRefused)} == {63}
    assert stage.tally.counts[Eligibility.REFUSED] == 3
    assert not {sent.target for sent in stage.sent} & set(refused)


def test_a_raised_quota_takes_the_refused_in() -> None:
    stage = Stage(planned(fleet(66)))
    stage.play(30)

    stage.group.apply(planned(fleet(66), quota=Quota(requests=2400)), stage.now)
    stage.play(30)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 66
    assert stage.group.interval == 15
    assert [round(told.interval, 1) for told in stage.told(GroupStretched)] == [22.5, 15.0]


def test_retries_stretch_the_interval_and_their_end_takes_it_back() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.answer = lambda order, at: Reply(NOT_JSON) if order.number < 3 else Reply()
    stage.play(120)
    assert stage.group.interval == 30
    stage.answer = lambda order, at: Reply()

    stage.play(180)

    assert stage.group.interval == 15
    told = [event.interval for event in stage.told(GroupStretched)]
    assert told[-1] == 15
    assert len(told) <= 12


def test_demand_of_a_minute_stays_under_nine_tenths_of_the_share_when_one_in_ten_fails() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(120)
    stage.answer = lambda order, at: Reply(NOT_JSON) if order.serial % 10 == 0 else Reply()
    stage.play(60)

    sent = stage.play(60)

    assert len(sent) <= 0.9 * 3.6 * 60


def test_the_share_holds_even_when_everything_hangs() -> None:
    stage = Stage(planned(fleet(20), quota=Quota(requests=100, period=60)))
    stage.play(30)
    stage.answer = lambda order, at: Reply(HUNG, order.timeout) if order.serial % 3 else Reply()
    stage.play(300)

    moments = stage.moments()
    assert max(sum(at <= other < at + 60 for other in moments) for at in moments) <= 90
    assert len(moments) > 300


def test_targets_that_fail_without_end_leave_the_others_their_part_of_the_share() -> None:
    broken = set(fleet(10))
    stage = Stage(planned(fleet(42)))
    stage.play(400)
    stage.answer = lambda order, at: Reply(UNAVAILABLE if order.target in broken else Accepted())
    stage.play(600)

    lapsed = {told.target for told in stage.told(EligibilityChanged) if told.to_state is Eligibility.LAPSED}
    assert lapsed == broken


@pytest.mark.parametrize("quota", [Quota(requests=4, period=1), Quota(requests=20, period=300)])
def test_a_target_that_failed_long_is_tried_again_however_small_the_quota(quota: Quota) -> None:
    policy = Policy(window=600, interval=200)
    stage = Stage(planned(fleet(2), policy, quota))
    stage.play(400)
    stage.answer = lambda order, at: Reply(UNAVAILABLE if order.target == fleet(1)[0] else Accepted())
    stage.play(2000)
    stage.answer = lambda order, at: Reply()

    stage.play(600)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 2


# --- a quota that the replies name -----------------------------------------------------------------


@pytest.mark.parametrize("count", [20, 42])
def test_a_tighter_quota_that_a_reply_names_is_kept_besides_the_plans(count: int) -> None:
    stage = Stage(planned(fleet(count)))
    told = Accepted(Headroom(requests=100, period=60))
    stage.answer = lambda order, at: Reply(told)
    stage.play(600)

    moments = [sent.at for sent in after(stage, START + 1)]
    assert max(sum(begin <= at < begin + 60 for at in moments) for begin in moments) <= 90


def test_a_tighter_quota_stretches_before_it_is_spent() -> None:
    stage = Stage(planned(fleet(20)))
    stage.answer = lambda order, at: Reply(Accepted(Headroom(requests=90, period=60)))
    stage.play(300)

    assert 18 < stage.group.interval < 22.5
    assert stage.tally.ratio(stage.now) > 0.999


def test_a_wider_quota_that_a_reply_names_changes_nothing() -> None:
    stage = Stage(planned(fleet(42)))
    plain = Stage(planned(fleet(42)))
    stage.answer = lambda order, at: Reply(Accepted(Headroom(requests=12_000, period=300)))

    assert [sent.at for sent in stage.play(300)] == [sent.at for sent in plain.play(300)]


def test_a_tighter_quota_is_forgotten_once_a_reply_names_a_wider_one() -> None:
    stage = Stage(planned(fleet(42)))
    stage.answer = lambda order, at: Reply(Accepted(Headroom(requests=100, period=60)))
    stage.play(120)
    stage.answer = lambda order, at: Reply(Accepted(Headroom(requests=1200, period=300)))
    stage.play(60)

    assert stage.group.interval == 15
    assert stage.group.budget.rate == stage.group.plan.quota.rate


def test_a_quota_that_a_reply_calls_spent_silences_the_group_is_told_and_survives_a_restart() -> None:
    stage = Stage(planned(fleet(5)))
    stage.answer = lambda order, at: Reply(Accepted(Headroom(0, 100)))
    stage.play(90)

    (told,) = stage.told(GroupThrottled)
    assert told.fault.cause == "quota_spent"
    assert told.until == pytest.approx(START + 100.1)
    assert stage.group.save(stage.now).silent_until == told.until
    assert len({sent.target for sent in stage.sent}) == len(stage.sent) == 5


def test_a_quota_that_a_reload_lowers_below_what_a_reply_named_stretches_as_without_the_reply() -> None:
    stage = Stage(planned(fleet(15)))
    stage.answer = lambda order, at: Reply(Accepted(Headroom(requests=600, period=300)))
    stage.play(60)

    stage.group.apply(planned(fleet(15), quota=Quota(requests=300)), stage.now)
    stage.play(600)

    assert stage.group.interval > 20
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 15


def test_a_longer_period_begins_as_if_the_old_share_had_been_spent_in_it() -> None:
    stage = Stage(planned(fleet(40), quota=Quota(requests=240, period=60)))
    stage.play(600)

    stage.group.apply(planned(fleet(40), quota=Quota(requests=1200, period=300)), stage.now)
    stage.play(600)

    moments = stage.moments()
    assert max(sum(at <= other < at + 300 for other in moments) for at in moments) <= 1080
