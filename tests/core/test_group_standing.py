"""What a group says of itself, and what it lends to others."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.plan import Policy, Quota
from keepalive.core.target import Scope
from tests.core.stage import (
    ACCEPTED,
    START,
    UNAVAILABLE,
    Reply,
    Stage,
    always,
    denied,
    fleet,
    hanging,
    planned,
    throttled,
)


def test_a_target_is_pending_then_eligible_with_its_deadline_and_next_beat() -> None:
    stage = Stage(planned(fleet(1)))
    (target,) = stage.group.targets()
    before = stage.group.standing_of(target, stage.now)
    stage.play(1)
    after = stage.group.standing_of(target, stage.now)

    assert before is not None
    assert after is not None
    assert (before.state, before.renewed_at, before.eligible_until) == (Eligibility.PENDING, None, None)
    assert (after.state, after.renewed_at, after.eligible_until) == (Eligibility.ELIGIBLE, START, START + 45)
    assert START + 10 < after.due_at <= START + 15
    assert after.fault is None


def test_what_has_run_down_is_seen_even_before_it_is_told() -> None:
    stage = Stage(planned(fleet(1)))
    stage.play(1)
    (target,) = stage.group.targets()
    states = [stage.group.standing_of(target, START + age) for age in (29, 31, 46)]

    assert [each.state for each in states if each] == ["eligible", "at_risk", "lapsed"]


def test_refused_and_unknown_targets_have_no_lease_and_no_beat() -> None:
    targets = fleet(100)
    stage = Stage(planned(targets))
    refused = stage.group.standing_of(targets[-1], stage.now)

    assert refused is not None
    assert (refused.state, refused.renewed_at, refused.due_at) == (Eligibility.REFUSED, None, inf)
    assert stage.group.targets()[-1] in targets
    assert len(stage.group.targets()) == 100
    assert stage.group.standing_of(fleet(1, "other")[0], stage.now) is None


def test_a_denied_target_shows_the_breaker_above_it() -> None:
    stage = Stage(planned(fleet(2)), always(denied(Scope.CREDENTIAL)))
    stage.play(10)
    standing = stage.group.standing(stage.now)

    assert {stage.group.standing_of(each, stage.now).state for each in fleet(2)} == {Eligibility.DENIED}  # type: ignore[union-attr]
    assert [(each.scope, each.key, each.fault.cause) for each in standing.breakers] == [
        (Scope.CREDENTIAL, ("prod",), "authentication")
    ]
    assert START <= standing.breakers[0].opened_at < stage.now


def test_a_group_tells_its_ledger_and_its_silence() -> None:
    stage = Stage(planned(fleet(42)))
    stage.play(100)
    stage.answer = always(throttled(60))
    stage.play(15)
    standing = stage.group.standing(stage.now)

    assert (standing.held, standing.refused, standing.nominal) == (42, 0, 15)
    assert standing.spent == len(stage.sent)
    assert standing.remaining == 1080 - len(stage.sent)
    assert standing.used == len(stage.sent) / 1080
    assert standing.silent_until > stage.now
    assert standing.throttles >= 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 42), st.lists(st.floats(0.001, 20), max_size=60))
def test_whatever_is_lent_the_share_is_kept_and_nobody_lapses(count: int, pauses: list[float]) -> None:
    stage = Stage(planned(fleet(count)))
    lent: list[float] = []
    for pause in pauses:
        stage.play(pause)
        while stage.group.lend(stage.now) <= stage.now:
            lent.append(stage.now)
    stage.play(100)

    moments = sorted([START + each for each in stage.moments()] + lent)
    assert all(sum(at <= each < at + 300 for each in moments) <= 1080 for at in moments[::50])
    assert stage.tally.counts[Eligibility.LAPSED] == 0
    assert not [event for event in stage.events if getattr(event, "to_state", None) is Eligibility.LAPSED]


def test_nothing_is_lent_in_a_silence_and_the_answer_says_when_to_ask_again() -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(throttled(60)))
    stage.play(1)
    again_at = stage.group.lend(stage.now)

    assert again_at > START + 60


def test_nothing_is_lent_after_a_silence_until_a_probe_has_shown_that_the_way_is_free() -> None:
    stage = Stage(planned(fleet(20)), lambda order, at: Reply(throttled(60)))
    stage.play(1)
    stage.answer = always(ACCEPTED, 2)
    stage.now = stage.group.lend(stage.now)
    assert stage.group.lend(stage.now) > stage.now, "before the probe has left"
    assert len(stage.play(1)) == 1
    assert stage.group.lend(stage.now) > stage.now, "while the probe is under way"
    stage.play(20)
    assert stage.group.lend(stage.now) == stage.now


def test_a_group_of_nobody_has_no_probe_to_wait_for() -> None:
    stage = Stage(planned(fleet(1)), lambda order, at: Reply(throttled(60)))
    stage.play(1)
    stage.group.apply(planned(()), stage.now)
    again_at = stage.group.lend(stage.now)
    assert stage.group.lend(again_at) == again_at


def test_a_dead_origin_does_not_keep_others_from_trying() -> None:
    stage = Stage(planned(fleet(5)), hanging)
    stage.play(20)
    assert stage.group.lend(stage.now) == stage.now


def test_a_small_quota_lends_what_its_planned_beats_leave() -> None:
    stage = Stage(planned(fleet(2), Policy(), Quota(60, 300.0)))
    stage.play(1)
    lent = 0
    while stage.group.lend(stage.now) <= stage.now:
        lent += 1
    assert 6 <= lent <= 8
    assert stage.group.lend(stage.now) > stage.now + 250


@pytest.mark.parametrize("count", [42, 63])
@pytest.mark.parametrize("every", [20, 1000])
def test_whoever_takes_all_that_is_lent_lapses_nobody_though_attempts_fail(count: int, every: int) -> None:
    stage = Stage(
        planned(fleet(count)), lambda order, at: Reply(ACCEPTED if order.serial % every else UNAVAILABLE)
    )
    lent = 0
    for _ in range(900):
        while stage.group.lend(stage.now) <= stage.now:
            lent += 1
        stage.play(1)
    assert not [event for event in stage.events if getattr(event, "to_state", None) is Eligibility.LAPSED]
    assert lent > 100


def test_a_command_gets_some_calls_where_targets_that_fail_without_end_want_all() -> None:
    failing = set(fleet(63)[::8])
    stage = Stage(
        planned(fleet(63)), lambda order, at: Reply(UNAVAILABLE if order.target in failing else ACCEPTED)
    )
    stage.play(1200)
    lent = 0
    for _ in range(300):
        lent += stage.group.lend(stage.now) <= stage.now
        stage.play(1)
    assert lent >= 20


def test_targets_that_come_and_go_leave_no_room_for_more_of_them_until_their_beats_are_old() -> None:
    own, guests = fleet(42), fleet(1000, "guests")
    stage = Stage(planned(own))
    stage.play(100)
    rounds = 0
    while stage.group.room_at(stage.now) <= stage.now:
        stage.group.apply(planned((*own, *guests[rounds : rounds + 10])), stage.now)
        stage.play(1)
        rounds += 10
    stage.group.apply(planned(own), stage.now)
    again_at = stage.group.room_at(stage.now)
    stage.play(300)

    assert 60 < rounds < 200
    assert 200 < again_at - START < 500
    assert not [event for event in stage.events if getattr(event, "to_state", None) is Eligibility.LAPSED]
    assert stage.group.room_at(stage.now) == stage.now


def test_a_longer_period_begins_without_others() -> None:
    stage = Stage(planned(fleet(1), Policy(), Quota(1000, 60)))
    stage.play(1)
    while stage.group.lend(stage.now) <= stage.now:
        pass
    stage.play(61)
    assert stage.group.lend(stage.now) == stage.now
    stage.group.apply(planned(fleet(1), Policy(), Quota(1000, 120)), stage.now)
    assert stage.group.room_at(stage.now) == stage.now
