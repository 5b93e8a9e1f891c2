"""What becomes of a target: its heartbeats, what it is, and what its tail is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keepalive.core.eligibility import Eligibility
from keepalive.core.events.event import Event, Level
from keepalive.core.outcome import Fault
from keepalive.core.target import Target

NOTED_ATTEMPT = 3
"""The attempt of a heartbeat whose failure is told even to those who do not debug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatAccepted(Event):
    """A target was renewed. `latency` and `lateness` are seconds."""

    name: ClassVar[str] = "heartbeat.accepted"
    _level: ClassVar[Level] = Level.DEBUG
    target: Target
    attempt: int
    hedge: bool
    latency: float
    lateness: float
    eligible_until: float
    cf_ray: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(Event):
    """One attempt was not accepted; `outcome` is throttled, denied or transient."""

    name: ClassVar[str] = "attempt.failed"
    target: Target
    attempt: int
    hedge: bool
    latency: float
    outcome: str
    fault: Fault

    @property
    def level(self) -> Level:
        """Debug; but a heartbeat that fails for the third time is worth a warning, once."""
        return Level.WARNING if self.attempt == NOTED_ATTEMPT else Level.DEBUG


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilityChanged(Event):
    """A target went from one state to another.

    `from_state` is None when it is new, `to_state` when it left the plan; `eligible_until` is None where
    it was never renewed. `lapsed_for` is how long nobody streamed to the user, in seconds, where that ends.
    """

    name: ClassVar[str] = "eligibility.changed"
    target: Target
    from_state: Eligibility | None
    to_state: Eligibility | None
    cause: str
    eligible_until: float | None
    lapsed_for: float | None = None
    fault: Fault | None = None

    @property
    def level(self) -> Level:
        """Debug for a new target, a warning when it is at risk, an error when nobody streams to the user."""
        match self.to_state:
            case Eligibility.PENDING:
                return Level.DEBUG
            case Eligibility.AT_RISK:
                return Level.WARNING
            case Eligibility.LAPSED | Eligibility.DENIED | Eligibility.REFUSED:
                return Level.ERROR
            case _:
                return Level.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilitySummary(Event):
    """Counts per state, and the share of target-seconds that were eligible since the start (0 to 1)."""

    name: ClassVar[str] = "eligibility.summary"
    pending: int
    eligible: int
    at_risk: int
    lapsed: int
    denied: int
    refused: int
    eligible_ratio: float
    heartbeats: int
    attempts: int
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRefused(Event):
    """The quota cannot hold this target beside those before it."""

    name: ClassVar[str] = "target.refused"
    _level: ClassVar[Level] = Level.WARNING
    target: Target
    rate_group: str
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TailChanged(Event):
    """A tail is something else: `state` is what it is now, `cause` why in one line, or ""."""

    name: ClassVar[str] = "tail.changed"
    target: Target
    state: str
    cause: str

    @property
    def level(self) -> Level:
        """Worse than connected or eligible is worth a warning."""
        return Level.INFO if self.state in ("connected", "eligible") else Level.WARNING
