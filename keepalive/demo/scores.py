"""The scores: what became of each target's attempts, as the engine's events tell it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import (
    AttemptFailed,
    EligibilityChanged,
    Event,
    GroupThrottled,
    HeartbeatAccepted,
)
from keepalive.core.target import Target

REMEMBERED = 24
"""Attempts of one target that are remembered; as many as a wide terminal has room for."""


class Mark(StrEnum):
    """How one attempt ended; the value is its sign on the screen."""

    ACCEPTED = "●"
    RETRIED = "↻"
    HEDGED = "⇉"
    FAILED = "✗"
    THROTTLED = "‖"


@dataclass(slots=True)
class Score:
    """One target: `marks` are its latest attempts, the newest first; `eligible_until` is its deadline."""

    state: Eligibility = Eligibility.PENDING
    eligible_until: float | None = None
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    heartbeats: int = 0
    failures: int = 0
    retries: int = 0
    hedges: int = 0


class Scores:
    """A sink that keeps a score for every target, in the order of the plan, and every group's silence.

    Attributes:
        silent_until: By rate group, the end of its last silence after a 429.
    """

    def __init__(self, targets: Iterable[Target]) -> None:
        """Begin with a clean score for each."""
        self.of = {target: Score() for target in targets}
        self.silent_until: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case EligibilityChanged(to_state=Eligibility() as state):
                self.of[event.target].state = state
            case HeartbeatAccepted():
                score = self.of[event.target]
                score.heartbeats += 1
                score.eligible_until = event.eligible_until
                _count(score, event)
                score.marks.appendleft(_mark(event))
            case AttemptFailed():
                score = self.of[event.target]
                score.failures += 1
                _count(score, event)
                score.marks.appendleft(Mark.THROTTLED if event.outcome == "throttled" else Mark.FAILED)
            case GroupThrottled():
                self.silent_until[event.rate_group] = event.until
            case _:
                pass

    @property
    def heartbeats(self) -> int:
        """Accepted heartbeats of all targets."""
        return sum(score.heartbeats for score in self.of.values())

    @property
    def attempts(self) -> int:
        """Attempts of all targets that came back, but for an answer that another one outran."""
        return self.heartbeats + sum(score.failures for score in self.of.values())

    @property
    def retries(self) -> int:
        """Attempts after a failed one, over all targets."""
        return sum(score.retries for score in self.of.values())

    @property
    def hedges(self) -> int:
        """Attempts beside an unanswered one, over all targets."""
        return sum(score.hedges for score in self.of.values())


def _count(score: Score, event: HeartbeatAccepted | AttemptFailed) -> None:
    score.hedges += event.hedge
    score.retries += event.attempt > 1 and not event.hedge


def _mark(event: HeartbeatAccepted) -> Mark:
    if event.hedge:
        return Mark.HEDGED
    return Mark.RETRIED if event.attempt > 1 else Mark.ACCEPTED
