from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import (
    AttemptFailed,
    ConfigRejected,
    ConfigReloaded,
    CredentialVerified,
    EligibilityChanged,
    Event,
    HeartbeatAccepted,
)
from keepalive.core.outcome import Fault
from keepalive.core.target import Target
from keepalive.sinks.counts import DURATIONS, LATENESSES, Counts, CredentialReading, Histogram
from tests.sinks.samples import ACCOUNT

END = 1000.0
CREDENTIALS = ("prod", "legacy", "service")
LOST = {Eligibility.LAPSED, Eligibility.DENIED}

moments = st.floats(0, END)
seconds = st.floats(0, 60)
credentials = st.sampled_from(CREDENTIALS)
states = st.sampled_from(Eligibility)


def accepted(credential: str, latency: float = 0.1, lateness: float = 0.0) -> HeartbeatAccepted:
    return HeartbeatAccepted(
        at=0.0,
        target=Target(credential, ACCOUNT, "api"),
        attempt=1,
        hedge=False,
        latency=latency,
        lateness=lateness,
        eligible_until=45.0,
        cf_ray=None,
    )


def failed(credential: str, outcome: str, latency: float = 0.1) -> AttemptFailed:
    return AttemptFailed(
        at=0.0,
        target=Target(credential, ACCOUNT, "api"),
        attempt=1,
        hedge=False,
        latency=latency,
        outcome=outcome,
        fault=Fault("reset"),
    )


def change(
    target: Target, before: Eligibility | None, after: Eligibility | None, at: float
) -> EligibilityChanged:
    return EligibilityChanged(
        at=at, target=target, from_state=before, to_state=after, cause="late", eligible_until=None
    )


def of(counts: Counts, name: str, now: float = END) -> CredentialReading:
    return {one.name: one for one in counts.reading((), now)}[name]


@st.composite
def lives(draw: st.DrawFn) -> list[EligibilityChanged]:
    """All that one target goes through; it may leave, and come back."""
    target = Target(draw(credentials), ACCOUNT, draw(st.text(max_size=3)))
    when = sorted(draw(st.lists(moments, max_size=8, unique=True)))
    through = [None, *draw(st.lists(st.none() | states, min_size=len(when), max_size=len(when)))]
    return [
        change(target, before, after, at)
        for at, (before, after) in zip(when, pairwise(through), strict=True)
        if before is not after
    ]


sent = st.lists(
    st.builds(accepted, credentials, seconds, seconds)
    | st.builds(failed, credentials, st.sampled_from(("throttled", "denied", "transient")), seconds),
    max_size=30,
)


def seconds_in(story: list[EligibilityChanged], *inside: Eligibility) -> float:
    """Brute force: how long a target was in one of these states, until the end."""
    ends = [told.at for told in story[1:]] + [END]
    return sum(end - told.at for told, end in zip(story, ends, strict=True) if told.to_state in inside)


@given(st.lists(lives(), max_size=8), sent, st.randoms(use_true_random=False))
def test_the_counts_are_those_of_a_naive_recount(
    stories: list[list[EligibilityChanged]],
    sent: list[HeartbeatAccepted | AttemptFailed],
    chance: object,
) -> None:
    counts = Counts()
    stream: list[Event] = [*sent, *(told for story in stories for told in story)]
    for event in sorted(stream, key=lambda event: event.at):
        counts(event)

    for one in counts.reading(CREDENTIALS, END):
        own = [story for story in stories if story and story[0].target.credential == one.name]
        beats = [event for event in sent if event.target.credential == one.name]
        good = sum(isinstance(event, HeartbeatAccepted) for event in beats)
        outcomes = [event.outcome for event in beats if isinstance(event, AttemptFailed)]
        last = [story[-1].to_state for story in own]
        lost = sum(told.to_state in LOST and told.from_state not in LOST for story in own for told in story)
        assert one.targets == {state: last.count(state) for state in Eligibility}
        assert one.heartbeats == {"accepted": good, "failed": lost}
        assert one.attempts == {
            "accepted": good,
            **{outcome: outcomes.count(outcome) for outcome in ("throttled", "denied", "transient")},
        }
        eligible = sum(seconds_in(story, Eligibility.ELIGIBLE, Eligibility.AT_RISK) for story in own)
        lapsed = sum(seconds_in(story, Eligibility.LAPSED) for story in own)
        assert one.eligible_seconds == pytest.approx(eligible, abs=1e-6)
        assert one.lapsed_seconds == pytest.approx(lapsed, abs=1e-6)


