"""Repeats: of one fault that comes again and again, one line per ten seconds is enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keepalive.sinks.line import Line, Value

COLLAPSED = frozenset(
    {"attempt.failed", "breaker.closed", "breaker.opened", "credential.denied", "group.throttled"}
)
"""Events that come in crowds. A target's own change of state is never among them."""

_SAME = ("event", "rate_group", "credential", "cause", "http_status", "error_code")


@dataclass(slots=True)
class _Run:
    """A fault since its last line that got through."""

    since: float
    hidden: int = 0
    last: Line | None = None


class Repeats:
    """Lets the first line of a fault pass, hides and counts those that follow within `window` seconds.

    A line that stands for hidden ones says so by `repeats`: how many more like it were not shown. Lines
    and `repeats` add up to what happened.
    """

    def __init__(self, window: float = 10.0) -> None:
        self._window = window
        self._runs: dict[tuple[Value, ...], _Run] = {}

    def passed(self, line: Line, now: float) -> Iterator[Line]:
        """The lines to write now that this one came, in their order.

        That is none while the line is a repeat, else the line itself; before it the last of each fault
        that has come to rest meanwhile.
        """
        key = tuple(line.get(part) for part in _SAME) if line["event"] in COLLAPSED else None
        run = self._runs.get(key) if key else None
        if run and now - run.since < self._window:
            run.hidden, run.last = run.hidden + 1, line
            return
        if key:
            self._runs.pop(key, None)
        yield from self._rested(now)
        if key:
            self._runs[key] = _Run(now)
        yield line | {"repeats": run.hidden} if run and run.hidden else line

    def flush(self) -> Iterator[Line]:
        """The last line of each fault that is still being hidden."""
        yield from self._rested(float("inf"))

    def _rested(self, now: float) -> Iterator[Line]:
        """Runs stand in the order in which they began, so the first that is young ends the search."""
        while self._runs:
            key, run = next(iter(self._runs.items()))
            if now - run.since < self._window:
                return
            del self._runs[key]
            if run.last:
                yield run.last | {"repeats": run.hidden - 1} if run.hidden > 1 else run.last
