"""A pace: so many attempts a second and no burst above it."""

from __future__ import annotations

BURST_SECONDS = 0.01
"""How much of a second's attempts may leave at one moment: what a dispatcher misses while it sleeps."""


class Pace:
    """A gate that spreads attempts evenly; no second ever holds more than `limit` of them.

    A crowd that left at one moment would also open a connection each; spread over a second, most of it
    finds one that is free again. The first `limit` attempts, for which none is open yet, leave at half
    the pace.
    """

    __slots__ = ("_cold", "_gap", "_next_at")

    def __init__(self, limit: float) -> None:
        """Make it ready for `limit` attempts per second, at least 1."""
        self._gap = (1 + BURST_SECONDS) / max(1.0, limit - 1)
        self._next_at = 0.0
        self._cold = limit

    def ready_at(self, now: float) -> float:
        """The moment at which one more attempt may leave."""
        return max(now, self._next_at - BURST_SECONDS)

    def charge(self, now: float) -> None:
        """Count one attempt that leaves now."""
        gap = self._gap if self._cold <= 0 else 2 * self._gap
        self._cold -= 1
        self._next_at = max(now, self._next_at) + gap
