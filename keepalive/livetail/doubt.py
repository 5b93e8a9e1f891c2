"""A doubt: a stretch of time of which it is not known yet whether every event of it was brought.

Time is an argument. Dates are the events' own, in milliseconds of Unix time; moments are seconds of any
clock that never jumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import merge
from math import inf

from keepalive.core.telemetry import Event
from keepalive.livetail.archive import Look, Span
from keepalive.livetail.record import Gap
from keepalive.livetail.session import FAR_MS

SLACK_MS = 10_000
"""How far an event may come out of its turn. A doubt reaches so much further at both ends."""

PATIENCE_SECONDS = 30.0
"""How long the index is waited for, once there is a stream again; nobody says how far it lags."""

SHORT_PATIENCE_SECONDS = 5.0
"""The same where it did not even show what a stream had brought: the Worker's logs may not be stored."""

LONGEST_HOLD_SECONDS = 60.0
"""How long an event of the stream is held back at most, whatever breaks meanwhile."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0
"""Between two looks at the archive that did not show enough."""

SETTLE_SECONDS = 2.0
"""How long after the anchor an event may be indexed that was logged before it."""

MOST_HELD = 20_000
MOST_HELD_BYTES = 32 * 1024 * 1024
"""What is held back at most, in events and in characters of them."""


class Doubt:
    """Holds back what the stream brings until the doubt about what came before is settled.

    Attributes:
        certain_ms: Everything before it was told. A query begins there, less the slack.
        heard_ms: The far side was heard then. A gap that is told begins there, less the slack.
        anchor: The first event of the stream after the doubt: once the index shows it, it shows all before.
        until: The moment at which it is given up; infinite without a stream.
        pause: Seconds until the archive should be looked at again.
        shown: True once the archive showed something that a stream had brought.
    """

    def __init__(self, certain_ms: int, heard_ms: int) -> None:
        self.certain_ms = certain_ms
        self.heard_ms = max(heard_ms, certain_ms)
        self.anchor: Event | None = None
        self.until = inf
        self.pause = FIRST_PAUSE_SECONDS
        self.shown = False
        self._fault = ""
        self._looked = False
        self._shown_at = inf
        self._joined_ms: int | None = None
        self._joined_at = inf
        self._held: list[Event] = []
        self._held_size = 0
        self._held_at = inf
        self._found: dict[str, Event] = {}

    @property
    def joined(self) -> bool:
        """True while there is a stream whose events are held back."""
        return self._joined_ms is not None

    @property
    def recovered(self) -> int:
        """Events that only the archive brought."""
        return len(self._found.keys() - {event.event_id or event.raw for event in self._held})

    @property
    def overflows(self) -> bool:
        """True when no more can be held back."""
        return len(self._held) > MOST_HELD or self._held_size > MOST_HELD_BYTES

    def join(self, at: float, now_ms: int, patience: float) -> None:
        """There is a stream, from this moment and date on."""
        self._joined_ms, self._joined_at, self.anchor = now_ms, at, None
        self._begin_looks()
        self._give_until(at + patience)

    def leave(self) -> None:
        """The stream broke. The doubt reaches on; what is held stays held."""
        self._joined_ms = self.anchor = None

    def widen(self, certain_ms: int, heard_ms: int) -> None:
        """Doubt what another session may have missed too."""
        self.certain_ms = min(self.certain_ms, certain_ms)
        self.heard_ms = min(self.heard_ms, max(heard_ms, certain_ms))

    def correct(self, by_ms: int) -> None:
        """Our own clock, which told the dates so far, is so far behind that of the events."""
        self.certain_ms += by_ms
        self.heard_ms += by_ms
        if self._joined_ms is not None:
            self._joined_ms += by_ms

    def hold(self, events: Sequence[Event], at: float) -> None:
        """Hold back what a stream brought."""
        if not events:
            return
        self._held += events
        self._held_size += sum(len(event.raw) for event in events)
        self._held_at = min(self._held_at, at)

    def fasten(self, events: Sequence[Event], at: float, now_ms: int, patience: float) -> None:
        """Take the first of these events that can be looked for as the anchor, where there is none yet."""
        if self.anchor is None and self.joined:
            self.anchor = next((each for each in events if each.event_id and _believed(each, now_ms)), None)
            if self.anchor is not None:
                self._begin_looks()
                self._give_until(at + patience)

    def span(self, now_ms: int) -> Span:
        """What a query should ask for at this date."""
        end_ms = self.anchor.timestamp if self.anchor else max(now_ms, self.certain_ms)
        return Span(max(0, self.certain_ms - SLACK_MS), end_ms + SLACK_MS)

    def find(self, events: Iterable[Event]) -> None:
        """Take what the archive showed and nothing had brought yet.

        An event without an id cannot be compared: it is taken where the doubt has no overlap with a stream.
        """
        end_ms = self.anchor.timestamp if self.anchor else inf
        for event in events:
            if event.event_id:
                self._found[event.event_id] = event
            elif self.certain_ms < event.timestamp < end_ms:
                self._found[event.raw] = event

    def weigh(self, look: Look | None, at: float) -> str | None:
        """Say what a look at the archive means.

        Args:
            look: What it showed; None where patience ended before.
            at: When it was over.

        Returns:
            "" when the doubt is settled, the reason for a gap when it cannot be, None to look again.
        """
        if look is None:
            self._fault = self._fault or ("" if self._looked else "timeout")
            return None
        self.pause = max(look.pause, min(LONGEST_PAUSE_SECONDS, self.pause * 2))
        self._fault = look.fault.cause if look.fault else ""
        if look.fault:
            return self._fault if look.denied else None
        self._looked = True
        if self.anchor is None or not look.shows(self.anchor):
            return None
        self._shown_at = min(self._shown_at, at)
        self.pause = SETTLE_SECONDS
        if at < self._shown_at + SETTLE_SECONDS:
            return None
        return "" if look.whole else "too_many"

    def lag_of(self, look: Look, now_ms: int, known_ms: int) -> int:
        """Say how far the index lags at least, by what of the held events a whole look shows.

        Args:
            look: What it showed.
            now_ms: Its date.
            known_ms: What was known before; less where the index has caught up.
        """
        shown = {event.event_id for event in look.events}
        brought = [each for each in self._held if each.event_id and self.certain_ms < each.timestamp < now_ms]
        newest_ms = max((each.timestamp for each in brought if each.event_id in shown), default=0)
        end_ms = self.span(now_ms).end_ms
        oldest_ms = min((at for _, _, at, _ in brought if newest_ms < at < end_ms), default=now_ms)
        return max(min(known_ms, now_ms - newest_ms), now_ms - oldest_ms)

    def verdict(self, at: float, lag: float, *, stored: bool) -> str:
        """Say why it is a gap when patience is over, or "" where nothing speaks for one.

        Args:
            at: When that is.
            lag: Seconds after which an event is surely indexed.
            stored: True when the archive ever showed what a stream had brought.
        """
        if self._fault:
            return self._fault
        if not self.joined:
            return "disconnected"
        if self.anchor is None and not stored:
            return "unconfirmed"
        if self.anchor is None and at >= self._joined_at + lag:
            return ""  # what was logged before there was a stream is indexed by now
        return "not_indexed" if stored else "not_stored"

    def settle(self, before_ms: int) -> list[Event]:
        """Give what was found and logged before a date since which nothing older is indexed any more."""
        ready = sorted((each for each in self._found.values() if each.timestamp < before_ms), key=_turn)
        for event in ready:
            self._found.pop(event.event_id or event.raw)
        self.certain_ms = max(self.certain_ms, before_ms)
        self.heard_ms = max(self.heard_ms, before_ms)
        return ready

    def end(self, reason: str, now_ms: int) -> list[Event | Gap]:
        """Give everything in order: what was found, the gap if there is a reason for one, what was held.

        What was held keeps the order in which it came. What was found and is newer is left out where it can
        be had again: the index may still show it with holes.
        """
        found = [(each.timestamp, each) for each in sorted(self._found.values(), key=_turn)]
        if self.anchor is not None or not reason:
            newest_ms = max((event.timestamp for event in self._held), default=0)
            found = [row for row in found if row[0] <= newest_ms]
        if reason and not self.shown:  # its ids may not be those of the stream: take no event twice
            found = [row for row in found if self.certain_ms < row[0] < self._end_ms(now_ms)]
        rows = list(merge(found, _in_turn(self._held), key=lambda row: row[0]))
        if not reason:
            return [event for _, event in rows]
        gap = self._gap(reason, now_ms)
        before: list[Event | Gap] = [event for date, event in rows if date < gap.from_ms]
        return [*before, gap, *(event for date, event in rows if date >= gap.from_ms)]

    def _gap(self, reason: str, now_ms: int) -> Gap:
        begin_ms = max(0, self.heard_ms - SLACK_MS)
        return Gap(begin_ms, max(begin_ms, self._end_ms(now_ms) + SLACK_MS), reason)

    def _end_ms(self, now_ms: int) -> int:
        if self.anchor is not None:
            return self.anchor.timestamp
        return now_ms if self._joined_ms is None else self._joined_ms

    def _begin_looks(self) -> None:
        self.pause, self._looked, self._shown_at = FIRST_PAUSE_SECONDS, False, inf

    def _give_until(self, moment: float) -> None:
        self.until = min(moment, self._held_at + LONGEST_HOLD_SECONDS)


def _believed(event: Event, now_ms: int) -> bool:
    return now_ms - FAR_MS < event.timestamp < now_ms + FAR_MS


def _turn(event: Event) -> tuple[int, str]:
    return event.timestamp, event.event_id


def _in_turn(events: list[Event]) -> list[tuple[int, Event]]:
    """Give each event a date that is not before that of any event in front of it."""
    rows, latest = [], 0
    for event in events:
        latest = max(latest, event.timestamp)
        rows.append((latest, event))
    return rows
