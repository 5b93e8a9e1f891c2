"""A result: what a measurement found, or why it found nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keepalive.calibration.estimate import Estimate
from keepalive.core.target import Target


class Ending(StrEnum):
    """How a measurement ended."""

    MEASURED = "measured"
    INTERRUPTED = "interrupted"
    TOO_LITTLE_TRAFFIC = "too_little_traffic"
    NEVER_SILENT = "never_silent"  # events went on without any heartbeat of ours
    NOT_STORED = "not_stored"  # the query shows nothing of what the stream brought
    NOT_STREAMED = "not_streamed"  # the stream brings nothing of what the query shows
    CLOSED = "closed"  # the far side closes the stream before it falls silent
    INCONSISTENT = "inconsistent"  # rounds contradict each other
    FAILED = "failed"  # requests were refused, or were failing when the time was up
    DISTURBED = "disturbed"  # somebody else sends heartbeats for the same user


@dataclass(frozen=True, slots=True)
class Result:
    """What is known at the end.

    Attributes:
        target: Whose events were watched.
        ending: How it ended.
        estimate: What is known of the window.
        detail: Why it ended before it was known, in one line for people; "" where it was measured.
        hint: What to do about that, or "".
        seconds: How long it took.
        brought: Events that the stream brought.
        missing: Events of the silences, which only the query showed.
        more_seconds: How much longer it would take about, or None where nobody can tell.
    """

    target: Target
    ending: Ending
    estimate: Estimate
    detail: str = ""
    hint: str = ""
    seconds: float = 0.0
    brought: int = 0
    missing: int = 0
    more_seconds: float | None = None


class OverError(Exception):
    """The measurement cannot go on; its fields are those of the result."""

    def __init__(self, ending: Ending, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.ending = ending
        self.detail = detail
        self.hint = hint
