"""A trail: the last attempts of a group in the order of sending, and whether they show a dead origin."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf

from keepalive.core.target import Target

TRAIL_LENGTH = 10
"""Attempts in a row that an origin has to fail."""

TRAIL_TARGETS = 5
"""Targets over which they have to be spread (or all, where there are fewer)."""

TRAIL_SILENCE = 5.0
"""Seconds without any answer below 500 that have to pass as well."""


@dataclass(slots=True)
class _Sent:
    serial: int
    target: Target
    sent_at: float
    failed: bool = False


class Trail:
    """The last attempts of a group in the order of sending: hangs come back late and in crowds."""

    __slots__ = ("_answered_at", "_sent")

    def __init__(self) -> None:
        self._answered_at = -inf
        self._sent: deque[_Sent] = deque(maxlen=TRAIL_LENGTH)

    def sent(self, serial: int, target: Target, now: float) -> None:
        """An attempt left."""
        self._sent.append(_Sent(serial, target, now))

    def failed(self, serial: int, *, outrun: bool) -> None:
        """It came back with nothing below 500, or not at all.

        One that was outrun, or whose target is gone, is no fault of the origin and leaves no trace.
        """
        for entry in reversed(self._sent):
            if entry.serial == serial:
                entry.failed = True
                if outrun:
                    self._sent.remove(entry)
                return

    def answered(self, now: float) -> None:
        """Something below 500 came back: whatever was sent before says nothing of the origin any more."""
        self._answered_at = now
        self._sent.clear()

    def dead(self, now: float, overdue: float, targets: int) -> bool:
        """Whether the origin is down.

        Args:
            now: The moment.
            overdue: Seconds after which an answer is later than usual.
            targets: Targets in the group.
        """
        if now - self._answered_at < TRAIL_SILENCE or len(self._sent) < TRAIL_LENGTH:
            return False
        if not all(entry.failed or now - entry.sent_at > overdue for entry in self._sent):
            return False
        return len({entry.target for entry in self._sent}) >= min(TRAIL_TARGETS, targets)
