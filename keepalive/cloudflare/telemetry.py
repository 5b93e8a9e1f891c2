"""Telemetry as it comes: the events in a frame of a live tail, or in a reply to a query.

The shapes are read liberally. What a Worker logged is a stranger's text twice over, its own and its
callers': size, depth and names are bounded, and what cannot be read is a `FrameError`, never a crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from keepalive.core.telemetry import Event

try:
    from orjson import loads as _orjson
except ImportError:  # the extra `speed` is not installed
    _fast: Callable[[str], object] | None = None
else:
    _fast = _orjson

MOST_EVENTS = 10_000
"""Events in one frame or reply; a query is answered by 2,000 at most."""

LONGEST_NAME = 256
"""Characters of an id or of a script's name; a longer one counts as none, for these are remembered."""

LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999; a later timestamp counts as none, for no calendar shows it."""

_NOTHING: Mapping[str, object] = {}
_KINDS = {
    dict: "an object",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
}


class FrameError(ValueError):
    """A frame or a reply holds no events that could be read.

    Attributes:
        reason: What was found instead, in a few words of our own; nothing of the text is quoted.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def events_of(frame: str | bytes) -> list[Event]:
    """Read a frame: one event, a list of them, or an object that holds them under `events`.

    An event alone keeps its text as it was received, but for line breaks between its tokens.

    Args:
        frame: JSON; bytes are UTF-8.

    Raises:
        FrameError: It is none of these.
    """
    text = _text(frame)
    value = _parsed(text)
    if isinstance(value, dict) and not _holds_events(value):
        return [_event(text.strip().replace("\r", " ").replace("\n", " "), value)]
    if _fast is not None:
        value = exactly(text)
    return events_in(value["events"] if isinstance(value, dict) else value)


def events_in(values: object) -> list[Event]:
    """Read a list of events, parsed `exactly`; the text of each is written anew, without a space.

    Raises:
        FrameError: It is no list, there are too many, or one of them is no object.
    """
    if not isinstance(values, list):
        raise FrameError(f"{_KINDS.get(type(values), 'null')} instead of an event")
    if len(values) > MOST_EVENTS:
        raise FrameError(f"more than {MOST_EVENTS} events at once")
    events = []
    for value in values:
        if not isinstance(value, dict):
            raise FrameError(f"{_KINDS.get(type(value), 'null')} instead of an event in a list")
        events.append(_event(written(value), value))
    return events


def exactly(text: str | bytes) -> object:
    """Parse a stranger's JSON so that numbers of any size stay what they are.

    Raises:
        FrameError: It is no JSON, no UTF-8, or nested too deeply.
    """
    text = _text(text)
    try:
        text.encode()  # what cannot be written out again is not let in
        return _DECODER.decode(text)
    except RecursionError:
        raise FrameError("JSON that is nested too deeply") from None
    except ValueError:
        raise FrameError("no JSON") from None


def written(value: dict[str, object]) -> str:
    """Write what was parsed anew; half a surrogate pair, which UTF-8 cannot hold, as an escape again.

    Raises:
        FrameError: It is nested too deeply, or holds a number beyond all bounds.
    """
    try:
        raw = _ENCODER.encode(value)
        raw.encode()
    except UnicodeEncodeError:
        return _ASCII_ENCODER.encode(value)
    except RecursionError:
        raise FrameError("JSON that is nested too deeply") from None
    except ValueError:
        raise FrameError("a number that no JSON can hold") from None
    return raw


def _parsed(text: str) -> object:
    """Parse fast where orjson is installed.

    It refuses half a surrogate pair, which a Worker logs that cuts a message inside an emoji: what it
    refuses is tried again.
    """
    if _fast is not None:
        try:
            return _fast(text)
        except ValueError:
            pass
    return exactly(text)


def _holds_events(value: Mapping[str, object]) -> bool:
    return isinstance(value.get("events"), list) and "$metadata" not in value


def _text(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise FrameError("no UTF-8") from None


def _no_constant(_: str) -> object:
    raise ValueError("NaN and Infinity are no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_ASCII_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _event(raw: str, value: Mapping[str, object]) -> Event:
    metadata, workers = value.get("$metadata"), value.get("$workers")
    if not isinstance(metadata, dict):
        metadata = _NOTHING
    if not isinstance(workers, dict):
        workers = _NOTHING
    return Event(
        raw,
        _name(metadata.get("id")),
        _moment(value.get("timestamp")),
        _name(workers.get("scriptName")) or _name(metadata.get("service")),
    )


def _moment(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value <= LATEST else 0


def _name(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME else ""
