"""A ramp: how fast a group may come back after a silence or an outage."""

from __future__ import annotations

from math import inf

RAMP_START = 4
"""Attempts in flight at the start, once a probe has shown that the way is free."""

RAMP_GAP = 0.1
"""Seconds between attempts while coming back: at most 10 per second."""


class Ramp:
    """A gate that lets few attempts be in flight, and one more after each success.

    Attempts that hang do not block it for ever: when all that may be in flight is, one more may leave
    each time the last has been unanswered for `patience` seconds.
    """

    __slots__ = ("_flights", "_limit", "_next_at", "_patience", "_sent_at")

    def __init__(self) -> None:
        self._limit = inf
        self._flights: set[int] = set()
        self._next_at = -inf
        self._sent_at = -inf
        self._patience = 0.0

    @property
    def active(self) -> bool:
        """Whether the group is still coming back."""
        return self._limit < inf

    def begin(self, now: float, limit: int, patience: float) -> None:
        """Start over with `limit` in flight; those already under way do not count."""
        self._limit, self._next_at, self._patience = limit, now, patience
        self._flights.clear()

    def lift(self) -> None:
        """The group has caught up; a ramp whose probe is still out stays."""
        if self._limit >= RAMP_START:
            self._limit = inf

    def ready_at(self, now: float) -> float:
        """The moment at which one more attempt may leave."""
        if self._limit == inf:
            return now
        ready = max(now, self._next_at)
        full = len(self._flights) >= self._limit
        return max(ready, self._sent_at + self._patience) if full else ready

    def charge(self, now: float, serial: int) -> None:
        """Count the attempt with this number, which leaves now."""
        if self._limit == inf:
            return
        self._flights.add(serial)
        self._sent_at = now
        self._next_at = now + RAMP_GAP

    def settle(self, serial: int, *, success: bool) -> None:
        """An attempt came back; `success` when a working server answered it."""
        if serial not in self._flights:
            return
        self._flights.discard(serial)
        if success:
            self._limit = max(RAMP_START, self._limit + 1)
