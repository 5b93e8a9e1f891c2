from __future__ import annotations

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import AttemptFailed, EligibilityChanged, GroupThrottled, HeartbeatAccepted
from keepalive.core.outcome import Fault
from keepalive.core.target import Target
from keepalive.demo.scores import REMEMBERED, Mark, Scores

TARGET = Target("prod", "0" * 32, "api")
OTHER = TARGET._replace(script_id="web")


def accepted(attempt: int = 1, *, hedge: bool = False) -> HeartbeatAccepted:
    return HeartbeatAccepted(
        at=1.0,
        target=TARGET,
        attempt=attempt,
        hedge=hedge,
        latency=0.1,
        lateness=0.0,
        eligible_until=10.0,
        cf_ray=None,
    )


def failed(attempt: int = 1, *, hedge: bool = False, outcome: str = "transient") -> AttemptFailed:
    return AttemptFailed(
        at=1.0,
        target=TARGET,
        attempt=attempt,
        hedge=hedge,
        latency=0.1,
        outcome=outcome,
        fault=Fault("reset"),
    )


def played(*events: HeartbeatAccepted | AttemptFailed) -> Scores:
    scores = Scores([TARGET, OTHER])
    for event in events:
        scores(event)
    return scores


def test_every_attempt_leaves_its_mark_the_newest_first() -> None:
    scores = played(
        accepted(),
        failed(),
        accepted(2),
        failed(outcome="throttled"),
        failed(2),
        accepted(3, hedge=True),
    )
    assert [*scores.of[TARGET].marks] == [
        Mark.HEDGED,
        Mark.FAILED,
        Mark.THROTTLED,
        Mark.RETRIED,
        Mark.FAILED,
        Mark.ACCEPTED,
    ]
    assert not scores.of[OTHER].marks


def test_retries_and_hedges_are_counted_apart_whether_they_were_accepted_or_not() -> None:
    scores = played(failed(), failed(2), failed(3, hedge=True), accepted(4), accepted(5, hedge=True))
    assert (scores.heartbeats, scores.attempts, scores.retries, scores.hedges) == (2, 5, 2, 2)


def test_a_deadline_is_that_of_the_last_accepted_heartbeat() -> None:
    assert played(accepted(), failed()).of[TARGET].eligible_until == 10.0
    assert played(failed()).of[TARGET].eligible_until is None


def test_only_so_many_marks_are_remembered() -> None:
    assert len(played(*[accepted()] * (REMEMBERED + 5)).of[TARGET].marks) == REMEMBERED


def test_a_state_is_the_one_last_told() -> None:
    scores = Scores([TARGET])
    for state in (Eligibility.ELIGIBLE, Eligibility.AT_RISK):
        scores(
            EligibilityChanged(
                at=0.0, target=TARGET, from_state=None, to_state=state, cause="", eligible_until=1.0
            )
        )
    assert scores.of[TARGET].state is Eligibility.AT_RISK


def test_a_silence_is_remembered_for_its_group() -> None:
    scores = Scores([TARGET])
    scores(GroupThrottled(at=0.0, rate_group="prod", until=7.0, retry_after=2.0, fault=Fault("throttled")))
    assert scores.silent_until == {"prod": 7.0}
