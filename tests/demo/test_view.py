from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment

from keepalive.core.eligibility import Eligibility
from keepalive.demo.scene import Scene
from keepalive.demo.scores import Mark
from keepalive.demo.view import SIGNS, view
from tests.support.scenes import row, scene

EVENTS = [f"12:00:{number:02} event {number} " + "x" * 200 for number in range(50)]


def console(width: int, *, no_color: bool = False) -> Console:
    return Console(
        file=StringIO(), width=width, force_terminal=True, color_system="truecolor", no_color=no_color
    )


def drawn(shown: Scene, width: int = 80, height: int = 24, events: Sequence[str] = ()) -> list[str]:
    lines = console(width).render_lines(view(shown, events, height))
    return ["".join(segment.text for segment in line) for line in lines]


def segments(shown: Scene, *, no_color: bool = False) -> list[Segment]:
    on = console(80, no_color=no_color)
    return [segment for line in on.render_lines(view(shown, (), 24)) for segment in line]


def bar(left: float, width: int = 80) -> int:
    """How many cells of the bar are filled, without colour: with it, the rest is a line as well."""
    on = console(width, no_color=True)
    lines = [
        "".join(part.text for part in line) for line in on.render_lines(view(scene(row(left=left)), (), 24))
    ]
    return next(line for line in lines if line.startswith("api")).count("━")


def colour_of(text: str, shown: Scene) -> str | None:
    style = next(segment.style for segment in segments(shown) if segment.text.strip() == text)
    return style.color.name if style and style.color else None


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("height", [20, 24, 40])
def test_twelve_targets_and_the_last_events_fill_the_terminal_and_no_more(width: int, height: int) -> None:
    lines = drawn(scene(), width, height, EVENTS)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} <= {width}
    assert "event 49" in lines[-1]
    assert [line.split()[0] for line in lines[3:15]] == [f"script{number}" for number in range(12)]


@given(st.integers(40, 200), st.integers(1, 60), st.integers(0, 50))
def test_no_line_is_wider_than_the_terminal_and_no_event_pushes_a_target_out(
    width: int, height: int, events: int
) -> None:
    lines = drawn(scene(), width, height, EVENTS[:events])
    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) == max(19, min(height, 19 + events))


def test_a_bar_runs_down_to_the_deadline() -> None:
    lengths = [bar(left) for left in (9.0, 6.0, 3.0, 0.0)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[1] == pytest.approx(lengths[0] * 2 / 3, abs=1)
    assert lengths[-1] == 0


def test_a_wider_terminal_has_longer_bars() -> None:
    assert bar(9.0, width=120) > bar(9.0, width=80) > 8


@pytest.mark.parametrize(
    ("state", "colour"),
    [
        (Eligibility.ELIGIBLE, "green"),
        (Eligibility.AT_RISK, "yellow"),
        (Eligibility.LAPSED, "red"),
    ],
)
def test_word_bar_and_seconds_have_the_colour_of_the_state(state: Eligibility, colour: str) -> None:
    shown = scene(row(state=state, left=4.2))
    assert colour_of(SIGNS[state][0], shown) == colour
    assert colour_of("4.2s", shown) == colour
    filled = next(part.style for part in segments(shown) if part.text.strip("━") == "" and part.text)
    assert filled
    assert filled.color
    assert filled.color.name == colour


def test_every_state_has_a_word_so_that_colour_is_never_needed() -> None:
    assert len({word for word, _ in SIGNS.values()}) == len(Eligibility)


def test_without_colours_nothing_is_coloured() -> None:
    on = console(80, no_color=True)
    on.print(view(scene(), ["\x1b[31mred\x1b[0m"], 24))
    file = on.file
    assert isinstance(file, StringIO)
    assert "\x1b[3" not in file.getvalue()


def test_the_newest_attempts_are_seen_when_there_is_no_room_for_all() -> None:
    marks = (Mark.HEDGED, Mark.FAILED, *[Mark.ACCEPTED] * 22)
    line = next(line for line in drawn(scene(row(marks=marks))) if line.startswith("api"))
    assert "⇉✗●" in line


def test_a_long_name_is_cut_with_an_ellipsis() -> None:
    assert any(line.startswith("a-very-l…") for line in drawn(scene(row("a-very-long-name"))))


def test_it_says_what_is_played_and_for_how_long() -> None:
    assert drawn(scene())[1].strip() == "now: an outage, 1.5 s left"
    assert "next: an outage" in drawn(scene(playing=False))[1]


def test_a_silence_is_told_beside_the_quota_of_its_group() -> None:
    assert any("prod 85/1,200 silent 2.5s  billing" in line for line in drawn(scene(silent_for=2.5)))
    assert not any("silent" in line for line in drawn(scene()))


def test_keepalive_and_the_naive_loop_are_compared_by_what_was_measured() -> None:
    lines = drawn(scene())
    assert any(line.startswith("keepalive  100.000 % ●●●●●●●●●●●● 0 lapses") for line in lines)
    assert any(line.startswith("naive loop  92.000 % ●○●○●○●○●○●○ 7 lapses") for line in lines)
