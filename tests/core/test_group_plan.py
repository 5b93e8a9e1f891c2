"""What a group does when its plan changes, when it is drained, and when it goes on elsewhere."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import CredentialDenied, EligibilityChanged, GroupStretched, HeartbeatAccepted
from keepalive.core.group import RateGroup
from keepalive.core.outcome import Attempt, Fault, Order
from keepalive.core.plan import Policy, Quota
from keepalive.core.state import GroupState, Refusal
from keepalive.core.target import Scope
from tests.core.stage import (
    ACCEPTED,
    NOT_JSON,
    RESET,
    START,
    Reply,
    Stage,
    always,
    denied,
    fleet,
    hanging,
    healthy,
    planned,
    throttled,
)

api, web = fleet(2)


# --- reload -----------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.floats(0, 60), st.integers(1, 42))
def test_a_reload_keeps_the_deadlines_and_timers_of_those_that_stay(after: float, count: int) -> None:
    stage = Stage(planned(fleet(count)))
    stage.play(after)
    dues = [stage.group.due_at(target) for target in fleet(count)]
    renewed = stage.group.save(stage.now).renewed

    stage.group.apply(planned(fleet(count)), stage.now)

    assert [stage.group.due_at(target) for target in fleet(count)] == dues
    assert stage.group.save(stage.now).renewed == renewed
    assert stage.play(0) == []


def test_a_reload_takes_newcomers_in_at_once() -> None:
    stage = Stage(planned(fleet(1)))
    stage.play(5)

    stage.group.apply(planned(fleet(2)), stage.now)

    assert [sent.target for sent in stage.play(1)] == [web]


def test_whoever_has_left_the_plan_gets_no_heartbeat_any_more() -> None:
    stage = Stage(planned(fleet(2)))
    stage.play(5)

    stage.group.apply(planned(fleet(1)), stage.now)
    sent = stage.play(60)

    assert {sent.target for sent in sent} == {api}
    assert stage.tally.targets == 1


def test_whoever_has_lost_its_room_gets_no_heartbeat_any_more() -> None:
    stage = Stage(planned(fleet(20)))
    stage.play(5)

    stage.group.apply(planned(fleet(20), quota=Quota(requests=300)), stage.now)
    sent = stage.play(60)

    assert stage.tally.counts[Eligibility.REFUSED] == 5
    assert {sent.target for sent in sent} == set(fleet(15))


def test_a_target_that_leaves_while_it_is_due_is_not_sent() -> None:
    stage = Stage(planned(fleet(2)))

    stage.group.apply(planned(fleet(1)), stage.now)

    assert [sent.target for sent in stage.play(1)] == [api]


def test_removal_and_re_entry_in_flight_leave_one_timer() -> None:
    stage = Stage(planned(fleet(2)), lambda order, at: Reply(after=2.0))
    stage.play(1)
    stage.group.apply(planned(fleet(1)), stage.now)
    stage.group.apply(planned(fleet(2)), stage.now)
    stage.play(40)

    moments = stage.moments(web)
    assert moments[:2] == [0.0, 1.0]
    assert all(later - earlier >= 7 for earlier, later in pairwise(moments[1:]))
    assert not any(sent.order.hedge for sent in stage.sent)


def test_the_accept_of_an_attempt_from_before_a_re_entry_renews_nothing() -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(after=2.0))
    stage.play(1)
    stage.group.apply(planned(()), stage.now)
    stage.group.apply(planned(fleet(1)), stage.now)
    stage.play(1.5)

    assert not list(stage.told(HeartbeatAccepted))
    assert stage.group.save(stage.now).renewed == ()


def test_the_outcome_of_a_target_that_is_gone_is_taken_note_of_and_changes_nothing() -> None:
    for outcome in (ACCEPTED, RESET, NOT_JSON, throttled(5.0), denied(Scope.TARGET)):
        stage = Stage(planned(fleet(2)), always(outcome, 1.0))
        stage.play(0.5)
        stage.group.apply(planned(fleet(1)), stage.now)
        stage.play(1)

        assert stage.tally.targets == 1
        assert stage.group.due_at(web) == inf


def test_a_shorter_interval_counts_from_the_last_renewal() -> None:
    stage = Stage(planned(fleet(1), Policy(interval=22)))
    stage.play(30)
    renewed = stage.group.save(stage.now).renewed[0][1]

    stage.group.apply(planned(fleet(1), Policy(interval=10)), stage.now)

    assert stage.group.due_at(api) == renewed + 10


def test_a_reload_does_not_hasten_the_lapsed() -> None:
    stage = Stage(planned(fleet(3)), lambda order, at: Reply(NOT_JSON))
    stage.play(20)
    stage.answer = healthy
    stage.play(20)
    stage.answer = lambda order, at: Reply(NOT_JSON)
    stage.play(60)
    assert stage.tally.counts[Eligibility.LAPSED] == 3
    dues = [stage.group.due_at(target) for target in fleet(3)]

    stage.group.apply(planned(fleet(3)), stage.now)

    assert [stage.group.due_at(target) for target in fleet(3)] == dues


def test_a_finite_interval_wakes_those_that_rested() -> None:
    stage = Stage(planned(fleet(1), Policy(interval=inf)))
    stage.play(5)

    stage.group.apply(planned(fleet(1)), stage.now)

    assert stage.group.due_at(api) == START + 15


def test_a_finite_interval_wakes_those_that_gave_up_before_they_were_ever_renewed() -> None:
    stage = Stage(planned(fleet(1), Policy(interval=inf)), lambda order, at: Reply(NOT_JSON))
    stage.play(60)
    assert stage.group.due_at(api) == inf
    stage.answer = healthy

    stage.group.apply(planned(fleet(1)), stage.now)
    stage.play(1)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 1


def test_another_pace_by_configuration_is_no_stretch() -> None:
    stage = Stage(planned(fleet(63)))
    stage.play(5)
    stage.group.apply(planned(fleet(1)), stage.now)
    stage.play(5)
    before = len(list(stage.told(GroupStretched)))

    stage.group.apply(planned(fleet(1), Policy(interval=20)), stage.now)
    stage.play(5)

    assert len(list(stage.told(GroupStretched))) == before


def test_a_longer_window_makes_the_lapsed_eligible_again() -> None:
    stage = Stage(planned(fleet(1)))
    stage.play(1)
    stage.answer = lambda order, at: Reply(NOT_JSON)
    stage.play(50)
    assert stage.tally.counts[Eligibility.LAPSED] == 1

    stage.group.apply(planned(fleet(1), Policy(window=120, interval=15)), stage.now)
    stage.play(0)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 1


# --- hasten -----------------------------------------------------------------------------------------


def test_after_a_suspend_everybody_is_due_at_once() -> None:
    stage = Stage(planned(fleet(20)))
    stage.play(60)

    stage.group.hasten(stage.now)

    assert {sent.target for sent in stage.play(0.5)} == set(fleet(20))


def test_after_a_suspend_phases_spread_again_within_two_intervals() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.group.hasten(stage.now)
    stage.play(30)

    moments = sorted(sent.at for sent in stage.play(15))

    assert max(sum(begin <= at < begin + 1 for at in moments) for begin in moments) <= 9


def test_a_target_in_flight_is_not_hastened_into_a_second_attempt() -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(after=2.0))
    stage.play(1)

    stage.group.hasten(stage.now)
    stage.play(0.5)

    assert stage.moments() == [0.0]


# --- drain ------------------------------------------------------------------------------------------


def test_a_drain_sends_a_last_heartbeat_to_those_past_half_their_interval_and_plans_nothing() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    flying = {attempt.order.target for _, _, attempt in stage.flights}
    half = stage.now - 7.5
    old = {target for target, renewed_at in stage.group.save(stage.now).renewed if renewed_at <= half}
    assert len(flying) < len(old) < 42

    stage.group.drain(stage.now)
    sent = stage.play(120)

    assert {sent.target for sent in sent} == old - flying
    assert len(sent) == len(old - flying)


def test_a_drain_retries_and_hedges_nothing() -> None:
    stage = Stage(planned(fleet(10)))
    stage.play(60)
    stage.answer = hanging
    stage.group.drain(stage.now)

    sent = stage.play(60)

    assert len({sent.target for sent in sent}) == len(sent)


def test_a_drain_sends_no_hedge_that_is_due_at_that_moment() -> None:
    stage = Stage(planned(fleet(1)), hanging)
    stage.play(2.9)
    stage.now = START + 3

    stage.group.drain(stage.now)

    assert stage.play(1) == []


def test_a_drain_obeys_the_silence_of_a_429() -> None:
    stage = Stage(planned(fleet(5)), lambda order, at: Reply(throttled(60)))
    stage.play(1)
    before = len(stage.sent)

    stage.group.drain(stage.now)

    assert len(stage.play(59)) == 0
    assert len(stage.sent) == before


def test_a_drained_group_takes_no_newcomers() -> None:
    stage = Stage(planned(fleet(1)))
    stage.play(1)
    stage.group.drain(stage.now)
    stage.play(1)

    stage.group.apply(planned(fleet(2)), stage.now)

    assert stage.play(60) == []


def test_a_drained_group_leaves_what_is_denied_alone() -> None:
    stage = Stage(planned(fleet(3)), lambda order, at: Reply(denied(Scope.CREDENTIAL)))
    stage.play(120)

    stage.group.drain(stage.now)

    assert stage.play(3) == []


# --- save and restore ---------------------------------------------------------------------------------


def reborn(stage: Stage, downtime: float = 0.0) -> Stage:
    """Another process goes on with what the first saved."""
    state = stage.group.save(stage.now)
    second = Stage(stage.group.plan)
    second.group = RateGroup(stage.group.name)
    second.now = stage.now + downtime
    second.group.apply(stage.group.plan, second.now)
    second.group.restore(state, second.now)
    return second


def test_a_restart_keeps_leases_and_sends_one_beat_early_and_the_others_when_they_are_due() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)

    second = reborn(stage)
    renewed = dict(stage.group.save(stage.now).renewed)
    second.play(30)

    assert second.tally.counts[Eligibility.ELIGIBLE] == 42
    nearest = min(renewed, key=lambda target: renewed[target])
    assert (second.sent[0].at, second.sent[0].target) == (stage.now, nearest)
    for target in set(fleet(42)) - {nearest}:
        first = next(sent.at for sent in second.sent if sent.target == target)
        assert first == pytest.approx(renewed[target] + 15)


def test_a_restart_keeps_the_ledger_and_the_silence() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(100)
    stage.answer = lambda order, at: Reply(throttled(120))
    stage.play(5)

    second = reborn(stage)

    assert second.group.budget.ledger.count(second.now) == stage.group.budget.ledger.count(second.now)
    assert second.group.budget.silent_until == stage.group.budget.silent_until
    assert second.play(100) == []


def test_a_restart_does_not_shorten_the_silences_that_429s_without_a_time_have_earned() -> None:
    stage = Stage(planned(fleet(42)))
    stage.answer = always(throttled())
    stage.play(60)

    second = reborn(stage)
    second.answer = always(throttled())
    second.play(400)

    assert stage.group.save(stage.now).throttles == 3
    assert len(second.sent) == 1


@pytest.mark.parametrize(("absence", "silence"), [(20.0, 10.0), (400.0, 5.0)])
def test_a_silence_that_ended_while_nobody_was_there_lengthens_the_next_for_a_period(
    absence: float, silence: float
) -> None:
    stage = Stage(planned(fleet(42)))
    stage.answer = always(throttled())
    stage.play(2)

    second = reborn(stage, absence)
    second.answer = always(throttled())
    second.play(1)

    assert second.group.budget.silent_until == pytest.approx(second.sent[0].at + 0.1 + silence)


def test_a_silence_outlives_the_process_though_an_answer_came_between() -> None:
    """A 429 that had left before the answer lengthens no silence but its own, which has to be obeyed."""
    stage = Stage(planned(fleet(42)))
    late = iter([Reply(throttled(60), after=3.0)])
    stage.answer = lambda order, at: next(late, Reply(throttled(0.5)) if at < START + 0.01 else Reply())
    stage.play(5)
    assert stage.group.save(stage.now).throttles == 0

    second = reborn(stage)

    assert second.play(50) == []


def test_a_restart_knows_who_is_denied_and_probes_once_at_once() -> None:
    stage = Stage(planned(fleet(42)))
    stage.answer = always(denied(Scope.CREDENTIAL))
    stage.play(200)

    second = reborn(stage)
    second.answer = always(denied(Scope.CREDENTIAL))
    second.play(30)

    assert second.tally.counts[Eligibility.DENIED] == 42
    assert [sent.at for sent in second.sent] == [stage.now]
    assert [told.credential for told in second.told(CredentialDenied)] == ["prod"]


def test_a_restart_after_the_cause_of_a_refusal_is_gone_renews_everybody() -> None:
    stage = Stage(planned(fleet(42)))
    stage.answer = always(denied(Scope.CREDENTIAL))
    stage.play(200)

    second = reborn(stage, downtime=30)
    second.play(15)

    assert second.tally.counts[Eligibility.ELIGIBLE] == 42


def test_a_refusal_of_somebody_who_is_not_planned_any_more_is_not_restored() -> None:
    stage = Stage(planned(fleet(2)))
    refusal = Refusal(("gone",), Fault("authentication"), opened_at=stage.now - 100)

    stage.group.restore(GroupState(refusals=(refusal,)), stage.now)

    assert stage.group.save(stage.now).refusals == ()


def test_what_changed_is_given_once() -> None:
    stage = Stage(planned((api, web)))
    stage.play(1)
    assert dict(stage.group.changes().renewed) == {api: START, web: START}
    assert stage.group.changes().renewed == ()

    stage.play(20)

    assert dict(stage.group.changes().renewed) == dict(stage.group.save(stage.now).renewed)


def test_a_lease_from_the_future_is_not_believed() -> None:
    stage = Stage(planned(fleet(1)))

    stage.group.restore(GroupState(renewed=((api, stage.now + 5),)), stage.now)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 0


def test_after_a_restored_silence_one_probe_goes_first() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(100)
    stage.answer = lambda order, at: Reply(throttled(20))
    stage.play(5)

    second = reborn(stage)
    second.answer = lambda order, at: Reply(after=0.5)
    second.play(20)

    until = second.group.budget.silent_until
    assert sum(sent.at < until + 0.5 for sent in second.sent) == 1


def test_a_lease_that_ended_while_nobody_ran_is_lapsed_and_beaten_at_once() -> None:
    stage = Stage(planned(fleet(2)))
    stage.play(60)

    second = reborn(stage, downtime=100)
    second.play(0)

    assert second.tally.counts[Eligibility.LAPSED] == 2
    assert len(second.sent) == 2
    assert all(told.cause != "renewed" for told in second.told(EligibilityChanged))


def test_after_a_restart_phases_spread_again() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)

    second = reborn(stage, downtime=20)
    second.play(30)

    moments = sorted(sent.at for sent in second.play(15))
    assert max(sum(begin <= at < begin + 1 for at in moments) for begin in moments) <= 9


def test_saved_leases_of_targets_that_are_not_held_are_ignored() -> None:
    stage = Stage(planned(fleet(1)))

    stage.group.restore(GroupState(renewed=((web, START - 5),)), stage.now)

    assert stage.group.save(stage.now) == GroupState()


def test_an_older_lease_never_replaces_a_newer_one() -> None:
    stage = Stage(planned(fleet(1)))
    stage.play(1)

    stage.group.restore(GroupState(renewed=((api, START - 5),)), stage.now)

    assert stage.group.save(stage.now).renewed == ((api, START),)


def test_saving_changes_nothing_and_restoring_gives_the_same_again() -> None:
    stage = Stage(planned(fleet(20)))
    stage.play(77.7)
    state = stage.group.save(stage.now)

    assert stage.group.save(stage.now) == state
    assert reborn(stage).group.save(stage.now) == state


def test_every_order_is_settled_once_and_announced_in_order() -> None:
    stage = Stage(planned(fleet(3)))
    order = stage.group.take(stage.now)
    assert isinstance(order, Order)

    told = stage.group.settle(Attempt(order, stage.now, stage.now + 1, ACCEPTED), stage.now + 1, 0.5)

    assert told == sorted(told, key=lambda event: event.at)
    assert stage.group.announce(stage.now + 1) == []


def test_what_a_plan_has_changed_is_told_without_waiting() -> None:
    stage = Stage(planned(fleet(1)))
    stage.play(1)

    stage.group.apply(planned(fleet(1), Policy(window=60)), stage.now)
    stage.group.apply(planned(()), stage.now)

    assert stage.group.next_wake(stage.now) == stage.now
