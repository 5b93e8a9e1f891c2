"""Rendering: a record as one line, JSON for programs or coloured columns for people.

What a Worker logs is a stranger's text: no control character of it, and none that turns the direction of
text, reaches a terminal as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from keepalive.core.target import Target
from keepalive.core.telemetry import Event
from keepalive.livetail.backlog import Item, Note
from keepalive.livetail.record import Changed, Dropped, Gap, State

LONGEST_MESSAGE = 2000
"""Characters of a message that are shown; of the rest only how much it is."""

LONGEST_NAME = 40
"""Characters of a script's name, a level or an outcome."""

LONGEST_TRIGGER = 200

_JOINERS = "\u200c\u200d"
"""Invisible, but letters of Persian and Hindi and many emojis need them."""

_NO_TIME = "--:--:--.---"
_UNUSUAL = re.compile(r"[^\t -~]")
_LEVELS: Mapping[str, str] = {"warning": "warn", "critical": "error", "fatal": "error"}
_COLOURS: Mapping[str, str] = {
    "error": "\x1b[1;31m",
    "warn": "\x1b[33m",
    "debug": "\x1b[2m",
    "trace": "\x1b[2m",
}
_STATE_COLOURS: Mapping[State, str] = {
    State.ELIGIBLE: "\x1b[2;32m",
    State.CONNECTED: "\x1b[2m",
    State.AT_RISK: "\x1b[33m",
    State.LAPSED: "\x1b[33m",
    State.DISCONNECTED: "\x1b[33m",
}
_STATES: Mapping[State, str] = {
    State.CONNECTED: "connected; the first heartbeat is not accepted yet",
    State.ELIGIBLE: "eligible; what is logged comes here",
    State.AT_RISK: "at risk; heartbeats are not accepted of late",
    State.LAPSED: "lapsed; Cloudflare is assumed to send nothing, whatever is logged",
    State.DISCONNECTED: "disconnected",
}
_GAPS: Mapping[str, str] = {
    "not_indexed": "the stored events do not reach there yet",
    "not_stored": "nothing of this Worker is stored; turn on its Workers Logs",
    "unconfirmed": "nothing came that could be looked for",
    "timeout": "neither the quota nor the stored events could be asked in time",
    "too_many": "there are more than can be had",
    "stalled": "the stream had stalled, and it was found too late to show them in order",
    "disconnected": "there was no stream for too long",
    "unreadable": "something came that could not be read",
    "interrupted": "the tail ended before the stored events were had",
}

Render = Callable[[Item], str]


class _Style(NamedTuple):
    """Escape sequences, or empty strings without colour."""

    dim: str = ""
    reset: str = ""
    levels: Mapping[str, str] = {}
    states: Mapping[State, str] = {}


_COLOURFUL = _Style("\x1b[2m", "\x1b[0m", _COLOURS, _STATE_COLOURS)


# --- for programs ---------------------------------------------------------------------------------


def json_lines(*, several: bool, terminal: bool = False) -> Render:
    """Make a renderer: an event as it was received, a note as an object with the single key `$keepalive`.

    Args:
        several: Whether a note has to say of which target it speaks.
        terminal: Whether a terminal shows the lines: then what could drive it is escaped, as JSON can.
    """

    def render(item: Item) -> str:
        if not isinstance(item, Event):
            return _json_note(item, several=several)
        return _json_escaped(item.raw) if terminal else item.raw

    return render


def _json_note(note: Note, *, several: bool) -> str:
    said: dict[str, str | int]
    match note.record:
        case Gap() as gap:
            said = {"type": "gap", "from_ms": gap.from_ms, "to_ms": gap.to_ms, "reason": gap.reason}
        case Dropped() as dropped:
            said = {"type": "dropped", "count": dropped.count}
        case Changed() as changed:
            said = {"type": "state", "state": changed.state}
    if several and note.target is not None:
        said["target"] = note.target.label
    return json.dumps({"$keepalive": said})


def _json_escaped(raw: str) -> str:
    """Outside a JSON text such characters cannot stand, so within one an escape is the same text."""

    def escape(found: re.Match[str]) -> str:
        character = found[0]
        return character if character.isprintable() or character in _JOINERS else json.dumps(character)[1:-1]

    return _UNUSUAL.sub(escape, raw)


# --- for people -----------------------------------------------------------------------------------


def pretty(*, colour: bool, scripts: int = 0, longest: int = LONGEST_MESSAGE) -> Render:
    """Make a renderer: time of day, level, script, trigger, outcome, message; one line in any case.

    Args:
        colour: Whether escape sequences of our own are wanted.
        scripts: Width of the column with the script's name; 0 where there is only one script.
        longest: Characters of a message that are shown.
    """
    style = _COLOURFUL if colour else _Style()
    width = min(scripts, LONGEST_NAME)

    def render(item: Item) -> str:
        if isinstance(item, Event):
            return _pretty_event(item, style, width, longest)
        return _pretty_note(item, style, several=bool(width))

    return render


