"""The rules of a healthy beat, its hedges and its retries."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import AttemptFailed, EligibilityChanged, HeartbeatAccepted
from keepalive.core.group import FLIGHTS_PER_TARGET
from keepalive.core.outcome import Order, Outcome
from keepalive.core.plan import Policy
from keepalive.core.target import Target
from tests.core.stage import (
    ACCEPTED,
    HUNG,
    NOT_JSON,
    RESET,
    START,
    UNAVAILABLE,
    Reply,
    Stage,
    fleet,
    hanging,
    planned,
)

api = fleet(1)[0]


def only_the_first_hangs(order: Order, at: float) -> Reply:
    return Reply(HUNG, order.timeout) if order.serial == 1 else Reply()


def well_known(stage: Stage) -> Stage:
    """Let the group learn that answers take 0.1 s."""
    stage.play(300)
    return stage


# --- the schedule ---------------------------------------------------------------------------------


def test_at_the_start_everyone_is_due_at_once_and_soon_eligible() -> None:
    stage = Stage(planned(fleet(42)))

    stage.play(1)

    assert stage.moments()[:42] == [0.0] * 42
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 42


def test_after_the_start_phases_are_spread_within_two_intervals() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(30)

    moments = sorted(sent.at for sent in stage.play(15))

    assert len(moments) == pytest.approx(43, abs=3)
    assert max(sum(begin <= at < begin + 1 for at in moments) for begin in moments) <= 8


@settings(max_examples=20)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 42))
def test_a_healthy_target_is_beaten_once_per_interval_early_by_jitter_only(u: float, count: int) -> None:
    stage = Stage(planned(fleet(count)), u=u)
    stage.play(90)

    for target in fleet(count):
        gaps = [later - earlier for earlier, later in pairwise(stage.moments(target)[1:])]
        assert all(13.5 - 1e-6 <= gap <= 15 + 1e-6 for gap in gaps)
        assert len(gaps) >= 4
    assert not any(sent.order.hedge or sent.order.number > 1 for sent in stage.sent)


def test_a_lease_runs_from_the_moment_its_attempt_was_sent() -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(after=2.0))

    stage.play(3)

    told = next(stage.told(HeartbeatAccepted))
    assert told.eligible_until == START + 45
    assert told.at == START + 2
    assert (told.latency, told.lateness, told.attempt, told.hedge) == (2.0, 0.0, 1, False)


def test_one_heartbeat_each_and_then_rest_when_the_interval_is_infinite() -> None:
    stage = Stage(planned(fleet(100), Policy(interval=inf)))

    stage.play(100)

    assert len(stage.sent) == 100
    assert stage.group.next_wake(stage.now) == inf
    assert stage.tally.counts[Eligibility.LAPSED] == 100


def test_one_heartbeat_each_is_still_retried_until_it_is_accepted() -> None:
    stage = Stage(
        planned(fleet(3), Policy(interval=inf)),
        lambda order, at: Reply(RESET) if order.number < 4 else Reply(),
    )

    stage.play(20)

    assert len(stage.sent) == 12
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 3


# --- hedges ---------------------------------------------------------------------------------------


def test_while_little_is_known_an_attempt_is_hedged_after_three_seconds() -> None:
    stage = Stage(planned(fleet(1)), only_the_first_hangs)

    stage.play(4)

    assert stage.moments() == [0.0, 3.0]
    assert [sent.order.hedge for sent in stage.sent] == [False, True]
    assert [sent.order.number for sent in stage.sent] == [1, 2]


def test_once_answers_are_known_to_be_quick_an_attempt_is_hedged_after_one_second() -> None:
    stage = well_known(Stage(planned(fleet(2))))
    stage.answer = hanging

    sent = [sent.at for sent in stage.play(20) if sent.target == api]

    assert sent[1] - sent[0] == pytest.approx(1.0)


def test_a_slow_server_is_not_hedged_for_being_slow() -> None:
    stage = Stage(planned(fleet(5)), lambda order, at: Reply(after=2.5))

    stage.play(300)

    assert not any(sent.order.hedge for sent in stage.sent)


def test_hedges_come_sooner_when_little_of_the_lease_is_left() -> None:
    stage = Stage(planned(fleet(5), Policy(interval=20)), lambda order, at: Reply(after=3.5))
    stage.play(300)
    stage.answer = lambda order, at: hanging(order, at) if order.target == api else Reply(after=3.5)
    hedges = [sent for sent in stage.play(45) if sent.target == api and sent.order.hedge]

    renewed = max(told.at - told.latency for told in stage.told(HeartbeatAccepted) if told.target == api)
    moments = [sent.at for sent in stage.sent if sent.target == api]
    for hedge in hedges:
        before = moments[moments.index(hedge.at) - 1]
        left = renewed + 45 - before
        if sum(hedge.at - 5 < at < hedge.at for at in moments) == FLIGHTS_PER_TARGET - 1:
            continue  # it had to wait until one of four had timed out
        assert hedge.at - before <= max(1.0, left / 6) + 1e-6
    assert len(hedges) >= 2


@settings(max_examples=20)
@given(st.floats(1, 90), st.integers(1, 6), st.integers(0, 40))
def test_at_most_four_attempts_of_a_target_are_in_flight(window: float, count: int, known: int) -> None:
    stage = Stage(planned(fleet(count), Policy(window=window, interval=window / 3)))
    stage.play(known)
    stage.answer = hanging
    stage.play(3 * window)

    for target in fleet(count):
        moments = [(sent.at, sent.order.timeout) for sent in stage.sent if sent.target == target]
        for at, _ in moments:
            assert sum(sent <= at < sent + timeout - 1e-9 for sent, timeout in moments) <= FLIGHTS_PER_TARGET


def test_a_target_with_four_in_flight_is_tried_again_as_soon_as_one_of_them_has_timed_out() -> None:
    stage = well_known(Stage(planned(fleet(2))))
    stage.answer = hanging

    moments = [sent.at for sent in stage.play(25) if sent.target == api]

    assert [at - moments[0] for at in moments[:6]] == pytest.approx([0, 1, 2, 3, 5, 6])


def test_no_hedge_leaves_above_98_percent_of_the_share() -> None:
    stage = Stage(planned(fleet(1)), hanging)
    stage.group.budget.ledger.charge(START, calls=1058)

    stage.play(4.9)

    assert stage.moments() == [0.0]


def test_a_target_whose_hedge_was_not_allowed_is_retried_after_its_timeout() -> None:
    stage = Stage(planned(fleet(1)), only_the_first_hangs)
    stage.group.budget.ledger.charge(START, calls=1058)

    stage.play(10)

    assert stage.moments() == [0.0, 5.0]


def test_a_target_is_not_lost_when_its_beat_falls_due_beside_an_outrun_attempt_above_the_hedge_share() -> (
    None
):
    stage = Stage(planned(fleet(5)), only_the_first_hangs)
    stage.play(3.2)
    assert stage.moments(api) == [0.0, 3.0]
    stage.group.budget.ledger.charge(stage.now, calls=1058 - len(stage.sent))

    stage.play(40)

    assert len(stage.moments(api)) >= 4
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 5


def test_the_fault_of_an_attempt_that_was_outrun_changes_nothing() -> None:
    stage = Stage(planned(fleet(1)), only_the_first_hangs)
    stage.play(3.5)
    due = stage.group.due_at(api)

    stage.play(2)

    assert stage.group.due_at(api) == due
    assert len(stage.sent) == 2
    assert len(list(stage.told(AttemptFailed))) == 1


def test_an_accept_that_comes_after_that_of_a_later_attempt_renews_nothing() -> None:
    stage = Stage(
        planned(fleet(1)), lambda order, at: Reply(after=4.0) if order.serial == 1 else Reply(after=0.1)
    )

    stage.play(10)

    assert [told.attempt for told in stage.told(HeartbeatAccepted)] == [2]
    assert stage.group.save(stage.now).renewed == ((api, START + 3),)


# --- retries --------------------------------------------------------------------------------------


def test_after_a_timeout_the_target_is_tried_again_at_once() -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(HUNG, 2.0) if order.number == 1 else Reply())

    stage.play(5)

    assert stage.moments() == [0.0, 2.0]
    assert not stage.sent[1].order.hedge


@settings(max_examples=20)
@given(st.floats(0, 1, exclude_max=True), st.sampled_from([RESET, UNAVAILABLE, NOT_JSON]))
def test_after_another_passing_fault_the_first_retry_leaves_within_half_a_second(
    u: float, fault: Outcome
) -> None:
    stage = Stage(
        planned(fleet(1)), lambda order, at: Reply(fault, 0.0625) if order.number == 1 else Reply(), u=u
    )

    stage.play(2)

    assert stage.moments() == pytest.approx([0.0, 0.0625 + u / 2])


def test_it_never_gives_up_before_the_deadline() -> None:
    stage = Stage(planned(fleet(6)), u=0.9)
    stage.play(60)
    stage.answer = lambda order, at: Reply(NOT_JSON)
    moments = [sent.at for sent in stage.play(45) if sent.target == api]

    renewed = max(told.at - told.latency for told in stage.told(HeartbeatAccepted) if told.target == api)
    saveable = [at for at in moments if at < renewed + 45]
    assert all(later - earlier <= 2.2 for earlier, later in pairwise(saveable))
    assert renewed + 45 - saveable[-1] <= 1


def test_the_number_of_an_attempt_counts_up_until_one_is_accepted() -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(RESET) if order.number < 4 else Reply())

    stage.play(25)

    assert [sent.order.number for sent in stage.sent][:8] == [1, 2, 3, 4, 1, 2, 3, 4]


def test_a_lapsed_target_gets_one_attempt_per_interval_and_no_hedge() -> None:
    stage = Stage(planned(fleet(12)), hanging)
    stage.play(51)

    late = stage.play(120)

    assert late
    assert not any(sent.order.hedge for sent in late)
    for target in fleet(12):
        moments = [sent.at for sent in late if sent.target == target]
        assert all(later - earlier >= 13.5 for earlier, later in pairwise(moments))


def test_a_target_that_lapses_while_an_attempt_is_in_flight_is_not_hedged() -> None:
    stage = Stage(planned(fleet(1)), u=0.9)
    stage.play(1)
    stage.answer = lambda order, at: Reply(NOT_JSON) if at < START + 44 else Reply(HUNG, order.timeout)
    stage.play(60)

    (renewed,) = [told.at - told.latency for told in stage.told(HeartbeatAccepted)]
    hung = [sent.at for sent in stage.sent if sent.at >= START + 44]
    assert hung[0] < renewed + 45
    assert hung[1] >= hung[0] + 5


def test_an_attempt_that_waits_for_the_budget_keeps_its_place_when_another_fails() -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(RESET, 4.0))
    stage.group.budget.ledger.charge(START, calls=1057)
    stage.play(2)
    stage.group.budget.ledger.charge(stage.now, calls=22)

    stage.play(3)

    assert stage.moments() == [0.0]
    assert stage.group.due_at(api) == START + 3


def test_lapsed_targets_are_tried_for_ever_and_come_back() -> None:
    stage = Stage(planned(fleet(3)))
    stage.play(30)
    stage.answer = lambda order, at: Reply(UNAVAILABLE)
    stage.play(600)
    assert stage.tally.counts[Eligibility.LAPSED] == 3
    stage.answer = lambda order, at: Reply(ACCEPTED)

    stage.play(20)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 3


def test_those_that_can_be_saved_are_tried_before_the_new_and_the_lapsed() -> None:
    old, new = fleet(2), fleet(3)[2]
    stage = Stage(planned(old[:1]))
    stage.play(60)
    stage.answer = lambda order, at: Reply(NOT_JSON)
    stage.play(60)  # the first has lapsed
    stage.answer = lambda order, at: Reply()
    stage.group.apply(planned((*old[:1], old[1])), stage.now)
    stage.play(5)
    assert stage.tally.counts[Eligibility.ELIGIBLE] >= 1
    stage.group.apply(planned((*old, new)), stage.now)
    stage.group.hasten(stage.now)

    order = [sent.target for sent in stage.play(0)]

    assert order.index(old[1]) < order.index(new)


@given(st.floats(0, 100))
def test_whether_a_beat_is_worth_retrying_ends_with_its_accept_or_its_deadline(after: float) -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(NOT_JSON))
    assert not stage.group.failing(api, stage.now)

    stage.play(after)

    assert stage.group.failing(api, stage.now) == (after < 45)
    assert not stage.group.failing(fleet(2)[1], stage.now)


def test_a_target_that_is_not_held_is_never_due() -> None:
    stage = Stage(planned(fleet(1)))

    assert stage.group.due_at(api) == START
    assert stage.group.due_at(Target("prod", "f" * 32)) == inf


def test_a_lapse_names_the_fault_that_led_to_it_and_is_dated_when_it_fell_due() -> None:
    stage = Stage(planned(fleet(1)))
    stage.play(1)
    stage.answer = lambda order, at: Reply(UNAVAILABLE)
    stage.play(60)

    last = list(stage.told(EligibilityChanged))[-1]
    assert last.to_state is Eligibility.LAPSED
    assert last.cause == "http_503"
    renewed = max(told.at - told.latency for told in stage.told(HeartbeatAccepted))
    assert last.at == renewed + 45
