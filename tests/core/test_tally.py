from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import AttemptFailed, EligibilityChanged, HeartbeatAccepted, SuspendDetected
from keepalive.core.outcome import Fault
from keepalive.core.tally import Tally
from keepalive.core.target import Target
from tests.core.stage import fleet

END = 1000.0

states = st.sampled_from(Eligibility)
lives = st.lists(
    st.tuples(
        st.lists(st.floats(0, END), min_size=1, max_size=8, unique=True).map(sorted),
        st.lists(states, min_size=8, max_size=8),
        st.booleans(),
    ),
    max_size=8,
)
Life = tuple[list[float], list[Eligibility], bool]


def changes(target: Target, life: Life) -> list[EligibilityChanged]:
    """The events of one target: it enters, changes, and perhaps leaves at the last moment."""
    moments, known, leaves = life
    through: list[Eligibility | None] = [None, *known[: len(moments)]]
    if leaves:
        through[-1] = None
    return [
        EligibilityChanged(
            at=at, target=target, from_state=before, to_state=after, cause="late", eligible_until=None
        )
        for at, (before, after) in zip(moments, pairwise(through), strict=True)
        if before is not after
    ]


def seconds(story: list[EligibilityChanged], counts: Callable[[Eligibility], bool]) -> float:
    """Brute force: how long a target was in a state that counts, until the end."""
    moments = [told.at for told in story] + [END]
    return sum(
        later - earlier
        for told, (earlier, later) in zip(story, pairwise(moments), strict=True)
        if told.to_state is not None and counts(told.to_state)
    )


@given(lives, st.randoms(use_true_random=False))
def test_the_ratio_is_exact_also_when_changes_are_told_late_and_out_of_order(
    lives: list[Life], chance: object
) -> None:
    tally = Tally()
    stories = [changes(target, life) for target, life in zip(fleet(len(lives)), lives, strict=True)]
    for story in sorted(stories, key=len):  # one target's whole story after the other's: all told late
        for told in story:
            tally(told)

    eligible = sum(seconds(story, lambda state: state.holds) for story in stories)
    known = sum(seconds(story, lambda _: True) for story in stories)

    assert tally.ratio(END) == pytest.approx(eligible / known if known > 1e-6 else 1.0, abs=1e-6)


@given(lives)
def test_the_counts_are_those_of_the_last_states(lives: list[Life]) -> None:
    tally = Tally()
    stories = [changes(target, life) for target, life in zip(fleet(len(lives)), lives, strict=True)]
    for told in sorted((told for story in stories for told in story), key=lambda told: told.at):
        tally(told)

    last = [story[-1].to_state for story in stories if story and story[-1].to_state]
    assert tally.counts == {state: last.count(state) for state in Eligibility}
    assert tally.targets == len(last)
    assert tally.waiting == last.count(Eligibility.PENDING)
    assert tally.all_eligible == all(state.holds for state in last)


def test_attempts_and_heartbeats_are_counted_and_other_events_ignored() -> None:
    tally, target = Tally(), fleet(1)[0]
    tally(
        HeartbeatAccepted(
            at=1.0,
            target=target,
            attempt=2,
            hedge=False,
            latency=0.1,
            lateness=0.0,
            eligible_until=46.0,
            cf_ray=None,
        )
    )
    tally(
        AttemptFailed(
            at=0.5,
            target=target,
            attempt=1,
            hedge=False,
            latency=0.1,
            outcome="transient",
            fault=Fault("reset"),
        )
    )
    tally(SuspendDetected(at=2.0, suspended=5.0))

    assert (tally.heartbeats, tally.attempts) == (1, 2)


def test_before_any_time_has_passed_nothing_is_lost() -> None:
    assert Tally().ratio(5.0) == 1.0


@given(lives)
def test_the_summary_says_the_same_as_an_event(lives: list[Life]) -> None:
    tally = Tally()
    for target, life in zip(fleet(len(lives)), lives, strict=True):
        for told in changes(target, life):
            tally(told)

    summary = tally.summary(END, final=True)

    assert summary.final
    assert summary.at == END
    assert summary.eligible_ratio == tally.ratio(END)
    assert {state: getattr(summary, state.value) for state in Eligibility} == tally.counts
