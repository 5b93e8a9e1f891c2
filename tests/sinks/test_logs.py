from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from keepalive.core.events import Event, Level
from keepalive.sinks.console import console
from keepalive.sinks.line import Line, line_of
from keepalive.sinks.logs import LogFormat, LogSink, json_text, open_log
from keepalive.sinks.outlet import Outlet
from tests.sinks.samples import DENIAL, EVENTS, TARGET, changed, failed, summary, throttled

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOURNAL_STREAM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def wall_at(at: float) -> float:
    return 1_800_000_000 + at


def logged(
    pipe: tuple[int, int],
    *events: Event,
    level: Level = Level.DEBUG,
    style: LogFormat = LogFormat.AUTO,
    colour: bool = True,
) -> str:
    log = open_log(pipe[1], wall_at=wall_at, level=level, style=style, colour=colour)
    for event in events:
        log(event)
    assert log.close(5)
    return os.read(pipe[0], 1 << 20).decode()


def on_a_terminal(*events: Event, style: LogFormat = LogFormat.AUTO, colour: bool = True) -> str:
    ours, theirs = pty.openpty()
    try:
        return logged((ours, theirs), *events, style=style, colour=colour).replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_pipe_gets_json_and_every_event_has_a_line(pipe: tuple[int, int]) -> None:
    lines = [json.loads(line) for line in logged(pipe, *EVENTS).splitlines()]

    assert [line["event"] for line in lines] == [event.name for event in EVENTS]
    assert lines == [line_of(event, wall_at) for event in EVENTS]


def test_a_terminal_gets_a_colourful_console() -> None:
    text = on_a_terminal(changed())

    assert "\x1b[" in text
    assert "pending → eligible" in ESCAPES.sub("", text)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_the_environment_can_ask_for_no_colours(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    assert "\x1b" not in on_a_terminal(changed())


def test_the_command_line_can_ask_for_no_colours() -> None:
    assert "\x1b" not in on_a_terminal(changed(), colour=False)


def test_the_style_can_be_asked_for(pipe: tuple[int, int]) -> None:
    assert json.loads(on_a_terminal(changed(), style=LogFormat.JSON))
    assert "01234567…/api pending → eligible" in logged(pipe, changed(), style=LogFormat.CONSOLE)


def test_a_hint_stands_on_a_line_of_its_own_on_the_console(pipe: tuple[int, int]) -> None:
    first, second = logged(pipe, throttled(), style=LogFormat.CONSOLE).splitlines()

    assert first.endswith("detail=no")
    assert second.strip() == "↳ add the permission"


def test_events_below_the_level_are_not_even_looked_at(pipe: tuple[int, int]) -> None:
    looked: list[float] = []

    def count(at: float) -> float:
        looked.append(at)
        return at

    log = open_log(pipe[1], wall_at=count, level=Level.WARNING)
    log(failed())
    log(changed())
    assert looked == []
    log(throttled())
    assert looked
    log.close(5)


def test_under_the_journal_lines_carry_their_priority(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.fstat(pipe[1])
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    events = [event for event in EVENTS if event.name in ("attempt.failed", "daemon.ready")]

    text = logged(pipe, *events, throttled(), EVENTS[11])

    assert [line[:4] for line in text.splitlines()] == ["<6>{", "<7>{", "<4>{", "<3>{"]


def test_under_the_journal_every_line_of_a_console_carries_its_priority(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.fstat(pipe[1])
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")

    text = logged(pipe, throttled(), style=LogFormat.CONSOLE)

    assert [line[:3] for line in text.splitlines()] == ["<4>", "<4>"]


@pytest.mark.parametrize("stream", ["", "1:2", "nonsense"])
def test_a_journal_of_somebody_else_changes_nothing(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream)

    assert logged(pipe, changed()).startswith("{")


@pytest.mark.parametrize("style", [LogFormat.JSON, LogFormat.CONSOLE])
def test_control_characters_of_a_server_never_reach_the_terminal(style: LogFormat) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\nforged\u202e\x00"
    fault = replace(DENIAL, cause=evil, detail=evil, hint=evil, cf_ray=evil)
    target = TARGET._replace(script_id=evil, credential=evil, account_id=evil)

    text = on_a_terminal(failed(fault=fault, target=target), style=style, colour=False)

    assert all(each.isprintable() or each == "\n" for each in text)
    assert not any(line.startswith("forged") for line in text.splitlines())


def test_repeats_are_counted_and_told_at_the_end(pipe: tuple[int, int]) -> None:
    lines = [json.loads(line) for line in logged(pipe, *(failed(at) for at in range(5))).splitlines()]

    assert [line.get("repeats") for line in lines] == [None, 3]


class Clogged(Outlet):
    """An outlet with as much room as a test says."""

    def __init__(self, room: int) -> None:
        self.left = room
        self.lines: list[str] = []
        self.dropped = 0

    @property
    def room(self) -> int:
        return self.left

    def write(self, line: str) -> None:
        if self.left > 0:
            self.left -= 1
            self.lines.append(line)
        else:
            self.dropped += 1


def test_lost_lines_are_told_once_there_is_room_again() -> None:
    outlet = Clogged(1)
    log = LogSink(outlet, json_text, wall_at=wall_at)
    for _ in range(4):
        log(changed())
    assert log.dropped == 3

    outlet.left = 10
    log(summary())
    log(summary())

    lines = [json.loads(line) for line in outlet.lines]
    assert [(line["event"], line.get("count")) for line in lines] == [
        ("eligibility.changed", None),
        ("log.dropped", 3),
        ("eligibility.summary", None),
        ("eligibility.summary", None),
    ]


def test_the_console_leaves_out_what_is_null() -> None:
    text = console(colour=False)(line_of(changed(None, until=None), wall_at))

    assert "pending → gone" in text
    assert "None" not in text
    assert "null" not in text


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_the_console_shows_every_value_of_an_event(event: Event) -> None:
    line: Line = line_of(event, wall_at)
    text = console(colour=False)(line)

    assert event.name in text
    shown = {key for key in line if f"{key}=" in text}
    elsewhere = {"timestamp", "level", "event", "target", "account_id", "script_id", "from_state", "to_state"}
    assert {key for key, value in line.items() if value is not None} - elsewhere - {"hint"} <= shown


def test_importing_the_log_leaves_structlog_as_it_was() -> None:
    code = "import structlog, keepalive.sinks.logs; assert not structlog.is_configured()"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_clock_is_asked_for_every_moment(pipe: tuple[int, int]) -> None:
    log = open_log(pipe[1], wall_at=lambda at: at + 86_400)
    log(changed())
    log.close(5)

    line = json.loads(os.read(pipe[0], 1 << 16))
    assert (line["timestamp"], line["eligible_until"]) == (
        "1970-01-02T00:00:00.000Z",
        "1970-01-02T00:00:45.000Z",
    )
