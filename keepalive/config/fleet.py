"""A fleet file: many targets as CSV, one a line, with the header `account_id,script[,credential]`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from keepalive.config.wording import did_you_mean, quote
from keepalive.errors import ConfigFault

COLUMNS = ("account_id", "script", "credential")

_HINT = "write account_id,script or account_id,script,credential"


class Row(NamedTuple):
    """One target as it is written; an absent credential or script is an empty text."""

    line: int
    account_id: str
    script: str
    credential: str


@dataclass(slots=True)
class Fleet:
    """What a fleet file holds.

    Attributes:
        rows: Its targets, in order.
        names_credentials: True where it has the column `credential`.
        faults: What cannot be read as a row.
    """

    rows: list[Row] = field(default_factory=list)
    names_credentials: bool = False
    faults: list[ConfigFault] = field(default_factory=list)


def parse_fleet(text: str, name: str) -> Fleet:
    """Read a fleet file's text; `name` is what its faults call it. Cells are trimmed, empty lines skipped."""
    fleet = Fleet()
    lines = _lines(text)
    number = 1
    try:
        number, header = next(lines, (1, []))
        if fault := _header_fault(header, f"{name}:{number}"):
            fleet.faults.append(fault)
            return fleet
        fleet.names_credentials = "credential" in header
        account_id, script = header.index("account_id"), header.index("script")
        credential = header.index("credential") if fleet.names_credentials else None
        for number, cells in lines:
            if len(cells) == len(header):
                name_cell = "" if credential is None else cells[credential]
                fleet.rows.append(Row(number, cells[account_id], cells[script], name_cell))
            else:
                found = f"{_count(len(cells))} where the header has {len(header)}"
                fleet.faults.append(ConfigFault(f"{name}:{number}", "", found, f"write {','.join(header)}"))
    except csv.Error as error:
        fleet.faults.append(
            ConfigFault(f"{name}:{number}", "", f"broken CSV after this line: {error}", "mend the quotes")
        )
    return fleet


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number the rows that hold anything by the line they begin on; a quoted cell may span several lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    for cells in reader:
        trimmed = [cell.strip() for cell in cells]
        if any(trimmed):
            yield number, trimmed
        number = reader.line_num + 1


def _header_fault(header: list[str], where: str) -> ConfigFault | None:
    missing = [column for column in COLUMNS[:2] if column not in header]
    unknown = [column for column in header if column not in COLUMNS]
    if missing and unknown:
        found = f"the header {quote(','.join(header))} has no column {' and '.join(missing)}"
        return ConfigFault(where, "", found, did_you_mean(unknown[0], missing, _HINT))
    if missing:
        return ConfigFault(where, "", f"the header has no column {' and '.join(missing)}", _HINT)
    if unknown:
        return ConfigFault(
            where, "", f"unknown column {quote(unknown[0])}", did_you_mean(unknown[0], COLUMNS, _HINT)
        )
    if len(set(header)) < len(header):
        return ConfigFault(where, "", "the header names a column twice", _HINT)
    return None


def _count(columns: int) -> str:
    return "1 column" if columns == 1 else f"{columns} columns"
