"""An overview: how all tails of a command do, in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keepalive.core.target import Target
from keepalive.livetail.backlog import Backlog
from keepalive.livetail.record import Changed, Dropped, Gap, State
from keepalive.livetail.render import printable

RATE_SECONDS = 5.0
"""Seconds over which the rate of the events is taken."""

CROWD = 3
"""So many targets are named one by one."""

_LONGEST_NAME = 24


@dataclass(slots=True)
class _Standing:
    """What one tail is, since when, and why."""

    state: State | None
    since: float
    cause: str = ""


class Overview:
    """Follows what all tails say of themselves.

    Attributes:
        connected: True once any of them was.

    Args:
        targets: Which there are.
        reason: Says why a target is not renewed, in one line, or "".
        now: The moment, in seconds.
    """

    def __init__(
        self, targets: Sequence[Target], reason: Callable[[Target], str], now: Callable[[], float]
    ) -> None:
        self.connected = False
        self._reason = reason
        self._now = now
        self._tails = {target: _Standing(None, now()) for target in targets}
        self._gaps = 0
        self._seen = [(now(), 0)]

    def note(self, target: Target, record: Gap | Dropped | Changed) -> None:
        """Take note of a record that is no event."""
        match record:
            case Gap():
                self._gaps += 1
            case Changed(state, cause):
                self.connected = self.connected or state is not State.DISCONNECTED
                self._tails[target] = _Standing(state, self._now(), cause)
            case Dropped():
                pass

    def text(self, backlog: Backlog) -> str:
        """Say it now; the backlog knows how many events came."""
        events = backlog.accepted + backlog.lost
        parts = [f"{self._rate(events):.1f}/s", f"{events:,} {'event' if events == 1 else 'events'}"]
        if self._gaps:
            parts.append(f"{self._gaps:,} {'gap' if self._gaps == 1 else 'gaps'}")
        if backlog.lost:
            parts.append(f"{backlog.lost:,} dropped")
        if backlog.waiting > 1000:
            parts.append(f"{backlog.waiting:,} wait to be read")
        return " · ".join([*self._states(), *parts])

    def _rate(self, events: int) -> float:
        """Events a second, of late."""
        now = self._now()
        self._seen = [(at, count) for at, count in self._seen if at > now - RATE_SECONDS] or self._seen[-1:]
        at, count = self._seen[0]
        self._seen.append((now, events))
        return (events - count) / (now - at) if now > at else 0.0

    def _states(self) -> list[str]:
        if len(self._tails) <= CROWD:
            return [self._said(target) for target in self._tails]
        well = [each for each in self._tails.values() if each.state is State.ELIGIBLE]
        ill = [target for target, each in self._tails.items() if each.state is not State.ELIGIBLE]
        return [f"{len(well)} of {len(self._tails)} eligible", *(self._said(target) for target in ill[:1])]

    def _said(self, target: Target) -> str:
        tail = self._tails[target]
        name = printable(target.script_id or "account", _LONGEST_NAME)
        state = "connecting" if tail.state is None else tail.state.replace("_", " ")
        cause = "" if tail.state is State.ELIGIBLE else tail.cause or self._reason(target)
        seconds = self._now() - tail.since
        return f"{name} {state} for {_length(seconds)}{f' ({printable(cause, 100)})' if cause else ''}"


def _length(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
