"""The log: every event as one line on stderr, JSON for programs or a console for people."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum

from structlog.processors import JSONRenderer

from keepalive.core.events import Event, Level
from keepalive.sinks import journal
from keepalive.sinks.console import console
from keepalive.sinks.line import Line, WallAt, line_of
from keepalive.sinks.outlet import Outlet
from keepalive.sinks.repeats import Repeats

Renderer = Callable[[Line], str]

_RANKS = {level: rank for rank, level in enumerate(Level)}


class LogFormat(StrEnum):
    """How lines look; `auto` is `console` on a terminal and `json` elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogSink:
    """Takes events and writes the lines of those that matter enough. Never blocks, never raises."""

    def __init__(
        self,
        outlet: Outlet,
        render: Renderer,
        *,
        wall_at: WallAt,
        level: Level = Level.INFO,
        priorities: bool = False,
    ) -> None:
        """Make it ready.

        Args:
            outlet: Where lines go.
            render: How they look.
            wall_at: Turns a moment of the engine's clock into seconds since 1970.
            level: The least level that is written; what lies below costs next to nothing.
            priorities: True to put `<N>` before every line, which the journal understands.
        """
        self._outlet = outlet
        self._render = render
        self._wall_at = wall_at
        self._least = _RANKS[level]
        self._priorities = priorities
        self._repeats = Repeats()
        self._lost = 0

    def __call__(self, event: Event) -> None:
        """Write the line of an event, or hide and count it when it is a repeat."""
        if _RANKS[event.level] < self._least:
            return
        for line in self._repeats.passed(line_of(event, self._wall_at), event.at):
            self._tell(line)

    @property
    def dropped(self) -> int:
        """Lines that were lost because nobody read the others fast enough."""
        return self._outlet.dropped

    def close(self, timeout: float = 1.0) -> bool:
        """Write the repeats that are still hidden and all that waits, within `timeout` seconds.

        Returns:
            True when everything was written.
        """
        for line in self._repeats.flush():
            self._tell(line)
        return self._outlet.close(timeout)

    def _tell(self, line: Line) -> None:
        """Write a line; before it, once there is room again, how many were lost."""
        if self.dropped > self._lost and self._outlet.room > 1:
            lost, self._lost = self.dropped - self._lost, self.dropped
            self._write(
                {"timestamp": line["timestamp"], "level": "warning", "event": "log.dropped", "count": lost}
            )
        self._write(line)

    def _write(self, line: Line) -> None:
        text = self._render(line)
        if self._priorities:
            text = journal.prioritised(text, str(line["level"]))
        self._outlet.write(text)


def open_log(
    descriptor: int,
    *,
    wall_at: WallAt,
    level: Level = Level.INFO,
    style: LogFormat = LogFormat.AUTO,
    colour: bool = True,
) -> LogSink:
    """Open the log on a file descriptor, in the way that suits what stands behind it.

    Args:
        descriptor: Usually 2, stderr.
        wall_at: Turns a moment of the engine's clock into seconds since 1970.
        level: The least level that is written.
        style: How lines look.
        colour: False for a console without colours, as NO_COLOR and a dumb terminal also ask for.
    """
    terminal = os.isatty(descriptor)
    if style is LogFormat.CONSOLE or (style is LogFormat.AUTO and terminal):
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        render = console(colour=colour and terminal and not plain)
    else:
        render = json_text
    priorities = journal.reads(descriptor)
    return LogSink(Outlet(descriptor), render, wall_at=wall_at, level=level, priorities=priorities)


_json = JSONRenderer(separators=(",", ":"))


def json_text(line: Line) -> str:
    """Render a line as one JSON object; everything that is not ASCII is escaped."""
    return str(_json(None, "", dict(line)))
