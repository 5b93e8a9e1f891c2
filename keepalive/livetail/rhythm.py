"""The rhythm of a stream: how events usually follow each other, so that an unusual silence is one."""

from __future__ import annotations


class Rhythm:
    """Remembers the longest silence of late.

    Attributes:
        longest: It, in seconds; it fades with each event.
    """

    _FADING = 0.9995
    _ENOUGH = 50
    _TIMES = 10

    def __init__(self) -> None:
        self.longest = 0.0
        self._events = 0

    def note(self, silence: float, events: int) -> None:
        """Remember a silence and the events that ended it."""
        self._events += events
        faded = self.longest * self._FADING**events
        self.longest = max(faded, silence)

    def breaks(self, silence: float, least: float) -> bool:
        """True when a silence of at least so many seconds was never seen in a stream that is well known."""
        return silence >= least and self._events >= self._ENOUGH and silence > self._TIMES * self.longest

    def worth_a_look(self, least: float, most: float) -> float:
        """Seconds of silence from which a look at the archive is worth a call."""
        if self._events < self._ENOUGH:
            return most
        return min(most, max(least, self._TIMES * self.longest))