@given(st.lists(lives(), max_size=5), st.lists(moments, max_size=5))
def test_no_counter_ever_goes_down_however_late_its_events_are_told(
    stories: list[list[EligibilityChanged]], scrapes: list[float]
) -> None:
    counts = Counts()
    told_late = [told for story in stories for told in story]  # one whole life after the other
    seen = dict.fromkeys(CREDENTIALS, (0.0, 0.0))
    for at, told in zip(sorted(scrapes), told_late, strict=False):
        counts(told)
        for one in counts.reading(CREDENTIALS, at):
            before, now = seen[one.name], (one.eligible_seconds, one.lapsed_seconds)
            assert now[0] >= before[0]
            assert now[1] >= before[1]
            seen[one.name] = now


def test_seconds_that_were_scraped_are_not_taken_back_by_a_lapse_that_is_told_late() -> None:
    counts, target = Counts(), Target("prod", ACCOUNT, "api")
    counts(change(target, None, Eligibility.ELIGIBLE, 0.0))
    assert of(counts, "prod", now=60.0).eligible_seconds == 60.0

    counts(change(target, Eligibility.ELIGIBLE, Eligibility.LAPSED, 45.0))

    assert of(counts, "prod", now=61.0).eligible_seconds == 60.0
    assert of(counts, "prod", now=61.0).lapsed_seconds == 16.0


@given(st.lists(st.sampled_from(DURATIONS) | seconds), st.lists(st.sampled_from(LATENESSES) | seconds))
def test_each_bucket_holds_all_that_is_not_above_its_bound(took: list[float], late: list[float]) -> None:
    counts = Counts()
    for value in took:
        counts(failed("prod", "transient", value))
    for value in late:
        counts(accepted("prod", 0.0, value))

    for histogram, values in ((counts.duration, took + [0.0] * len(late)), (counts.lateness, late)):
        reading = histogram.reading()
        assert reading.total == pytest.approx(sum(values))
        for bound, count in reading.buckets:
            assert count == sum(value <= bound for value in values)
        assert reading.buckets[-1] == (float("inf"), len(values))


def test_a_histogram_that_was_read_does_not_change_any_more() -> None:
    histogram = Histogram((1.0,))
    before = histogram.reading()

    histogram.observe(0.5)

    assert before.buckets == ((1.0, 0), (float("inf"), 0))


def test_a_reading_does_not_change_any_more() -> None:
    counts, target = Counts(), Target("prod", ACCOUNT, "api")
    [before] = counts.reading(["prod"], 0.0)

    counts(change(target, None, Eligibility.PENDING, 0.0))
    counts(failed("prod", "throttled"))

    assert before.targets[Eligibility.PENDING] == 0
    assert before.attempts["throttled"] == 0


def test_a_target_that_lapses_and_is_then_denied_fails_one_heartbeat() -> None:
    counts, target = Counts(), Target("prod", ACCOUNT, "api")
    counts(change(target, None, Eligibility.PENDING, 0.0))
    counts(change(target, Eligibility.PENDING, Eligibility.ELIGIBLE, 1.0))
    counts(change(target, Eligibility.ELIGIBLE, Eligibility.LAPSED, 46.0))
    counts(change(target, Eligibility.LAPSED, Eligibility.DENIED, 50.0))

    assert of(counts, "prod").heartbeats == {"accepted": 0, "failed": 1}


def test_a_credential_without_a_target_is_there_with_nothing() -> None:
    [one] = Counts().reading(["prod"], 5.0)

    assert one.targets == dict.fromkeys(Eligibility, 0)
    assert one.heartbeats == {"accepted": 0, "failed": 0}
    assert one.attempts == {"accepted": 0, "throttled": 0, "denied": 0, "transient": 0}
    assert (one.eligible_seconds, one.lapsed_seconds, one.expires_on) == (0.0, 0.0, None)


def test_the_last_verification_says_when_a_token_ends() -> None:
    counts = Counts()
    counts(CredentialVerified(at=0.0, credential="prod", expires_on=500.0))
    assert of(counts, "prod").expires_on == 500.0

    counts(CredentialVerified(at=1.0, credential="prod", expires_on=None))
    assert of(counts, "prod").expires_on is None


def test_the_last_reload_counts() -> None:
    def reloaded(*events: Event) -> bool:
        counts = Counts()
        for event in events:
            counts(event)
        return counts.reloaded

    good = ConfigReloaded(at=1.0, targets=1, added=0, removed=0)
    bad = ConfigRejected(at=0.0, faults=("k.toml:1: unknown key",))

    assert [reloaded(), reloaded(bad), reloaded(bad, good), reloaded(good, bad)] == [True, False, True, False]
