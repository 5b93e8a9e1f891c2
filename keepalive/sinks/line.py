"""A line: one event as flat keys and plain values, before anybody renders it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite

from keepalive.core.events import EligibilityChanged, Event
from keepalive.core.outcome import Fault
from keepalive.core.target import Scope, Target

Value = str | int | float | bool | list[str] | None
Line = dict[str, Value]
WallAt = Callable[[float], float]
"""Turns a moment of the engine's clock into seconds since 1970."""

MOMENTS = frozenset({"eligible_until", "until", "next_probe_at", "expires_on"})
"""Keys whose values are moments."""

_MILLISECONDS = frozenset({"latency", "lateness"})
_SECONDS = frozenset(
    {
        "window",
        "interval",
        "nominal",
        "retry_after",
        "open_for",
        "ends_in",
        "lasted",
        "suspended",
        "failed_for",
        "lapsed_for",
        "ttl",
    }
)


def line_of(event: Event, wall_at: WallAt) -> Line:
    """Flatten an event: `timestamp`, `level`, `event`, then its own keys in their order.

    A target becomes `target`, `account_id`, `script_id` and `credential`; a fault becomes its parts that
    are present, but an event's own `cause` stays. A duration carries its unit in the key; a moment is UTC.
    """
    line: Line = {
        "timestamp": moment(event.at, wall_at),
        "level": event.level.value,
        "event": event.name,
    }
    for field in fields(event):
        if field.name != "at":
            for key, value in _pairs(field.name, getattr(event, field.name), wall_at):
                line.setdefault(key, value)
    if isinstance(event, EligibilityChanged):
        until = event.eligible_until
        line["eligible_for_seconds"] = None if until is None else _number(max(0.0, until - event.at), 3)
    return line


def _pairs(name: str, value: object, wall_at: WallAt) -> Iterator[tuple[str, Value]]:
    """The keys that one attribute of an event becomes."""
    match value:
        case Target():
            yield "target", value.label
            yield "account_id", value.account_id
            yield "script_id", value.script_id
            yield "credential", value.credential
        case Fault():
            for part in ("cause", "http_status", "error_code", "cf_ray", "hint", "detail"):
                if (found := getattr(value, part)) not in (None, ""):
                    yield part, found
        case tuple() if name == "key":
            yield from zip(("credential", "account_id", "script_id"), value, strict=False)
        case None if name in ("fault", "lapsed_for"):
            return
        case float() | int() if name in MOMENTS:
            yield name, moment(value, wall_at)
        case float() | int() if name in _MILLISECONDS:
            yield f"{name}_ms", _number(value * 1000, 1)
        case float() | int() | None if name in _SECONDS:
            yield f"{name}_seconds", None if value is None else _number(value, 3)
        case _:
            yield name, _plain(value)


def _plain(value: object) -> Value:
    match value:
        case Scope():
            return value.name.lower()
        case StrEnum():
            return value.value
        case float():
            return _number(value, 6)
        case str() | int() | None:
            return value
        case tuple():
            return [str(each) for each in value]
        case _:
            return str(value)


def _number(value: float, digits: int) -> float | None:
    """A number that JSON can carry: infinity is null."""
    return round(value, digits) if isfinite(value) else None


def moment(at: float, wall_at: WallAt) -> str | None:
    """ISO 8601 in UTC with milliseconds, or None for never, and for what no calendar has a date of."""
    if not isfinite(at):
        return None
    try:
        date = datetime.fromtimestamp(wall_at(at), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return date.isoformat(timespec="milliseconds")[:-6] + "Z"
