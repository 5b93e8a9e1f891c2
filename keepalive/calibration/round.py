"""A round: one heartbeat, the silence that follows when it is the last one, and the heartbeat that ends it.

Moments are seconds of our own clock, dates are seconds by the clock of the events. How far apart the two are
nobody tells, nor how long an event is on its way. So a round says two things: how long after the heartbeat
events stopped, and how long after the next one they went on. Both are off by the same shift, and the
difference of the two is the window.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from keepalive.calibration.interval import Interval

REMEMBERED = 256
"""Delays that are remembered of a round, and dates that were shown."""


class Beat(NamedTuple):
    """An accepted heartbeat. It counted at some moment between its sending and its answer."""

    sent_at: float
    answered_at: float


class Round:
    """What was seen of one silence.

    An event that was shown by the query and not brought by the stream was logged in the silence, unless the
    stream brought a later one: then it was only lost.

    Attributes:
        beat: The last heartbeat before the silence.
        restored: The heartbeat that ended it, once one was sent; answered never, until it was.
        last: The date of the last event that the stream brought before the silence.
        resumed: The date of the first event that it brought after it.
        brought: How many events the stream brought before the silence.
    """

    def __init__(self, beat: Beat, since: float) -> None:
        """Begin.

        Args:
            beat: The heartbeat that starts it.
            since: The date of an event that the stream brought; older ones are not looked at.
        """
        self.beat = beat
        self.restored: Beat | None = None
        self.last = since
        self.resumed: float | None = None
        self.brought = 0
        self._leads: list[float] = []
        self._shown: set[float] = set()

    def restore(self, sent_at: float) -> None:
        """A heartbeat leaves that may end the silence; of several attempts the first may have done it."""
        if self.restored is None:
            self.restored = Beat(sent_at, inf)

    def accept(self, answered_at: float) -> None:
        """That heartbeat was accepted."""
        if self.restored is not None:
            self.restored = self.restored._replace(answered_at=answered_at)

    def deliver(self, date: float, at: float) -> None:
        """The stream brought an event."""
        if self.restored is None or at < self.restored.sent_at:
            self.last = max(self.last, date)
            self.brought += 1
            if len(self._leads) < REMEMBERED:
                self._leads.append(date - at)
        elif (first := self.first_missing) is not None and date < first:
            self.last = max(self.last, date)  # it was on its way for long
        else:
            self.resumed = date if self.resumed is None else min(date, self.resumed)

    def show(self, dates: Iterable[float]) -> None:
        """The query showed events."""
        found = sorted(date for date in {*self._shown, *dates} if date > self.last)
        half = REMEMBERED // 2
        self._shown = set(found if len(found) <= REMEMBERED else found[:half] + found[-half:])

    @property
    def first_missing(self) -> float | None:
        """The date of the first event in the silence; None where none is known."""
        return min((date for date in self._shown if date > self.last), default=None)

    @property
    def missing(self) -> int:
        """How many events are known to be missing, up to a bound."""
        until = inf if self.resumed is None else self.resumed
        return sum(self.last < date < until for date in self._shown)

    @property
    def lapse(self) -> Interval:
        """How long after the heartbeat events stopped: the window and the shift."""
        first = self.first_missing
        high = inf if first is None else first - self.beat.sent_at
        return Interval(self.last - self.beat.answered_at, high)

    @property
    def shift(self) -> Interval | None:
        """How long after the heartbeat that ended the silence events went on, None where they did not.

        No event comes before it was logged, which bounds it too.
        """
        if self.restored is None or self.resumed is None:
            return None
        missing = (date for date in self._shown if self.last < date < self.resumed)
        low = max((date - self.restored.answered_at for date in missing), default=-inf)
        return Interval(max(low, self.lead), self.resumed - self.restored.sent_at)

    @property
    def lead(self) -> float:
        """How far the promptest events were dated ahead of their coming, most often below 0.

        The very promptest are left out: one that is dated wrongly must not spoil a round.
        """
        leads = sorted(self._leads)
        return leads[9 * (len(leads) - 1) // 10] if leads else -inf
