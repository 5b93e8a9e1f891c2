"""The rules of the budget: 429s, headers, admission and stretching."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import GroupStretched, GroupThrottled, TargetRefused
from keepalive.core.outcome import Accepted, Headroom, Order
from keepalive.core.plan import Policy, Quota
from tests.core.stage import HUNG, NOT_JSON, START, Answer, Reply, Sent, Stage, fleet, planned, throttled


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


def test_a_group_with_nobody_due_at_the_429_sends_one_probe_first_all_the_same() -> None:
    stage = Stage(planned(fleet(3)))
    stage.play(60)
    stage.answer = spell(60, 80, 2.0, latency=1.0)
    stage.play(20)
    silences = [told.until for told in stage.told(GroupThrottled)]

    for until in silences:
        assert sum(until <= sent.at < until + 0.99 for sent in stage.sent) <= 1


def test_a_probe_in_flight_holds_back_who_becomes_due_meanwhile() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.answer = spell(60, 60.4, 0.2, latency=3.0)
    stage.play(10)
    until = max(told.until for told in stage.told(GroupThrottled))
    stage.play(10)

    probes = [sent for sent in stage.sent if until <= sent.at < until + 0.9]
    assert len(probes) <= 1


def test_a_429_that_names_no_time_is_probed_singly_after_5_and_15_seconds_then_300_from_the_last() -> None:
    stage = Stage(planned(fleet(42)), lambda order, at: Reply(throttled(), 0.0625))

    stage.play(1000)

    assert [round(at) for at in stage.moments()[41:]] == [0, 5, 15, 315, 615, 915]
    assert len(stage.sent) == 42 + 5


def test_429s_to_attempts_sent_before_the_silence_never_escalate_it() -> None:
    latencies = iter([0.1] * 10 + [4.0] * 100)
    stage = Stage(planned(fleet(20)), lambda order, at: Reply(throttled(), next(latencies)))

    stage.play(5.05)

    assert len(list(stage.told(GroupThrottled))) == 1
    assert [at for at in stage.moments() if at > 0] == [pytest.approx(5.1 - 0.0, abs=0.2)] or len(
        stage.sent
    ) == 20


def test_a_429_that_comes_late_does_not_restart_the_ramp() -> None:
    def answer(order: Order, at: float) -> Reply:
        if order.serial == 42:
            return Reply(throttled(0.5), 0.1)
        return Reply(throttled(0.5), 4.0) if order.serial == 41 else Reply(after=0.1)

    stage = Stage(planned(fleet(42)), answer)
    stage.play(2)
    stage.group.apply(planned(fleet(42), Policy(interval=5)), stage.now)
    stage.play(1)
    before = stage.group._ramp.active

    stage.play(1.2)

    assert not before
    probes = [sent.at for sent in stage.sent if sent.at > START + 4.1 + 0.6]
    assert len(probes) <= 42


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
    stage.answer = lambda order, at: Reply(type(NOT_JSON)(NOT_JSON.fault, NOT_JSON.scope, headroom=emptied))
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
    assert (told.interval, told.nominal) == (pytest.approx(22.5), 15)


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
    assert stage.group.interval == 22.5
    stage.answer = lambda order, at: Reply()

    stage.play(180)

    assert stage.group.interval == 15
    told = [event.interval for event in stage.told(GroupStretched)]
    assert told[-1] == 15
    assert len(told) <= 12


@pytest.mark.parametrize("count", [42, 63])
def test_demand_of_a_minute_stays_under_nine_tenths_of_the_share_when_one_in_ten_fails(count: int) -> None:
    stage = Stage(planned(fleet(count)))
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
