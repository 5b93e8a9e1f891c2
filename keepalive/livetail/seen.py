"""What was seen: the ids of late events, so that none is told twice. Its memory is bounded."""

from __future__ import annotations

from collections.abc import Iterable

from keepalive.core.telemetry import Event

CAPACITY = 100_000
"""Events that are remembered at least, where so many came in the last half an hour."""

HORIZON_SECONDS = 1800.0
"""How long an event is remembered at least; no gap is asked about later than that."""

Key = str | int


def key_of(event: Event) -> Key:
    """What identifies an event: its id, or its whole text where it has none."""
    return event.event_id or hash(event.raw)


class Seen:
    """Remembers keys in two generations: when the younger one is full or old, the older one is forgotten."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._younger: set[Key] = set()
        self._older: set[Key] = set()
        self._since = 0.0

    def __contains__(self, event: Event) -> bool:
        key = key_of(event)
        return key in self._younger or key in self._older

    def fresh(self, events: Iterable[Event], now: float) -> list[Event]:
        """Keep those that were not seen before, and remember them.

        Args:
            events: What came.
            now: When it came, in seconds of any clock.
        """
        if len(self._younger) >= self._capacity or now > self._since + HORIZON_SECONDS:
            self._older, self._younger, self._since = self._younger, set(), now
        younger, older = self._younger, self._older
        found = []
        for event in events:
            key = event[1] or hash(event[0])
            if key not in younger and key not in older:
                younger.add(key)
                found.append(event)
        return found
