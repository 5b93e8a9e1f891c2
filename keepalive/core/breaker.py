"""A breaker: what is broken is only probed. It says when to try again, never never."""

from __future__ import annotations

from collections.abc import Iterator

from keepalive.core.outcome import Fault
from keepalive.core.target import Key, Scope, Target

CONFIRMED_AFTER = 3
"""Refusals in a row, each sent after the one before had come back, until one is believed."""

ORIGIN_PROBE = 1.0
"""Seconds between probes of an origin that is down."""

LONGEST_PROBE = 900.0
"""Seconds between probes of what stays refused; they double from 1 s up to here."""


class Breaker:
    """An open breaker over all that shares `target[:scope]`. A closed one is simply not there.

    An origin is probed once a second. What was refused is probed after 1, 2, 4 … up to 900 s: a passing
    refusal is outlived by the lease, a lasting one costs next to nothing.
    """

    __slots__ = ("_done_at", "_probe_at", "fault", "faults", "opened_at", "scope")

    def __init__(self, scope: Scope, fault: Fault, now: float) -> None:
        self.scope = scope
        self.fault = fault
        self.faults = 1
        self.opened_at = now
        self._done_at = now
        self._probe_at = now + ORIGIN_PROBE

    @property
    def confirmed(self) -> bool:
        """Whether the refusal is believed; never for an origin, which refuses nobody."""
        return self.scope is not Scope.ORIGIN and self.faults >= CONFIRMED_AFTER

    @property
    def _pause(self) -> float:
        if self.scope is Scope.ORIGIN:
            return ORIGIN_PROBE
        return min(LONGEST_PROBE, ORIGIN_PROBE * 2.0 ** min(self.faults - 1, 10))

    def ready_at(self, now: float) -> float:
        """The moment of the next probe."""
        return max(now, self._probe_at)

    def charge(self, now: float) -> None:
        """A probe leaves now."""
        self._probe_at = now + self._pause

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
        self._probe_at = max(self._probe_at, sent_at + self._pause)
        return True


class Breakers(dict[Key, Breaker]):
    """The open breakers of a group, by `target[:scope]`; the origin's key is empty."""

    def over(self, target: Target) -> Iterator[Breaker]:
        """Those that a target stands under, the origin's aside."""
        if self:
            for scope in (Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET):
                if breaker := self.get(target[:scope]):
                    yield breaker

    def ready_at(self, target: Target, now: float) -> float:
        """The moment at which a target may be tried, as far as its own breakers go."""
        return max((breaker.ready_at(now) for breaker in self.over(target)), default=now)

    def deny(self, target: Target) -> bool:
        """Whether a refusal of this target is believed."""
        return any(breaker.confirmed for breaker in self.over(target))