def _pretty_event(event: Event, style: _Style, width: int, longest: int) -> str:
    said = Said.of(event)
    paint = style.levels.get(said.level, "")
    reset = style.reset if paint else ""
    parts = [
        f"{style.dim}{_time_of_day(event.timestamp)}{style.reset}",
        f"{paint}{said.level.upper():5}{reset}",
    ]
    if width:
        parts.append(f"{style.dim}{printable(event.script, LONGEST_NAME):{width}}{style.reset}")
    if said.trigger:
        parts.append(f"{style.dim}{said.trigger}{style.reset}")
    if said.outcome:
        colour = style.levels.get("error", "")
        parts.append(f"{colour}[{said.outcome}]{style.reset if colour else ''}")
    message = printable(said.message, longest)
    parts.append(f"{paint}{message}{reset}")
    return "  ".join(parts).rstrip()


class Said(NamedTuple):
    """What of an event matters to a person.

    Attributes:
        level: In lower-case letters; `error` where it says nothing but that it failed.
        trigger: Such as `GET /orders`, printable; "" where it does not say.
        outcome: Such as `exception`, printable; "" where all went well.
        message: What was logged, of any length and with any character.
    """

    level: str
    trigger: str
    outcome: str
    message: str

    @classmethod
    def of(cls, event: Event) -> Said:
        """Read an event's text; whatever shape it has."""
        try:
            body = json.loads(event.raw)
            return cls._read(body) if isinstance(body, dict) else cls("log", "", "", event.raw)
        except (ValueError, RecursionError):  # a number of ten thousand digits; nested to the limit
            return cls("log", "", "", event.raw)

    @classmethod
    def _read(cls, body: Mapping[str, object]) -> Said:
        metadata, workers = _object(body, "$metadata"), _object(body, "$workers")
        source = body.get("source")
        inner = source if isinstance(source, dict) else {}
        outcome = _text(workers.get("outcome"))
        level = (
            _text(metadata.get("level"))
            or _text(inner.get("level"))
            or ("log" if outcome in _WELL else "error")
        )
        level = printable(level.lower(), LONGEST_NAME)
        return cls(
            _LEVELS.get(level, level),
            printable(_text(metadata.get("trigger")) or _text(workers.get("eventType")), LONGEST_TRIGGER),
            "" if outcome in _WELL else printable(outcome, LONGEST_NAME),
            _message(metadata, source),
        )


_WELL = ("", "ok")


def _message(metadata: Mapping[str, object], source: object) -> str:
    found = [_text(metadata.get("message")), _text(metadata.get("error"))]
    if not any(found) and isinstance(source, dict):
        found = [_text(source.get("message")), _text(source.get("error"))]
    first, *others = [text for text in found if text] or [_text(source)]
    return ": ".join([first, *(other for other in others if other not in first)])


def _pretty_note(note: Note, style: _Style, *, several: bool) -> str:
    whose = f"{_name(note.target)}: " if several and note.target is not None else ""
    text = printable(whose + _said(note.record), LONGEST_MESSAGE)
    if isinstance(note.record, Changed):
        paint = style.states.get(note.record.state, "")
    else:
        paint = style.levels.get("warn", "")
    return f"{paint}--- {text}{style.reset if paint else ''}"


def _said(record: Gap | Dropped | Changed) -> str:
    match record:
        case Gap():
            begin, end = _time_of_day(record.from_ms), _time_of_day(record.to_ms)
            return f"events from {begin} to {end} may be missing: {_GAPS.get(record.reason, record.reason)}"
        case Dropped(1):
            return "1 event dropped here: the output was not read fast enough"
        case Dropped(count):
            return f"{count:,} events dropped here: the output was not read fast enough"
        case Changed(state, cause):
            return f"{_STATES[state]}: {cause}" if cause else _STATES[state]


def _name(target: Target) -> str:
    return printable(target.script_id or "the whole account", LONGEST_NAME)


def printable(text: str, longest: int) -> str:
    """The same text in one line, at most so long, with all that could drive a terminal spelt out."""
    rest = ""
    if len(text) > longest:
        rest = f"… ({_size(len(text.encode(errors='replace')))})"
        text = text[:longest]
    if not text.isprintable():
        text = "".join(
            each if each.isprintable() or each in _JOINERS else each.encode("unicode_escape").decode()
            for each in text
        )
    return text + rest


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def _time_of_day(ms: int) -> str:
    if not ms:
        return _NO_TIME
    try:
        return f"{datetime.fromtimestamp(ms // 1000).astimezone():%H:%M:%S}.{ms % 1000:03}"
    except (ValueError, OverflowError, OSError):  # the end of year 9999, where local time is ahead of UTC
        return _NO_TIME


def _object(value: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) if value else ""
