"""The wording of faults: how keys, values and near misses are put to a person, and no secret shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from keepalive.config.positions import KeyPath

_OPAQUE = re.compile(r"[A-Za-z0-9_\-+=]{30,}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_LONGEST_QUOTE = 60


class WrongValueError(ValueError):
    """A value cannot be used.

    Attributes:
        found: What was found, in words; never a secret.
        hint: What to write instead.
    """

    def __init__(self, found: str, hint: str) -> None:
        super().__init__(found)
        self.found, self.hint = found, hint


def quote(value: object) -> str:
    """Show a value in one short printable line.

    Long opaque runs of characters are only counted: a token in the wrong place must not end up in a log.
    """
    if isinstance(value, str):
        masked = _OPAQUE.sub(lambda run: f"<{len(run[0])} characters>", value)
        text = repr(masked)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, dict):
        text = "a table"
    elif isinstance(value, list | tuple):
        text = "a list"
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 2]} …"


def kind(value: object) -> str:
    """Name the type of a value where the value itself may be secret."""
    kinds = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        dict: "a table",
        list: "a list",
    }
    return kinds.get(type(value), "a date or time")


def dotted(path: KeyPath) -> str:
    """Write a path the way a user writes it: `targets[2].account_id`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else quote(part)
            text += f".{key}" if text else key
    return text


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Name the known word that is closest to a misspelt one, or say something else."""
    spelling = {right.lower(): right for right in known}
    close = get_close_matches(word.lower(), spelling, n=1)
    return f"did you mean `{spelling[close[0]]}`?" if close else otherwise


def one_of(words: Iterable[str]) -> str:
    """Write `a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def shown(path: Path, cwd: Path) -> str:
    """Write a path the short way where it lies below the working directory."""
    below = cwd != cwd.parent and path.is_relative_to(cwd)  # below / is everything
    return str(path.relative_to(cwd)) if below else str(path)
