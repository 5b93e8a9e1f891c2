"""A hold: what a group remembers of one target that it keeps eligible."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Fault
from keepalive.core.target import Target


@dataclass(slots=True, eq=False)
class Hold:
    """One target under a group's care. Moments are on the engine's clock.

    Attributes:
        target: Whom it is about.
        rank: Its place in the plan, from 0.
        since: Orders up to this serial belong to heartbeats that are over.
        planned_at: When it came into the plan.
        renewed_at: Send time of the last accepted attempt.
        state: The eligibility last announced.
        lapsed_at: When its renewal ran out, while it has lapsed.
        due_at: When the next attempt is due; infinite when nothing is planned.
        in_step: Whether it has a phase of its own, or shares the moment of a crowd.
        beat_due_at: When the current heartbeat's first attempt was due.
        tries: Attempts of the current heartbeat so far.
        failures: Passing faults in a row.
        flights: Attempts of the current heartbeat that are unanswered.
        ticket: Its entry in the queue of those that are due, or 0.
        watched_at: When the roster looks next whether its renewal has run down.
        fault: Why the last attempt failed; None after an accepted one.
    """

    target: Target
    rank: int
    since: int
    planned_at: float
    renewed_at: float | None = None
    state: Eligibility = Eligibility.PENDING
    lapsed_at: float | None = None
    due_at: float = inf
    in_step: bool = False
    beat_due_at: float = inf
    tries: int = 0
    failures: int = 0
    flights: int = 0
    ticket: int = 0
    watched_at: float = inf
    fault: Fault | None = None

    def deadline(self, window: float) -> float:
        """The renew deadline. One that was never renewed is given a first window from its plan."""
        return (self.planned_at if self.renewed_at is None else self.renewed_at) + window
