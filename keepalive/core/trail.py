"""A trail: what was sent since the last answer, and whether it shows a dead origin."""

from __future__ import annotations

from math import inf

from keepalive.core.target import Target

TRAIL_ATTEMPTS = 10
"""Attempts that an origin has to fail, with no answer between them."""

TRAIL_TARGETS = 5
"""Targets over which they have to be spread (or all, where there are fewer)."""

TRAIL_SILENCE = 5.0
"""Seconds without any answer below 500 that have to pass as well."""


class Trail:
    """The attempts of a group that left after the last answer below 500.

    An answer clears it, so faults count in the order of sending: hangs come back late and in crowds, and
    what left before an answer says nothing of the origin any more. An attempt that is still unanswered
    counts once it is overdue; a younger one says nothing yet.
    """

    __slots__ = ("_answered_at", "_failures", "_pending")

    def __init__(self) -> None:
        self._answered_at = -inf
        self._failures: dict[Target, int] = {}
        self._pending: dict[int, tuple[Target, float]] = {}

    def sent(self, serial: int, target: Target, now: float) -> None:
        """An attempt left."""
        self._pending[serial] = (target, now)

    def failed(self, serial: int, *, outrun: bool) -> None:
        """It came back with nothing below 500, or not at all.

        One that was outrun, or whose target is gone, is no fault of the origin and leaves no trace.
        """
        entry = self._pending.pop(serial, None)
        if entry is not None and not outrun:
            self._failures[entry[0]] = self._failures.get(entry[0], 0) + 1

    def answered(self, now: float) -> None:
        """Something below 500 came back."""
        self._answered_at = now
        self._failures.clear()
        self._pending.clear()

    def dead(self, now: float, overdue: float, targets: int) -> bool:
        """Whether the origin is down.

        Args:
            now: The moment.
            overdue: Seconds after which an answer is later than usual.
            targets: Targets in the group.
        """
        if now - self._answered_at < TRAIL_SILENCE:
            return False
        attempts, seen = sum(self._failures.values()), set(self._failures)
        for target, sent_at in self._pending.values():
            if now - sent_at <= overdue or (attempts >= TRAIL_ATTEMPTS and len(seen) >= TRAIL_TARGETS):
                break
            attempts += 1
            seen.add(target)
        return attempts >= TRAIL_ATTEMPTS and len(seen) >= min(TRAIL_TARGETS, targets) > 0
