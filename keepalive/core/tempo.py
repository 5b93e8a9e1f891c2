"""A tempo: the interval at which a group beats, as its demand allows."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from keepalive.core.events import Event, GroupStretched
from keepalive.core.ledger import Ledger
from keepalive.core.plan import GroupPlan, stretch

DEMAND_PERIOD = 60.0
"""Seconds over which the attempts per heartbeat are counted."""

FIT_SECONDS = 1.0
"""Seconds for which an interval holds: the demand is counted in no shorter ones."""

STRETCH_WORTH_TELLING = 0.2
"""Change of the interval, as a part of the nominal one, below which nothing is said."""


class Tempo:
    """Counts what heartbeats cost lately, and stretches the interval so that the demand fits the share.

    Attributes:
        interval: Seconds between two beats of one target; infinite before the first plan.
        fits_until: When it is worth choosing anew, while the plan stays.
    """

    __slots__ = ("_beats", "_group", "_orders", "_tell", "_told", "fits_until", "interval")

    def __init__(self, group: str, tell: Callable[[Event], None]) -> None:
        self.interval = inf
        self.fits_until = -inf
        self._group = group
        self._tell = tell
        self._told = 1.0
        self._orders = Ledger(inf, DEMAND_PERIOD, slots=60)
        self._beats = Ledger(inf, DEMAND_PERIOD, slots=60)

    def charge(self, now: float, *, first: bool) -> None:
        """Count an attempt that leaves now; `first` when a heartbeat begins with it."""
        self._orders.charge(now)
        if first:
            self._beats.charge(now)

    def tries(self, now: float) -> float:
        """Attempts that a heartbeat took lately, at least 1."""
        return max(1.0, self._orders.count(now) / max(1, self._beats.count(now)))

    def fit(self, plan: GroupPlan, targets: int, rate: float, now: float) -> None:
        """Choose the interval for so many targets, and tell it when it is another than was told last.

        Args:
            plan: What is wanted.
            targets: Targets that are held.
            rate: Calls per second that the group may send.
            now: The moment.
        """
        self.fits_until = now + FIT_SECONDS
        self.interval = stretch(plan, targets, rate, self.tries(now))
        nominal = plan.policy.interval
        stretched = 1.0 if self.interval == nominal else self.interval / nominal
        back = stretched == 1.0 != self._told
        if back or abs(stretched - self._told) > STRETCH_WORTH_TELLING:
            self._told = stretched
            self._tell(
                GroupStretched(at=now, rate_group=self._group, interval=self.interval, nominal=nominal)
            )
