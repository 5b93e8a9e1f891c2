"""A session: one connection of a tail, with the dates of what it brought."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from keepalive.core.telemetry import Event
from keepalive.livetail.ports import Connection

FAR_MS = 86_400_000
"""A date further from ours than a day is not believed: it would put everything else in doubt, or nothing."""


def latest_of(events: Sequence[Event], now_ms: int) -> int | None:
    """The latest date of these events that can be true at this date of our clock; None where none has one."""
    latest = 0
    for event in events:
        if latest < event.timestamp < now_ms + FAR_MS:
            latest = event.timestamp
    return None if latest < now_ms - FAR_MS else latest


class Session:
    """One connection, from its opening to its end.

    Attributes:
        connection: What it reads from.
        up_at: When it was opened, on the loop's clock.
        up_ms: The same in the events' time, as far as that is known.
        last_at: When the last event came; `up_at` before the first.
        first: Set once an event came.
        trusted: True when what it brings is told as it comes.
        waiting: What came while it was not known yet whether the session before it brings it too.
        suspect: True when eligibility lapsed since the last event: the next one may not be the next one.
        retired: True when another one has taken over without a loss.
    """

    def __init__(self, connection: Connection, up_at: float, up_ms: int) -> None:
        self.connection = connection
        self.up_at = self.last_at = up_at
        self.up_ms = up_ms
        self.first = asyncio.Event()
        self.waiting: list[Event] = []
        self.trusted = self.suspect = False
        self.retired = False
        self._last_ms: int | None = None
        self._verified_ms = 0

    @property
    def certain_ms(self) -> int:
        """Everything before this date was brought, or was known to be missing."""
        return max(self.up_ms if self._last_ms is None else self._last_ms, self._verified_ms)

    def note(self, at: float, latest_ms: int | None) -> None:
        """Remember that events came, at this moment; the last of them of this date, where they have one."""
        self.last_at = at
        self.first.set()
        if latest_ms is not None:
            self._last_ms = latest_ms if self._last_ms is None else max(self._last_ms, latest_ms)

    def correct(self, by_ms: int) -> None:
        """Our own clock, which told the dates so far, is so far behind that of the events."""
        self.up_ms += by_ms
        self._verified_ms = max(0, self._verified_ms + by_ms)

    def verify(self, before_ms: int) -> None:
        """The archive shows nothing before this date that was not brought."""
        self._verified_ms = max(self._verified_ms, before_ms)
