"""A meter: calls counted exactly, in a sliding period. It measures what the core's own ledger promises."""

from __future__ import annotations

from collections import deque

_SAME = 1e-6
"""Moments this close are one: a sum of floats is not the judge of a quota."""


class Meter:
    """Every call of the last period, and the most that any period held.

    A period is half open: two calls exactly one period apart do not share one.
    """

    __slots__ = ("_calls", "_period", "worst")

    def __init__(self, period: float) -> None:
        self._calls: deque[float] = deque()
        self._period = period - _SAME
        self.worst = 0

    def count(self, now: float) -> int:
        """Add a call at `now`, which never goes back, and say how many the period then holds."""
        calls = self._calls
        calls.append(now)
        oldest = now - self._period
        while calls[0] < oldest:
            calls.popleft()
        held = len(calls)
        if held > self.worst:  # noqa: PLR1730  a call of max() costs more than the rest, millions of times
            self.worst = held
        return held
