"""A duration: seconds, as people write them (`15s`, `500ms`, `1h30m`) and as they read them."""

from __future__ import annotations

import re
from math import isfinite

SHORTEST = 0.001
"""Seconds; anything shorter is a slip of the pen."""

LONGEST = 86_400.0
"""Seconds; a heartbeat, a window or a quota longer than a day is a slip of the pen too."""

HINT = 'write a length of time such as "15s", "500ms", "5m" or "1h30m", or a number of seconds'

_TEXT = re.compile(
    r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+(?:\.\d+)?)ms)?",
    re.ASCII,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


def parse_duration(value: object) -> float:
    """Read a duration.

    Args:
        value: A text with units, each at most once and the largest first, or a number of seconds.

    Returns:
        Seconds, from `SHORTEST` to `LONGEST`.

    Raises:
        ValueError: It is none, or out of range; the message says what is wrong with it.
    """
    seconds = _seconds(value)
    if not isfinite(seconds):
        raise ValueError("is not finite")
    if seconds < 0:
        raise ValueError("is negative")
    if seconds == 0:
        raise ValueError("is zero")
    if seconds < SHORTEST:
        raise ValueError("is shorter than 1ms")
    if seconds > LONGEST:
        raise ValueError("is longer than a day")
    return seconds


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(min(value, LONGEST * 2)) if isinstance(value, int) else value
    if not isinstance(value, str):
        raise ValueError("is not a length of time")  # noqa: TRY004 - pydantic turns only ValueError into a fault
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _TEXT.fullmatch(text)
    if not text or found is None:
        raise ValueError("is not a length of time")
    hours, minutes, seconds, milliseconds = (float(found[unit] or 0) for unit in ("h", "m", "s", "ms"))
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def format_duration(seconds: float) -> str:
    """Write a duration the way it is read: `15s`, `22.5s`, `5m`, `1h30m`, `500ms`; exact to 1 ms."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    parts = [
        f"{hours}h" if hours else "",
        f"{minutes}m" if minutes else "",
        f"{rest / 1000:g}s" if rest else "",
    ]
    return "".join(parts)
