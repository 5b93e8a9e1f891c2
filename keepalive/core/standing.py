"""A standing: what a target or a rate group is at a moment, for those who look from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Fault
from keepalive.core.plan import Quota
from keepalive.core.target import Key, Scope, Target


class TargetStanding(NamedTuple):
    """One target. Moments are on the engine's clock.

    Attributes:
        target: Which.
        state: What it is now.
        renewed_at: Send time of its last accepted attempt, or None.
        eligible_until: Its renew deadline, or None where it was never renewed.
        due_at: When its next attempt is due; infinite when none is planned.
        failures: Passing faults in a row.
        fault: Why its last attempt failed; None after an accepted one.
    """

    target: Target
    state: Eligibility
    renewed_at: float | None
    eligible_until: float | None
    due_at: float
    failures: int
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """What is only probed: everything under `key`, since the moment `opened_at`."""

    scope: Scope
    key: Key
    fault: Fault
    opened_at: float


@dataclass(frozen=True, slots=True)
class GroupStanding:
    """One rate group. Moments are on the engine's clock.

    Attributes:
        name: Which.
        held: Targets that it keeps eligible.
        refused: Targets that its quota cannot hold.
        interval: Seconds between two heartbeats of one target.
        nominal: The same as the plan wants it.
        quota: Its quota.
        spent: Calls that count now, at most `quota.allowed`, or more after the quota was lowered.
        silent_until: End of the last silence after a 429; minus infinity before any.
        throttles: 429s in a row.
        breakers: What is only probed.
    """

    name: str
    held: int
    refused: int
    interval: float
    nominal: float
    quota: Quota
    spent: int
    silent_until: float
    throttles: int
    breakers: tuple[OpenBreaker, ...]

    @property
    def remaining(self) -> int:
        """Calls that may still leave in this period."""
        return max(0, self.quota.allowed - self.spent)

    @property
    def used(self) -> float:
        """Part of the share that is spent, 0 to 1 and above."""
        return self.spent / self.quota.allowed
