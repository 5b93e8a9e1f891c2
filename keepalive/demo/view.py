"""The view: how a scene looks in a terminal. A pure function; nothing here knows where it is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from keepalive.core.eligibility import Eligibility
from keepalive.demo.scene import Contestant, QuotaUse, Scene, TargetRow, counted
from keepalive.demo.scores import Mark

SIGNS = {
    Eligibility.PENDING: ("pending", "dim"),
    Eligibility.ELIGIBLE: ("eligible", "green"),
    Eligibility.AT_RISK: ("at risk", "yellow"),
    Eligibility.LAPSED: ("lapsed", "bold red"),
    Eligibility.DENIED: ("denied", "magenta"),
    Eligibility.REFUSED: ("refused", "magenta"),
}
"""How each state is called and coloured."""

_MARK_STYLES = {
    Mark.ACCEPTED: "green",
    Mark.RETRIED: "yellow",
    Mark.HEDGED: "cyan",
    Mark.FAILED: "red",
    Mark.THROTTLED: "magenta",
}
_LEGEND = (
    (Mark.ACCEPTED, "accepted"),
    (Mark.RETRIED, "by a retry"),
    (Mark.HEDGED, "by a hedge"),
    (Mark.FAILED, "failed"),
    (Mark.THROTTLED, "429"),
)
_LINES_BESIDE_TARGETS = 7
"""Title, weather, the table's heading, two contestants, the quotas and the legend."""


def view(scene: Scene, events: Sequence[str], height: int) -> RenderableType:
    """Lay a scene out for any width; the last `events` fill what is left of `height` lines."""
    room = max(0, height - _LINES_BESIDE_TARGETS - len(scene.targets))
    return Group(
        _title(scene),
        _weather(scene),
        _targets(scene),
        _contestants(scene.contestants),
        _quotas(scene.quotas),
        Rule(_legend(), characters="─", style="dim"),
        *(_one_line(Text.from_ansi(line)) for line in events[len(events) - min(room, len(events)) :]),
    )


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _title(scene: Scene) -> Text:
    minutes, seconds = divmod(int(scene.elapsed), 60)
    return _one_line(
        Text.assemble(
            (f"keepalive {minutes}:{seconds:02}", "bold"),
            (f"  a local Cloudflare at {scene.speed:g} times the speed of life; Ctrl-C ends", "dim"),
        )
    )


def _weather(scene: Scene) -> Text:
    return _one_line(Text(str(scene.weather), "bold red" if scene.weather.playing else "green"))


def _targets(scene: Scene) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("target", width=9, no_wrap=True, overflow="ellipsis")
    table.add_column("by", width=7, no_wrap=True, overflow="ellipsis")
    table.add_column("is", width=8, no_wrap=True)
    table.add_column("window left", ratio=3, min_width=8, no_wrap=True)
    table.add_column("", width=5, no_wrap=True, justify="right")
    table.add_column("attempts ←", ratio=2, min_width=12, no_wrap=True, overflow="crop")
    for heading in ("beats", "retry", "hedge"):
        table.add_column(heading, width=5, no_wrap=True, justify="right")
    for row in scene.targets:
        word, style = SIGNS[row.state]
        table.add_row(
            row.name,
            Text(row.credential, "dim"),
            Text(word, style),
            _bar(row, scene.window),
            Text(f"{row.left:.1f}s", style),
            _marks(row.marks),
            str(row.heartbeats),
            str(row.retries or ""),
            str(row.hedges or ""),
        )
    return table


def _bar(row: TargetRow, window: float) -> ProgressBar:
    _, style = SIGNS[row.state]
    return ProgressBar(
        total=window, completed=row.left, style="grey23", complete_style=style, finished_style=style
    )


def _marks(marks: Sequence[Mark]) -> Text:
    return Text.assemble(*((mark.value, _MARK_STYLES[mark]) for mark in marks))


def _legend() -> Text:
    parts = [
        part for mark, word in _LEGEND for part in ((mark.value, _MARK_STYLES[mark]), (f" {word}  ", "dim"))
    ]
    text = Text.assemble(*parts)
    text.rstrip()
    return text


def _contestants(contestants: Sequence[Contestant]) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), show_header=False, pad_edge=False)
    table.add_column(width=10, no_wrap=True, style="bold")
    table.add_column(width=9, no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
    for one in contestants:
        lapses = one.held.lapses
        style = "red" if lapses else "green"
        dots = ((("●", "green") if eligible else ("○", "bold red")) for eligible in one.eligible)
        table.add_row(
            one.name, Text(one.held.percent, style), Text.assemble(*dots), counted(lapses, "lapse"), one.told
        )
    return table


def _quotas(quotas: Sequence[QuotaUse]) -> Text:
    text = Text("quota ", "dim")
    for group, used, requests, silent_for in quotas:
        text.append(f"  {group} ", "dim").append(f"{used:,}/{requests:,}")
        if silent_for > 0:
            text.append(f" silent {silent_for:.1f}s", "magenta")
    return _one_line(text)
