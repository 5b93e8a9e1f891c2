"""Traffic: how the events of a Worker follow each other, and when the next one is likely."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from itertools import pairwise
from math import ceil
from statistics import median

KNOWN = 64
"""Events that are remembered, the newest."""

ENOUGH = 4
"""Gaps that make a rhythm."""

ALIKE = 0.1
"""The part by which a gap may differ from the usual one and is like it. Where such gaps fill most
of the time, traffic is regular."""


class Traffic:
    """What is known of the traffic. Dates are seconds by the events' own clock, in any order, even twice."""

    def __init__(self) -> None:
        self._dates: set[float] = set()

    def note(self, dates: Iterable[float]) -> None:
        """Remember when events were logged."""
        self._dates.update(dates)
        if len(self._dates) > 2 * KNOWN:
            self._dates = set(nlargest(KNOWN, self._dates))

    @property
    def gap(self) -> float | None:
        """Seconds from one event to the next around a moment, as a rule; None before there are two.

        Around a moment, and not on average: in between bursts nothing comes for long.
        """
        gaps = self._gaps()
        if not gaps:
            return None
        return median(gaps) if self._is_regular(gaps) else sum(gap * gap for gap in gaps) / sum(gaps)

    def next_after(self, date: float) -> float | None:
        """When an event is due after a date; None where traffic is too irregular to tell."""
        gaps = self._gaps()
        if not self._is_regular(gaps):
            return None
        usual = median(gaps)
        newest = max(self._dates)
        return newest + max(0, ceil((date - newest) / usual)) * usual

    def _gaps(self) -> list[float]:
        dates = nlargest(KNOWN, self._dates)
        return [later - sooner for later, sooner in pairwise(dates)]

    @staticmethod
    def _is_regular(gaps: list[float]) -> bool:
        if len(gaps) < ENOUGH:
            return False
        usual = median(gaps)
        return sum(gap for gap in gaps if abs(gap - usual) <= ALIKE * usual) > 0.5 * sum(gaps)
