"""The sight: when the events of a stream came, and what that says of their dates."""

from __future__ import annotations

import asyncio
from collections import deque

from keepalive.engine.clock import wait

REMEMBERED = 64
"""Arrivals that are remembered, the newest."""

PATIENCE_SECONDS = 3.0
"""An event that the query shows and the stream has not brought so long after it usually would is missing."""

LONGEST_PATIENCE_SECONDS = 30.0

FAR_SECONDS = 60.0
"""An event that is dated so far ahead of all others is not believed: it would outlast every silence."""

ENOUGH = 5
"""Arrivals that say how events are dated."""


class Sight:
    """What came so far. Moments are seconds of our clock, dates those of the events' clock.

    Attributes:
        count: How many events came.
        last_at: When the last one came; None before the first.
        first_date: The date of the first one.
        last_date: The latest date; 0 before the first.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last_at: float | None = None
        self.first_date: float | None = None
        self.last_date = 0.0
        self._leads: deque[float] = deque(maxlen=REMEMBERED)
        self._news = asyncio.Event()

    def believes(self, date: float, at: float) -> bool:
        """True when an event that comes now may be dated so."""
        return len(self._leads) < ENOUGH or date - at < max(self._leads) + FAR_SECONDS

    def note(self, date: float, at: float) -> None:
        """An event came."""
        self.count += 1
        self.last_at = at
        self.first_date = date if self.first_date is None else self.first_date
        self.last_date = max(date, self.last_date)
        self._leads.append(date - at)
        self._news.set()

    async def more(self, seconds: float) -> None:
        """Wait until another event comes, or for so many seconds."""
        self._news.clear()
        await wait(self._news, seconds)

    def date(self, now: float) -> float:
        """The date at a moment, as far as arrivals tell: it is behind by the delay of the promptest event."""
        return now + max(self._leads, default=0.0)

    @property
    def patience(self) -> float:
        """Seconds after its date until an event counts as missing; more where they come unevenly."""
        leads = self._leads or (0.0,)
        delay, spread = max(0.0, -max(leads)), max(leads) - min(leads)
        return min(LONGEST_PATIENCE_SECONDS, PATIENCE_SECONDS + min(delay, PATIENCE_SECONDS) + 2 * spread)
