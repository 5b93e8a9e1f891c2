"""A fault file: a fault script in TOML, one `[[faults]]` table for each fault."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from keepalive.config.text import read_text
from keepalive.emulator.faults import Fault
from keepalive.errors import ConfigError, ConfigFault


class _FaultFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    faults: tuple[Fault, ...] = ()


def read_faults(path: Path) -> tuple[Fault, ...]:
    """Read a fault script.

    Raises:
        ConfigError: The file cannot be read, is no TOML, or has unknown keys or wrong values; all at once.
    """
    try:
        text = read_text(path)
    except ValueError as error:
        fault = ConfigFault(str(path), "", f"the fault script {error}", "name a readable TOML file")
        raise ConfigError((fault,)) from None
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is no TOMLDecodeError
        fault = ConfigFault(str(path), "", f"is no TOML: {error}", "mend it at that place")
        raise ConfigError((fault,)) from None
    try:
        return _FaultFile.model_validate(tables).faults
    except ValidationError as error:
        lines = text.splitlines()
        faults = (
            _explain(path, lines, detail["loc"], detail["type"], detail["msg"]) for detail in error.errors()
        )
        raise ConfigError(tuple(faults)) from None


def _explain(
    path: Path, lines: Sequence[str], place: tuple[int | str, ...], kind: str, message: str
) -> ConfigFault:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    where = f"{path}:{_line(lines, place)}"
    if kind == "extra_forbidden":
        known = Fault.model_fields if len(place) > 1 else _FaultFile.model_fields
        near = get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"write one of: {', '.join(known)}"
        return ConfigFault(where, key, "unknown key", hint)
    return ConfigFault(where, key, message.removeprefix("Value error, "), "")


def _line(lines: Sequence[str], place: tuple[int | str, ...]) -> int:
    """Find the line of a key, or of the table that should hold it; the first line where neither is found."""
    table = place[1] if len(place) > 1 and isinstance(place[1], int) else -1
    name = next((part for part in place[2:] if isinstance(part, str)), place[0] if table < 0 else None)
    seen, found = -1, 1
    for number, line in enumerate(lines, start=1):
        if re.match(r"\s*\[\[\s*faults\s*\]\]", line):
            seen += 1
            found = number if seen == table else found
        elif seen == table and name is not None and re.match(rf"\s*\[*\s*\"?{re.escape(str(name))}\b", line):
            return number
    return found
