"""A breaker: what is broken is only probed. It says when to try again, never never."""

from __future__ import annotations

from collections.abc import Iterator

from keepalive.core.outcome import Fault
from keepalive.core.state import Refusal
from keepalive.core.target import Key, Scope, Target

CONFIRMED_AFTER = 3
"""Refusals in a row, each sent after the one before had come back, until one is believed."""

ORIGIN_PROBE = 1.0
"""Seconds between probes of an origin that is down."""

EARLY_PROBES = (1 / 45, 2 / 45, 4 / 45)
"""Parts of the window until the first probes of what was refused; the last one goes on for a whole window.

For so long a renewal under it may still be saved: a passing refusal must not outlast it by our own pauses.
"""

LATE_PROBES = (60.0, 900.0)
"""Seconds between probes after that: from the first they double up to the last."""


class Breaker:
    """An open breaker over all that shares `target[:scope]`. A closed one is simply not there.

    An origin is probed once a second. What was refused is probed every few seconds while a renewal under it
    may last, so that a passing refusal lapses nobody; then ever more slowly, so that a lasting one costs
    next to nothing.
    """

    __slots__ = ("_done_at", "_late", "_probe_at", "_window", "fault", "faults", "opened_at", "scope")

    def __init__(self, scope: Scope, fault: Fault, now: float, window: float) -> None:
        """Open it, after a first fault.

        Args:
            scope: How far the fault reaches.
            fault: Why.
            now: The moment.
            window: Seconds that a renewal lasts.
        """
        self.scope = scope
        self.fault = fault
        self.faults = 1
        self.opened_at = now
        self._window = window
        self._late = 0
        self._done_at = now
        self._probe_at = now + self._pause(now)

    @classmethod
    def resumed(cls, refusal: Refusal, now: float, window: float) -> Breaker:
        """Go on with one that another process had confirmed; it is probed at once, whatever was to come."""
        breaker = cls(Scope(len(refusal.key)), refusal.fault, refusal.opened_at, window)
        breaker.faults = CONFIRMED_AFTER
        breaker._done_at = breaker._probe_at = now
        return breaker

    @property
    def confirmed(self) -> bool:
        """Whether the refusal is believed; never for an origin, which refuses nobody."""
        return self.scope is not Scope.ORIGIN and self.faults >= CONFIRMED_AFTER

    def _pause(self, now: float) -> float:
        if self.scope is Scope.ORIGIN:
            return ORIGIN_PROBE
        if now < self.opened_at + self._window:
            return self._window * EARLY_PROBES[min(self.faults, len(EARLY_PROBES)) - 1]
        return min(LATE_PROBES[1], LATE_PROBES[0] * 2.0 ** min(self._late, 10))

    def ready_at(self, now: float) -> float:
        """The moment of the next probe."""
        return max(now, self._probe_at)

    def charge(self, now: float) -> None:
        """A probe leaves now."""
        self._probe_at = now + self._pause(now)

    def repeat(self, fault: Fault, sent_at: float, now: float) -> bool:
        """Count one more refusal, unless it was under way when the last one came back.

        Returns:
            Whether it counted.
        """
        if sent_at < self._done_at:
            return False
        self.fault = fault
        self.faults += 1
        self._done_at = now
        self._probe_at = max(self._probe_at, sent_at + self._pause(sent_at))
        self._late += sent_at >= self.opened_at + self._window
        return True


class Breakers(dict[Key, Breaker]):
    """The open breakers of a group, by `target[:scope]`; the origin's key is empty."""

    def over(self, target: Target) -> Iterator[Breaker]:
        """Those that a target stands under, the origin's aside."""
        for scope in (Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET):
            if breaker := self.get(target[:scope]):
                yield breaker

    def ready_at(self, target: Target, now: float) -> float:
        """The moment at which a target may be tried, as far as its own breakers go."""
        if not self:
            return now
        return max((breaker.ready_at(now) for breaker in self.over(target)), default=now)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What a restart has to know of them."""
        return tuple(
            Refusal(key, breaker.fault, breaker.opened_at)
            for key, breaker in self.items()
            if breaker.confirmed
        )

    def deny(self, target: Target) -> bool:
        """Whether a refusal of this target is believed."""
        return bool(self) and any(breaker.confirmed for breaker in self.over(target))
