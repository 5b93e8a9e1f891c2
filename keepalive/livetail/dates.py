"""Dates: the time by which events are dated, told from our own clock and from how late events come."""

from __future__ import annotations

from collections.abc import Callable


class Dates:
    """Tells the date by the events' clock, in milliseconds of Unix time.

    Before the first event that is our own clock's date. From then on it is that less the shortest way of
    late: what our clock is ahead, with the delivery of the promptest event in it.

    Args:
        wall_clock: Our own clock, in seconds since 1970.
    """

    _FADING_MS = 1

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._ahead_ms: int | None = None

    @property
    def known(self) -> bool:
        """False before the first event."""
        return self._ahead_ms is not None

    def ours_ms(self) -> int:
        """The date by our own clock."""
        return int(self._wall_clock() * 1000)

    def now_ms(self, ago: float = 0.0) -> int:
        """The date so many seconds ago."""
        return self.ours_ms() - (self._ahead_ms or 0) - int(ago * 1000)

    def learn(self, ahead_ms: int) -> None:
        """An event came when our clock was so far ahead of its date."""
        known_ms = self._ahead_ms
        self._ahead_ms = ahead_ms if known_ms is None else min(ahead_ms, known_ms + self._FADING_MS)
