"""The history: the last changes of eligibility, for those who ask what has just happened."""

from __future__ import annotations

from collections import deque
from itertools import islice

from keepalive.core.events import EligibilityChanged, Event
from keepalive.sinks.line import Line, WallAt, line_of

REMEMBERED = 1_000
"""Changes that are kept; about a megabyte."""


class History:
    """A sink that remembers what changed, and forgets the oldest first."""

    def __init__(self, wall_at: WallAt, *, remembered: int = REMEMBERED) -> None:
        """Make it ready.

        Args:
            wall_at: Turns a moment of the engine's clock into seconds since 1970.
            remembered: Changes that are kept.
        """
        self._wall_at = wall_at
        self._changes: deque[EligibilityChanged] = deque(maxlen=remembered)

    def __len__(self) -> int:
        """How many it remembers."""
        return len(self._changes)

    def __call__(self, event: Event) -> None:
        """Remember a change of eligibility; any other event is none of its business."""
        if isinstance(event, EligibilityChanged):
            self._changes.append(event)

    def lines(self, limit: int = REMEMBERED) -> list[Line]:
        """The newest changes first, at most `limit`, with the keys of their log lines.

        Ten microseconds each, so ask for many of them in a thread; the loop may go on meanwhile.
        """
        newest = list(islice(reversed(self._changes), limit))  # in one step, which no event can come between
        return [line_of(change, self._wall_at) for change in newest]
