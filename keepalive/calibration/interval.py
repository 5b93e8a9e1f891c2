"""Intervals: what each round says of a number, and what most rounds agree on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import NamedTuple


class Interval(NamedTuple):
    """A number lies above `low`, and is at most `high`."""

    low: float = -inf
    high: float = inf

    @property
    def middle(self) -> float:
        """What cuts it in half; infinite, or no number, where a side is open."""
        return (self.low + self.high) / 2


class Agreement(NamedTuple):
    """What most of some intervals share.

    Attributes:
        interval: From the first to the last number that so many of them hold.
        votes: How many that is.
    """

    interval: Interval = Interval()
    votes: int = 0


def agreed(intervals: Sequence[Interval]) -> Agreement:
    """Find the numbers that most intervals hold.

    One that is wrong, for an event that was lost is taken for the end, is outvoted once two others agree.
    Where votes are equal the numbers in between count as open too.
    """
    edges = sorted([(each.low, 1) for each in intervals] + [(each.high, -1) for each in intervals])
    best = Agreement()
    votes = 0
    for (edge, step), following in pairwise(edges):
        votes += step
        if following[0] <= edge:
            continue
        if votes > best.votes:
            best = Agreement(Interval(edge, following[0]), votes)
        elif votes == best.votes and votes:
            best = Agreement(Interval(best.interval.low, following[0]), votes)
    return best
