"""The ticker: the last events, as lines for a screen."""

from __future__ import annotations

from collections import deque

from keepalive.core.events import AttemptFailed, Event, HeartbeatAccepted, Level
from keepalive.sinks.console import console
from keepalive.sinks.line import Line, WallAt, line_of
from keepalive.sinks.repeats import Repeats

REMEMBERED = 100
"""Lines; more than a terminal is high."""

REPEATS_WITHIN = 1.0
"""Seconds within which a fault is told once. The log takes ten; here time runs faster."""


def noteworthy(event: Event) -> bool:
    """Whether a spectator wants to see it: all but the heartbeats that went well at once."""
    match event:
        case HeartbeatAccepted():
            return event.attempt > 1
        case AttemptFailed():
            return True
        case _:
            return event.level is not Level.DEBUG


_TOLD = frozenset(
    {"timestamp", "level", "event", "target", "from_state", "to_state", "attempt", "cause", "rate_group"}
    | {"targets", "rate_groups", "window_seconds", "interval_seconds", "eligible", "in_flight", "repeats"}
    | {"scope", "open_for_seconds", "retry_after_seconds"}
)
"""What fits into the width of a terminal; the log has the rest."""


def _brief(line: Line) -> Line:
    brief = {key: value for key, value in line.items() if key in _TOLD}
    return brief | {"hedge": True} if line.get("hedge") else brief


class Ticker:
    """A sink that keeps the last lines as the console renders them, with what a screen has room for."""

    def __init__(self, wall_at: WallAt, *, colour: bool) -> None:
        """Make it ready; `wall_at` turns a moment of the engine's clock into seconds since 1970."""
        self._lines: deque[str] = deque(maxlen=REMEMBERED)
        self._render = console(colour=colour)
        self._wall_at = wall_at
        self._repeats = Repeats(REPEATS_WITHIN)

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._lines)

    def __call__(self, event: Event) -> None:
        """Keep the line of an event."""
        for line in self._repeats.passed(line_of(event, self._wall_at), event.at):
            self._lines.extend(self._render(_brief(line)).splitlines())

    def announce(self, text: str) -> None:
        """Keep a line of the demo's own."""
        self._lines.append(f"── {text}")
