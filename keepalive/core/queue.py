"""A queue: who is due when, and who of those that are due goes first."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf

from keepalive.core.hold import Hold

_Urgency = tuple[int, float]


class DueQueue:
    """Two heaps: targets armed for a moment, and those whose moment has come, by urgency.

    First those that can still be saved, the nearest renew deadline first; then those never renewed yet;
    then those that have lapsed.
    """

    __slots__ = ("_armed", "_due", "_ticket", "window")

    def __init__(self) -> None:
        self.window = inf
        self._armed: list[tuple[float, int, Hold]] = []
        self._due: list[tuple[int, float, int, Hold]] = []
        self._ticket = 0

    def __bool__(self) -> bool:
        """Whether anyone is due, as of the last `gather`."""
        while self._due and self._due[0][2] != self._due[0][3].ticket:
            heappop(self._due)
        return bool(self._due)

    def arm(self, hold: Hold, at: float) -> None:
        """Make a target due at `at`, and at no other moment; infinity disarms it."""
        hold.due_at, hold.ticket = at, 0
        if at < inf:
            self._ticket += 1
            heappush(self._armed, (at, self._ticket, hold))

    def disarm_all(self) -> None:
        """Forget all moments to come; those already due stay."""
        self._armed.clear()

    def next_at(self) -> float:
        """The next moment at which someone becomes due."""
        while self._armed and not self._holds(self._armed[0]):
            heappop(self._armed)
        return self._armed[0][0] if self._armed else inf

    def gather(self, now: float) -> None:
        """Move everyone whose moment has come to those who are due."""
        while self._armed and self._armed[0][0] <= now:
            entry = heappop(self._armed)
            if self._holds(entry):
                self._enqueue(entry[2], now)

    def pop(self, now: float) -> Hold:
        """Take out the most urgent of those who are due. Ask only while the queue is true."""
        while True:
            urgency, deadline, ticket, hold = heappop(self._due)
            if ticket != hold.ticket:
                continue
            if (urgency, deadline) < self._urgency(hold, now):  # it lapsed while it waited
                self._enqueue(hold, now)
                continue
            hold.ticket = 0
            return hold

    def pop_least_failed(self) -> Hold:
        """Take out the one with the fewest failures: a target that always fails must not be the probe."""
        waiting = [entry for entry in self._due if entry[2] == entry[3].ticket]
        chosen = min(waiting, key=lambda entry: (entry[3].failures, entry[:3]))
        waiting.remove(chosen)
        heapify(waiting)
        self._due = waiting
        chosen[3].ticket = 0
        return chosen[3]

    @staticmethod
    def _holds(entry: tuple[float, int, Hold]) -> bool:
        return entry[0] == entry[2].due_at and not entry[2].ticket

    def _urgency(self, hold: Hold, now: float) -> _Urgency:
        deadline = hold.deadline(self.window)
        if deadline <= now:
            return 2, deadline
        return (1, deadline) if hold.renewed_at is None else (0, deadline)

    def _enqueue(self, hold: Hold, now: float) -> None:
        self._ticket += 1
        hold.ticket = self._ticket
        heappush(self._due, (*self._urgency(hold, now), self._ticket, hold))
