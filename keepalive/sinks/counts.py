"""Counts: what became of the targets of each credential, in plain numbers that are cheap to add to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from math import inf
from typing import NamedTuple

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
from keepalive.core.tally import TargetSeconds

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of what an attempt may take; its timeout is 5 s at most."""

LATENESSES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds of how late an attempt may leave."""

FAILURES = ("throttled", "denied", "transient")
"""How an attempt ends that is not accepted."""

_LOST = (Eligibility.LAPSED, Eligibility.DENIED)
"""What a target becomes whose heartbeat was given up."""


class HistogramReading(NamedTuple):
    """A histogram at a moment.

    Attributes:
        buckets: Upper bounds, the last one infinite, each with how many were at or below it.
        total: The sum of all.
    """

    buckets: tuple[tuple[float, int], ...]
    total: float


class Histogram:
    """Counts by fixed upper bounds, in ascending order."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def reading(self) -> HistogramReading:
        """What it has counted so far."""
        bounds = (*self._bounds, inf)
        return HistogramReading(tuple(zip(bounds, accumulate(self._counts), strict=True)), self._total)


class CredentialReading(NamedTuple):
    """What became of the targets of one credential, at a moment; copied flat, because the loop does it.

    Attributes:
        name: The credential.
        states: How many targets are in each state, in the order of `Eligibility`.
        accepted: Heartbeats that were accepted, each by one attempt.
        failed: Heartbeats that were not: the target lapsed or was denied instead.
        failures: Attempts that failed, in the order of `FAILURES`.
        eligible_seconds: Target-seconds that were eligible; never less than before.
        lapsed_seconds: Target-seconds that were lapsed; never less than before.
        expires_on: When its token ends, a moment of the engine's clock; None where that is not known.
    """

    name: str
    states: tuple[int, ...]
    accepted: int
    failed: int
    failures: tuple[int, ...]
    eligible_seconds: float
    lapsed_seconds: float
    expires_on: float | None

    @property
    def targets(self) -> dict[Eligibility, int]:
        """How many are in each state."""
        return dict(zip(Eligibility, self.states, strict=True))

    @property
    def heartbeats(self) -> dict[str, int]:
        """By outcome."""
        return {"accepted": self.accepted, "failed": self.failed}

    @property
    def attempts(self) -> dict[str, int]:
        """By outcome."""
        return {"accepted": self.accepted, **dict(zip(FAILURES, self.failures, strict=True))}


class _OfCredential:
    """The running counts of one credential."""

    __slots__ = (
        "_eligible",
        "_eligible_least",
        "_failed",
        "_lapsed",
        "_lapsed_least",
        "_targets",
        "accepted",
        "expires_on",
        "failures",
    )

    def __init__(self) -> None:
        self.accepted = 0
        self.failures = dict.fromkeys(FAILURES, 0)
        self.expires_on: float | None = None
        self._failed = 0
        self._targets = dict.fromkeys(Eligibility, 0)
        self._eligible, self._eligible_least = TargetSeconds(), 0.0
        self._lapsed, self._lapsed_least = TargetSeconds(), 0.0

    def change(self, before: Eligibility | None, after: Eligibility | None, at: float) -> None:
        if before is not None:
            self._targets[before] -= 1
        if after is not None:
            self._targets[after] += 1
        held, holds = before is not None and before.holds, after is not None and after.holds
        if holds and not held:
            self._eligible.enter(at)
        elif held and not holds:
            self._eligible.leave(at)
        if after is Eligibility.LAPSED:
            self._lapsed.enter(at)
        elif before is Eligibility.LAPSED:
            self._lapsed.leave(at)
        if after in _LOST and before not in _LOST:
            self._failed += 1

    def reading(self, name: str, now: float) -> CredentialReading:
        # An exit that is told late takes seconds back; whoever scraped them before must not see less.
        self._eligible_least = max(self._eligible_least, self._eligible.at(now))
        self._lapsed_least = max(self._lapsed_least, self._lapsed.at(now))
        return CredentialReading(
            name,
            tuple(self._targets.values()),
            self.accepted,
            self._failed,
            tuple(self.failures.values()),
            self._eligible_least,
            self._lapsed_least,
            self.expires_on,
        )


class _ByCredential(dict[str, _OfCredential]):
    def __missing__(self, name: str) -> _OfCredential:
        counts = self[name] = _OfCredential()
        return counts


class Counts:
    """A sink that counts for the metrics. A healthy beat costs it half a microsecond.

    Attributes:
        duration: What the attempts took that came back, in seconds; the failed ones too.
        lateness: How long after they were due the accepted ones had left, in seconds.
        reloaded: False while the last reload was rejected.
    """

    __slots__ = ("_by_credential", "duration", "lateness", "reloaded")

    def __init__(self) -> None:
        self.duration = Histogram(DURATIONS)
        self.lateness = Histogram(LATENESSES)
        self.reloaded = True
        self._by_credential = _ByCredential()

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, HeartbeatAccepted):  # first, because almost all of them are
            self._by_credential[event.target.credential].accepted += 1
            self.duration.observe(event.latency)
            self.lateness.observe(event.lateness)
            return
        match event:
            case AttemptFailed():
                self._by_credential[event.target.credential].failures[event.outcome] += 1
                self.duration.observe(event.latency)
            case EligibilityChanged():
                counts = self._by_credential[event.target.credential]
                counts.change(event.from_state, event.to_state, event.at)
            case CredentialVerified():
                self._by_credential[event.credential].expires_on = event.expires_on
            case ConfigReloaded():
                self.reloaded = True
            case ConfigRejected():
                self.reloaded = False
            case _:
                pass

    def reading(self, names: Iterable[str], now: float) -> list[CredentialReading]:
        """The counts of every credential that was ever seen, and of those in `names` before they were."""
        for name in names:
            self._by_credential[name]
        return [counts.reading(name, now) for name, counts in self._by_credential.items()]
