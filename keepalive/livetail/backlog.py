"""A backlog: the records that wait for a slow reader. Bounded; what does not fit is counted, in its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from keepalive.core.target import Target
from keepalive.core.telemetry import Event
from keepalive.livetail.record import Changed, Dropped, Gap, Record

MOST_BYTES = 32 * 1024 * 1024
MOST_RECORDS = 50_000

_NOTE_BYTES = 300
"""What a record that is no event weighs about."""


class Note(NamedTuple):
    """What a tail has to say of itself, and of which target; None where it concerns all."""

    target: Target | None
    record: Gap | Dropped | Changed


Item = Event | Note


@dataclass(slots=True)
class _Loss:
    """What did not fit since the last record that did: events only as a number, notes merged."""

    events: int = 0
    gaps: dict[Target, Gap] = field(default_factory=dict)
    changes: dict[Target, Changed] = field(default_factory=dict)

    def add(self, target: Target, record: Gap | Dropped | Changed) -> None:
        """Keep the last state of a target, and one gap that spans all of its gaps."""
        match record:
            case Dropped():
                self.events += record.count
            case Changed():
                self.changes[target] = record
            case Gap():
                gap = self.gaps.get(target, record)
                begin, end = min(gap.from_ms, record.from_ms), max(gap.to_ms, record.to_ms)
                self.gaps[target] = Gap(begin, end, record.reason)

    def notes(self) -> list[Note]:
        """What is to be told of it."""
        gaps = [Note(target, gap) for target, gap in self.gaps.items()]
        changes = [Note(target, change) for target, change in self.changes.items()]
        return [*([Note(None, Dropped(self.events))] if self.events else []), *gaps, *changes]


class Backlog:
    """Takes records from the event loop, and gives them to one reader, which may be another thread.

    It needs no lock: each side writes numbers of its own, and a deque is safe between two threads. Once it is
    full nothing is taken until half of it was read, so that a slow reader meets a few long losses and not one
    after every other event.

    Attributes:
        accepted: Events that were taken.
        lost: Events that were not.

    Args:
        most_bytes: Memory that may wait.
        most_records: Records that may wait.
        most_events: Events after which nothing more is taken; infinite by default.
        bell: Called when something comes while the reader sleeps.
        room: Called by the reader when there may be room for a loss to be told: `settle` does that.
        completed: Called when as many events were taken as were wanted.
    """

    def __init__(  # noqa: PLR0913 - three bounds and three bells, all with defaults
        self,
        *,
        most_bytes: int = MOST_BYTES,
        most_records: int = MOST_RECORDS,
        most_events: float = inf,
        bell: Callable[[], object] = lambda: None,
        room: Callable[[], object] = lambda: None,
        completed: Callable[[], object] = lambda: None,
    ) -> None:
        self.accepted = self.lost = 0
        self._most_bytes = most_bytes
        self._most_records = most_records
        self._most_events = most_events
        self._bell = bell
        self._room = room
        self._completed = completed
        self._items: deque[Item] = deque()
        self._loss: _Loss | None = None
        self._came_bytes = self._came = 0
        self._went_bytes = self._went = 0
        self._asleep = False

    @property
    def waiting(self) -> int:
        """Records that wait."""
        return self._came - self._went

    def inlet(self, target: Target) -> Callable[[Record], None]:
        """Where the records of one target are put; it never blocks."""

        def put(record: Record) -> None:
            if isinstance(record, Event):
                self._put_event(record)
            else:
                self._put_note(target, record)

        return put

    # --- the reader's side -------------------------------------------------------------------

    def take(self, most: int) -> list[Item]:
        """Take what waits, at most so many records; they weigh until `release`."""
        items = self._items
        return [items.popleft() for _ in range(min(most, len(items)))]

    def release(self, items: list[Item]) -> None:
        """Say that these were read, and make room."""
        self._went += len(items)
        self._went_bytes += sum(map(_weight, items))
        if self._loss is not None:
            self._room()

    def sleep(self) -> bool:
        """Say that the reader wants to be woken; False when there is something to take already."""
        self._asleep = True
        if self._items:
            self._asleep = False
            return False
        return True

    # --- the loop's side -----------------------------------------------------------------------

    def settle(self, *, at_last: bool = False) -> None:
        """Tell a loss once there is room, although nothing else comes; `at_last` without room too."""
        if self._loss is not None and (at_last or self._has_room()):
            self._resume()

    def _put_event(self, event: Event) -> None:
        if self.accepted >= self._most_events:
            return
        if self._loss is not None:
            self.settle()
        if self._loss is not None or not self._has_room():
            self._begin_loss().events += 1
            self.lost += 1
            self.settle()  # the reader may have made room meanwhile, and known of no loss
            return
        self.accepted += 1
        self._append(event)
        if self.accepted >= self._most_events:
            self._completed()

    def _put_note(self, target: Target, record: Gap | Dropped | Changed) -> None:
        if self.accepted >= self._most_events:
            return
        self.settle()
        if self._loss is not None or not self._has_room():
            self._begin_loss().add(target, record)
            self.settle()
            return
        self._append(Note(target, record))

    def _has_room(self) -> bool:
        share = 1 if self._loss is None else 2
        return (self._came - self._went) * share < self._most_records and (
            self._came_bytes - self._went_bytes
        ) * share < self._most_bytes

    def _begin_loss(self) -> _Loss:
        self._loss = self._loss or _Loss()
        return self._loss

    def _resume(self) -> None:
        loss, self._loss = self._loss, None
        for note in loss.notes() if loss else ():
            self._append(note)

    def _append(self, item: Item) -> None:
        self._came += 1
        self._came_bytes += _weight(item)
        self._items.append(item)
        if self._asleep:
            self._asleep = False
            self._bell()


def _weight(item: Item) -> int:
    """Bytes of memory, about; by what the text takes, which is more than its characters."""
    return item.raw.__sizeof__() + _NOTE_BYTES if type(item) is Event else _NOTE_BYTES
