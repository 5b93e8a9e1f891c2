"""An opinion: what a group says of one target over time, to be held against the truth."""

from __future__ import annotations

from math import inf

from keepalive.core.eligibility import Eligibility


class Opinion:
    """When the group called a target eligible or at risk.

    Attributes:
        state: What it says now; None before it spoke.
    """

    __slots__ = ("_held_from", "_spans", "state")

    def __init__(self) -> None:
        self.state: Eligibility | None = None
        self._held_from: float | None = None
        self._spans: list[tuple[float, float]] = []

    def hear(self, state: Eligibility | None, at: float) -> None:
        """The group says what the target is from `at` on; None when it has nothing to say any more."""
        self.state = state
        holds = state is not None and state.holds
        if holds and self._held_from is None:
            self._held_from = at
        elif not holds and self._held_from is not None:
            self._spans.append((self._held_from, at))
            self._held_from = None

    def against(self, gaps: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Where the opinion was better than the truth: its overlaps with times of no eligibility.

        Moments within a microsecond are one.
        """
        spans = self._spans if self._held_from is None else [*self._spans, (self._held_from, inf)]
        overlaps = [(max(begin, start), min(end, until)) for begin, end in spans for start, until in gaps]
        return [(start, until) for start, until in overlaps if until - start > 1e-6]
