"""The rules of the breakers: a dead origin, refusals, and how both heal."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import (
    BreakerClosed,
    BreakerOpened,
    CredentialDenied,
    EligibilityChanged,
    HeartbeatAccepted,
)
from keepalive.core.outcome import Order, Outcome
from keepalive.core.plan import Policy
from keepalive.core.target import Key, Scope, Target
from tests.core.stage import (
    ACCOUNT,
    HUNG,
    RESET,
    START,
    UNAVAILABLE,
    Answer,
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

api = fleet(1)[0]
OTHER = "f" * 32


def refusing(outcome: Outcome, *keys: Key) -> Answer:
    """Refuse all that shares one of the keys, and accept the rest."""

    def answer(order: Order, at: float) -> Reply:
        return Reply(outcome if any(order.target[: len(key)] == key for key in keys) else Reply().outcome)

    return answer


def open_origin(stage: Stage) -> BreakerOpened | None:
    return next((told for told in stage.told(BreakerOpened) if told.scope is Scope.ORIGIN), None)


# --- the origin -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [UNAVAILABLE, RESET, HUNG])
@pytest.mark.parametrize("count", [1, 3, 42])
def test_a_dead_origin_is_noticed_and_probed_once_a_second(outcome: Outcome, count: int) -> None:
    stage = Stage(planned(fleet(count)))
    stage.play(120)
    stage.answer = lambda order, at: Reply(outcome, order.timeout if outcome is HUNG else 0.1)
    stage.play(55)

    opened = open_origin(stage)
    assert opened
    last_answer = max(told.at for told in stage.told(HeartbeatAccepted))
    assert opened.at >= last_answer + 5
    assert opened.key == ()
    probes = [sent.at for sent in stage.sent if sent.at > opened.at]
    assert len(probes) >= 3
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in pairwise(probes))


def test_an_outage_shorter_than_five_seconds_opens_nothing() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.answer = always(UNAVAILABLE)
    stage.play(4.5)
    stage.answer = healthy
    stage.play(20)

    assert not open_origin(stage)


def test_probes_are_sent_even_while_others_hang_and_the_fewest_failures_go_first() -> None:
    stage = Stage(planned(fleet(12)))
    stage.play(120)
    bad = set(fleet(12)[:2])
    stage.answer = lambda order, at: Reply(UNAVAILABLE) if order.target in bad else Reply()
    stage.play(60)
    stage.answer = hanging
    stage.play(25)
    opened = open_origin(stage)
    assert opened

    probes = [sent.target for sent in stage.sent if sent.at > opened.at]

    assert len(probes) >= 5
    assert not bad & set(probes[:5])


def test_two_targets_that_always_fail_open_no_origin_and_lapse_nobody_else() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.answer = refusing(UNAVAILABLE, *fleet(2))
    stage.play(300)

    assert not open_origin(stage)
    assert stage.tally.counts[Eligibility.LAPSED] == 2
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 40


@pytest.mark.parametrize("outcome", [denied(Scope.TARGET), throttled(0.5), Reply().outcome])
def test_any_answer_below_500_closes_the_origin(outcome: Outcome) -> None:
    stage = Stage(planned(fleet(10)))
    stage.play(60)
    stage.answer = always(RESET)
    stage.play(20)
    stage.answer = always(outcome)

    stage.play(2)

    closed = [told for told in stage.told(BreakerClosed) if told.scope is Scope.ORIGIN]
    assert closed
    opened = open_origin(stage)
    assert opened
    assert closed[0].open_for == pytest.approx(closed[0].at - opened.at)


def test_after_the_origin_has_come_back_each_group_starts_with_four_in_flight_and_ten_a_second() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.answer = always(RESET)
    stage.play(20)
    stage.answer = lambda order, at: Reply(after=0.8)
    stage.play(20)

    back = next(told.at for told in stage.told(BreakerClosed))
    sent = [sent.at for sent in stage.sent if sent.at >= back]
    assert all(later - earlier >= 0.1 - 1e-6 for earlier, later in pairwise(sent[:30]))
    assert sum(at < back + 0.8 - 1e-6 for at in sent) <= 4
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 42


@pytest.mark.parametrize("outage", [always(RESET), always(UNAVAILABLE), hanging])
def test_an_outage_of_22_seconds_lapses_nobody(outage: Answer) -> None:
    for phase in range(0, 15, 3):
        stage = Stage(planned(fleet(42)))
        stage.play(60 + phase)
        stage.answer = outage
        stage.play(22)
        stage.answer = healthy
        stage.play(40)

        assert not [told for told in stage.told(EligibilityChanged) if told.to_state is Eligibility.LAPSED]


def test_after_an_outage_backoffs_are_forgotten_and_phases_spread_again() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(60)
    stage.answer = always(RESET)
    stage.play(20)
    stage.answer = healthy
    stage.play(45)

    moments = sorted(sent.at for sent in stage.play(15))
    assert max(sum(begin <= at < begin + 1 for at in moments) for begin in moments) <= 9


# --- refusals -----------------------------------------------------------------------------------------


def test_a_credential_is_denied_after_three_refusals_in_a_row_and_all_under_it_are() -> None:
    stage = Stage(planned(fleet(5) + fleet(3, "other")), refusing(denied(Scope.CREDENTIAL), ("prod",)))

    stage.play(10)

    told = list(stage.told(CredentialDenied))
    assert [event.credential for event in told] == ["prod"]
    assert told[0].next_probe_at > told[0].at
    assert stage.tally.counts[Eligibility.DENIED] == 5
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 3
    crowd = [sent.at for sent in stage.sent if sent.target.credential == "prod" and sent.at > START]
    assert len([at for at in crowd if at <= told[0].at]) == 2


def test_a_single_refusal_is_not_believed() -> None:
    stage = Stage(
        planned(fleet(1)), lambda order, at: Reply(denied(Scope.CREDENTIAL)) if order.serial == 1 else Reply()
    )

    stage.play(5)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 1
    assert stage.moments() == pytest.approx([0, 1.1])
    assert not list(stage.told(CredentialDenied))


@settings(max_examples=30)
@given(st.sampled_from([Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET]))
def test_a_refusal_reaches_exactly_as_far_as_its_scope(scope: Scope) -> None:
    crowd = fleet(2) + fleet(2, account_id=OTHER) + fleet(2, "other")
    stage = Stage(planned(crowd), refusing(denied(scope), api[:scope]))

    stage.play(20)

    under = {target for target in crowd if target[:scope] == api[:scope]}
    last = {told.target: told.to_state for told in stage.told(EligibilityChanged)}
    assert {target for target, state in last.items() if state is Eligibility.DENIED} == under
    assert {told.key for told in stage.told(BreakerOpened)} == {api[:scope]}
    assert bool(list(stage.told(CredentialDenied))) == (scope is Scope.CREDENTIAL)


def test_what_is_denied_is_probed_for_ever_and_costs_next_to_nothing() -> None:
    stage = Stage(planned(fleet(42)), always(denied(Scope.CREDENTIAL)))
    stage.play(3600)

    probes = [at for at in stage.moments() if at > 0]

    assert len(probes) < 20
    gaps = [later - earlier for earlier, later in pairwise(probes)]
    assert max(gaps) <= 901
    assert stage.group.next_wake(stage.now) < inf


@pytest.mark.parametrize("scope", [Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET])
def test_an_accept_heals_everyone_under_the_breaker_at_once(scope: Scope) -> None:
    count = 1 if scope is Scope.TARGET else 20
    stage = Stage(planned(fleet(count)), always(denied(scope)))
    stage.play(300)
    assert stage.tally.counts[Eligibility.DENIED] == count
    stage.answer = healthy
    while not list(stage.told(BreakerClosed)):
        stage.play(10)

    stage.play(5)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == count


def test_a_target_that_joins_while_its_credential_is_denied_comes_back_with_the_others() -> None:
    stage = Stage(planned(fleet(2)), always(denied(Scope.CREDENTIAL)))
    stage.play(300)
    stage.group.apply(planned(fleet(3)), stage.now)
    stage.play(1)
    assert stage.tally.counts[Eligibility.DENIED] == 3
    stage.answer = healthy
    while not list(stage.told(BreakerClosed)):
        stage.play(10)

    stage.play(5)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 3


def test_a_narrow_refusal_proves_that_the_wider_ones_are_over() -> None:
    stage = Stage(planned(fleet(3)), always(denied(Scope.CREDENTIAL)))
    stage.play(30)
    stage.answer = refusing(denied(Scope.TARGET), api)
    stage.play(200)

    assert stage.tally.counts[Eligibility.ELIGIBLE] == 2
    assert stage.tally.counts[Eligibility.DENIED] == 1


def test_narrow_refusals_alone_show_that_the_credential_is_accepted_again() -> None:
    stage = Stage(planned(fleet(3)), always(denied(Scope.CREDENTIAL)))
    stage.play(30)
    stage.answer = always(denied(Scope.TARGET))
    stage.play(200)

    assert ("prod",) in {told.key for told in stage.told(BreakerClosed)}
    assert {sent.target for sent in stage.sent if sent.at > START + 30} == set(fleet(3))


def test_everyone_that_is_denied_with_its_credential_is_told_why() -> None:
    stage = Stage(planned(fleet(5)), always(denied(Scope.CREDENTIAL)))
    stage.play(30)

    told = [event for event in stage.told(EligibilityChanged) if event.to_state is Eligibility.DENIED]
    assert len(told) == 5
    assert {event.fault.cause if event.fault else "" for event in told} == {"authentication"}


def test_the_lapsed_do_not_wait_out_their_interval_when_the_origin_comes_back() -> None:
    stage = Stage(planned(fleet(12)))
    stage.play(60)
    stage.answer = always(RESET)
    stage.play(90)
    assert stage.tally.counts[Eligibility.LAPSED] == 12
    stage.answer = healthy

    back = stage.play(20)[0].at
    renewed = [told.at for told in stage.told(HeartbeatAccepted) if told.at > back]

    assert len({told.target for told in stage.told(HeartbeatAccepted) if told.at > back}) == 12
    assert renewed[11] < back + 3


def test_after_an_outage_a_further_fault_is_retried_as_soon_as_a_first_one() -> None:
    stage = Stage(planned(fleet(6)), u=0.9)
    stage.play(60)
    stage.answer = always(RESET)
    stage.play(20)
    stage.answer = lambda order, at: Reply(UNAVAILABLE) if order.target == api else Reply()
    stage.play(10)

    back = next(told.at for told in stage.told(BreakerClosed))
    retries = [sent.at for sent in stage.sent if sent.target == api and sent.at >= back]
    assert retries[1] - retries[0] <= 0.1 + 0.45 + 1e-6


def test_narrow_faults_never_open_a_wider_breaker() -> None:
    stage = Stage(planned(fleet(42)), always(denied(Scope.TARGET)))
    stage.play(120)

    assert {told.scope for told in stage.told(BreakerOpened)} == {Scope.TARGET}
    assert not list(stage.told(CredentialDenied))


def test_a_changed_secret_is_tried_at_once() -> None:
    stage = Stage(planned(fleet(5) + fleet(2, "other")), always(denied(Scope.CREDENTIAL)))
    stage.play(300)
    stage.answer = healthy

    stage.group.forgive(("prod",), stage.now)
    sent = stage.play(1)

    assert {sent.target for sent in sent} == set(fleet(5))
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 5
    assert stage.tally.counts[Eligibility.DENIED] == 2


def test_a_refusal_that_comes_after_the_accept_of_a_later_attempt_says_nothing() -> None:
    stage = Stage(
        planned(fleet(1)),
        lambda order, at: Reply(denied(Scope.CREDENTIAL), 4.0) if order.serial == 1 else Reply(),
    )

    stage.play(10)

    assert stage.moments() == [0.0, 3.0]
    assert not list(stage.told(BreakerOpened))


def test_a_refusal_of_a_target_that_has_left_the_plan_opens_no_breaker() -> None:
    stage = Stage(planned(fleet(2)), lambda order, at: Reply(denied(Scope.TARGET), 1.0))
    stage.play(0.5)

    stage.group.apply(planned(fleet(1)), stage.now)
    stage.play(1)

    assert {told.key for told in stage.told(BreakerOpened)} == {api}


def test_a_breaker_goes_with_the_last_target_under_it_so_that_a_later_one_starts_afresh() -> None:
    stage = Stage(planned(fleet(2)), refusing(denied(Scope.TARGET), api))
    stage.play(600)
    stage.group.apply(planned(fleet(2)[1:]), stage.now)
    stage.play(1)
    stage.answer = healthy

    stage.group.apply(planned(fleet(2)), stage.now)
    sent = stage.play(1)

    assert [sent.target for sent in sent if sent.target == api] == [api]
    assert len(list(stage.told(BreakerClosed))) == 1


def test_denied_targets_rest_while_the_others_of_their_account_beat_on() -> None:
    stage = Stage(planned(fleet(10)), refusing(denied(Scope.TARGET), api))
    stage.play(600)

    assert len(stage.moments(api)) < 20
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 9


def test_a_refusal_during_an_outage_of_others_shows_that_the_origin_lives() -> None:
    stage = Stage(planned(fleet(8) + fleet(4, "other")))
    stage.play(60)
    stage.answer = lambda order, at: Reply(
        UNAVAILABLE if order.target.credential == "prod" else denied(Scope.CREDENTIAL)
    )
    stage.play(4)

    assert not open_origin(stage)


def test_a_group_without_targets_opens_no_breaker() -> None:
    stage = Stage(planned(fleet(10)))
    stage.play(60)
    stage.answer = always(RESET)
    stage.play(4)

    stage.group.apply(planned(()), stage.now)
    stage.play(60)

    assert not list(stage.told(BreakerOpened))


def test_an_api_of_which_every_third_attempt_hangs_is_no_dead_origin_and_lapses_nobody() -> None:
    stage = Stage(planned(fleet(42)), lambda order, at: Reply() if order.serial % 3 else hanging(order, at))
    stage.play(600)

    assert not open_origin(stage)
    assert not [told for told in stage.told(EligibilityChanged) if told.to_state is Eligibility.LAPSED]


def test_a_short_window_keeps_its_targets_too() -> None:
    stage = Stage(planned(fleet(3), Policy(window=3, interval=1)))
    stage.play(60)
    stage.answer = lambda order, at: hanging(order, at) if order.serial % 3 == 0 else Reply()
    stage.play(60)

    assert stage.tally.ratio(stage.now) > 0.99


def test_an_account_wide_target_is_denied_by_its_own_key() -> None:
    whole = Target("prod", ACCOUNT)
    stage = Stage(planned((whole, *fleet(2))), refusing(denied(Scope.TARGET), whole))
    stage.play(20)

    assert stage.tally.counts[Eligibility.DENIED] == 1
    assert stage.tally.counts[Eligibility.ELIGIBLE] == 2
