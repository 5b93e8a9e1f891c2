"""A ledger: how many calls left in a sliding period, and when one more fits."""

from __future__ import annotations

from array import array
from math import floor, inf

_LONG_AGO = -(10**12)
"""A slot before all moments: those of an earlier boot are below zero on the clock of this one."""


class Ledger:
    """Calls sent in a sliding period.

    Time is cut into slots and a call counts until its whole slot is a period old: the count is never below
    the true one, and above it by at most one slot's calls. Memory is fixed, whatever the rate.
    """

    __slots__ = ("_counts", "_head", "_slot", "_total", "limit", "period")

    def __init__(self, limit: float, period: float, slots: int = 300) -> None:
        self.limit = limit
        self.period = period
        self._slot = period / slots
        self._counts = array("I", [0]) * (slots + 1)
        self._head = _LONG_AGO
        self._total = 0

    def _advance(self, now: float) -> None:
        index = floor(now / self._slot)
        if index <= self._head:
            return
        size = len(self._counts)
        for step in range(max(self._head + 1, index - size + 1), index + 1):
            self._total -= self._counts[step % size]
            self._counts[step % size] = 0
        self._head = index

    def count(self, now: float) -> int:
        """Calls that count at `now`."""
        self._advance(now)
        return self._total

    def charge(self, now: float, calls: int = 1) -> None:
        """Count calls that leave now."""
        self._advance(now)
        self._counts[self._head % len(self._counts)] += calls
        self._total += calls

    def ready_at(self, now: float, part: float = 1.0) -> float:
        """The moment at which one more call fits under the limit, or under a part of it."""
        self._advance(now)
        excess = self._total - self.limit * part + 1
        if excess <= 0:
            return now
        size = len(self._counts)
        for index in range(self._head - size + 1, self._head + 1):
            excess -= self._counts[index % size]
            if excess <= 0:
                return max(now, (index + size) * self._slot)
        return inf

    def save(self, now: float) -> tuple[tuple[float, int], ...]:
        """The calls that still count, as `(moment, calls)`, oldest first."""
        self._advance(now)
        size = len(self._counts)
        return tuple(
            ((index + 0.999) * self._slot, self._counts[index % size])
            for index in range(self._head - size + 1, self._head + 1)
            if self._counts[index % size]
        )

    def restore(self, calls: tuple[tuple[float, int], ...]) -> None:
        """Take over what another ledger saved; the moments are on this ledger's clock, oldest first."""
        for moment, count in calls:
            self.charge(moment, count)
