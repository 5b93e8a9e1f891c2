"""The screen: a board as a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from keepalive.cli.board import HEADINGS, Board, Row, columns
from keepalive.control.client import printable
from keepalive.core.eligibility import Eligibility
from keepalive.errors import KeepaliveError

_STYLES = {
    Eligibility.PENDING: "dim",
    Eligibility.ELIGIBLE: "green",
    Eligibility.AT_RISK: "yellow",
    Eligibility.LAPSED: "bold red",
    Eligibility.DENIED: "magenta",
    Eligibility.REFUSED: "magenta",
}


def drawn(board: Board) -> RenderableType:
    """Lay a board out for any width."""
    parts: list[RenderableType] = [Text(board.title, "bold"), *(Text(line, "dim") for line in board.above)]
    if board.rows:
        parts += [Text(), _Rows(board.rows)]
    if board.below:
        parts += [Text(), *(Text(line) for line in board.below)]
    return Group(*parts)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The table, with the columns for which there is room."""

    rows: Sequence[Row]

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, header_style="dim")
        _, *others = columns(self.rows, options.max_width)
        table.add_column(HEADINGS[0], no_wrap=True)
        for each in others:
            heading = HEADINGS[each]
            table.add_column(heading, overflow="fold", no_wrap=heading not in ("target", "last fault"))
        for row in self.rows:
            table.add_row(Text(row.cells[0], _STYLES[row.state]), *(Text(row.cells[each]) for each in others))
        yield table


def lost(error: KeepaliveError, seconds: float) -> RenderableType:
    """Say since when there has been no daemon."""
    return Group(Text(f"no daemon since {seconds:.0f} s", "bold red"), Text(printable(str(error)), "dim"))
