"""The screen: a board as a terminal shows it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from keepalive.cli.board import HEADINGS, Board
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
        parts += [Text(), _table(board)]
    if board.below:
        parts += [Text(), *(Text(line) for line in board.below)]
    return Group(*parts)


def _table(board: Board) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold", no_wrap=heading not in ("target", "last fault"))
    for row in board.rows:
        state, *cells = row.cells
        table.add_row(Text(state, _STYLES[row.state]), *map(Text, cells))
    return table


def lost(error: KeepaliveError, seconds: float) -> RenderableType:
    """Say since when there has been no daemon."""
    return Group(Text(f"no daemon since {seconds:.0f} s", "bold red"), Text(printable(str(error)), "dim"))
