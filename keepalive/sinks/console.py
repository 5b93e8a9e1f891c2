"""The console: a line as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from structlog.dev import Column, ConsoleRenderer

from keepalive.sinks.line import MOMENTS, Line

_EVENT_WIDTH = 19
_MARKS = {"debug": "·", "info": "•", "warning": "▲", "error": "✖"}
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_STATE_LEVELS = {
    "eligible": "info",
    "at_risk": "warning",
    "lapsed": "error",
    "denied": "error",
    "refused": "error",
}
_IN_TARGET = frozenset({"account_id", "script_id"})
_LAST = ("detail", "hint")


class _Style(NamedTuple):
    """Escape sequences, or empty strings without colour."""

    dim: str
    bold: str
    reset: str
    colours: Mapping[str, str]


_PLAIN = _Style("", "", "", {})
_COLOURFUL = _Style("\x1b[2m", "\x1b[1m", "\x1b[0m", _COLOURS)


def console(*, colour: bool) -> Callable[[Line], str]:
    """Make a renderer: time of day, level, event, target, what changed, the rest as key=value, the hint.

    No control character of any value reaches the terminal as it is.
    """
    style = _COLOURFUL if colour else _PLAIN

    def painted(level: str, text: str) -> str:
        return f"{style.colours.get(level, '')}{text}{style.reset}"

    def change(states: str) -> str:
        return painted(_STATE_LEVELS.get(states.rpartition(" ")[2], ""), states)

    def pair(key: str, value: object) -> str:
        if key == "hint":
            return f"\n{' ' * 13}{style.dim}↳ {value}{style.reset}"
        return f"{style.dim}{key}={style.reset}{_quoted(value)}"

    renderer = ConsoleRenderer(
        columns=[
            Column("timestamp", lambda _, value: f"{style.dim}{_time_of_day(str(value))}{style.reset}"),
            Column("level", lambda _, value: painted(str(value), _MARKS.get(str(value), "?"))),
            Column("event", lambda _, value: f"{style.bold}{str(value).ljust(_EVENT_WIDTH)}{style.reset}"),
            Column("target", lambda _, value: str(value)),
            Column("change", lambda _, value: change(str(value))),
            Column("", pair),
        ],
        sort_keys=False,
    )
    return lambda line: renderer(None, "", dict(_readable(line))).replace(" \n", "\n")


def _readable(line: Line) -> dict[str, str]:
    """Leave out what says nothing or is said twice, and make all values printable text."""
    told = {
        key: _printable(value) for key, value in line.items() if value is not None and key not in _IN_TARGET
    }
    if "target" in told:
        account, _, script = told["target"].partition("/")
        told["target"] = f"{account[:8]}…/{script}" if len(account) > 12 else told["target"]
    told |= {key: _time_of_day(told[key]) for key in MOMENTS & told.keys()}
    states = told.pop("from_state", "new"), told.pop("to_state", "gone")
    if "from_state" in line:
        told["change"] = " → ".join(states)
    return told | {key: told.pop(key) for key in _LAST if key in told}


def _printable(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        value = "; ".join(value)
    text = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if not text or set(text) & set(' ="') else text


def _time_of_day(timestamp: str) -> str:
    """The local time of day of an ISO 8601 moment."""
    return f"{datetime.fromisoformat(timestamp).astimezone():%H:%M:%S}.{timestamp[20:23]}"
