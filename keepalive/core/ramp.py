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

    __slots__ = ("_began_at", "_flights", "_limit", "_next_at", "_patience", "_sent_at")

    def __init__(self) -> None:
        self._limit = inf
        self._flights = 0
        self._began_at = -inf
        self._next_at = -inf
        self._sent_at = -inf
        self._patience = 0.0

    @property
    def active(self) -> bool:
        """Whether the group is still coming back."""
        return self._limit < inf

    def begin(self, now: float, limit: int, patience: float) -> None:
        """Start over with `limit` in flight; those already under way do not count."""
        self._limit, self._flights, self._began_at, self._next_at = limit, 0, now, now
        self._patience = patience

    def lift(self) -> None:
        """The group has caught up."""
        self._limit = inf

    def ready_at(self, now: float) -> float:
        """The moment at which one more attempt may leave."""
        if self._limit == inf:
            return now
        ready = max(now, self._next_at)
        return max(ready, self._sent_at + self._patience) if self._flights >= self._limit else ready

    def charge(self, now: float) -> None:
        """Count one attempt that leaves now."""
        self._flights += 1
        self._sent_at = now
        self._next_at = now + RAMP_GAP

    def settle(self, sent_at: float, *, success: bool) -> None:
        """An attempt came back; `success` when a working server answered it."""
        if sent_at < self._began_at:
            return
        self._flights -= 1
        if success:
            self._limit = max(RAMP_START, self._limit + 1)
