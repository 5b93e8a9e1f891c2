"""A tally: how many targets are in which state, and how much of their time was eligible."""

from __future__ import annotations

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import (
    AttemptFailed,
    EligibilityChanged,
    EligibilitySummary,
    Event,
    HeartbeatAccepted,
)


class TargetSeconds:
    """Sums up how long targets were in a set: each adds to it from its entry until it leaves.

    Exact also where an entry or an exit is told later than it happened: only the moments count.

    Attributes:
        inside: How many are in it.
    """

    __slots__ = ("_offset", "inside")

    def __init__(self) -> None:
        self.inside = 0
        self._offset = 0.0

    def enter(self, at: float) -> None:
        """One came in."""
        self.inside += 1
        self._offset -= at

    def leave(self, at: float) -> None:
        """One that was in it left."""
        self.inside -= 1
        self._offset += at

    def at(self, now: float) -> float:
        """All their seconds until `now`. Less than before, where an exit is told late."""
        return self.inside * now + self._offset


class Tally:
    """A sink that counts. It sees every event of an engine and can be asked at any time."""

    __slots__ = ("_eligible", "_known", "attempts", "counts", "heartbeats")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(Eligibility, 0)
        self.heartbeats = 0
        self.attempts = 0
        self._eligible = TargetSeconds()
        self._known = TargetSeconds()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case HeartbeatAccepted():
                self.heartbeats += 1
                self.attempts += 1
            case AttemptFailed():
                self.attempts += 1
            case EligibilityChanged():
                self._change(event.from_state, event.to_state, event.at)
            case _:
                pass

    def _change(self, before: Eligibility | None, after: Eligibility | None, at: float) -> None:
        if before is None:
            self._known.enter(at)
        else:
            self.counts[before] -= 1
        if after is None:
            self._known.leave(at)
        else:
            self.counts[after] += 1
        held, holds = before is not None and before.holds, after is not None and after.holds
        if holds and not held:
            self._eligible.enter(at)
        elif held and not holds:
            self._eligible.leave(at)

    @property
    def targets(self) -> int:
        """All targets of the plan, the refused ones too."""
        return self._known.inside

    @property
    def waiting(self) -> int:
        """Targets that have had neither an accepted heartbeat nor a refusal that is believed."""
        return self.counts[Eligibility.PENDING]

    @property
    def all_eligible(self) -> bool:
        """Whether every target, the refused ones included, is eligible or at risk."""
        return self._eligible.inside == self._known.inside

    def ratio(self, now: float) -> float:
        """Eligible target-seconds over all target-seconds since the start, 0 to 1; 1 before any passed."""
        known = self._known.at(now)
        return min(1.0, max(0.0, self._eligible.at(now) / known)) if known > 1e-9 else 1.0

    def summary(self, now: float, *, final: bool = False) -> EligibilitySummary:
        """The counts as an event."""
        return EligibilitySummary(
            at=now,
            pending=self.counts[Eligibility.PENDING],
            eligible=self.counts[Eligibility.ELIGIBLE],
            at_risk=self.counts[Eligibility.AT_RISK],
            lapsed=self.counts[Eligibility.LAPSED],
            denied=self.counts[Eligibility.DENIED],
            refused=self.counts[Eligibility.REFUSED],
            eligible_ratio=self.ratio(now),
            heartbeats=self.heartbeats,
            attempts=self.attempts,
            final=final,
        )
