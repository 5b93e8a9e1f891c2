from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.target import Target
from keepalive.core.telemetry import Event
from keepalive.livetail.backlog import Note
from keepalive.livetail.record import Changed, Dropped, Gap, State
from keepalive.livetail.render import LONGEST_MESSAGE, Said, json_lines, pretty, printable

API = Target("prod", "0123456789abcdef0123456789abcdef", "api")

AT = 1_795_528_634_167
"""13:57:14.167 in UTC."""

Json = dict[str, object]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def event(body: object, timestamp: int = AT, script: str = "api") -> Event:
    return Event(json.dumps(body, ensure_ascii=False), "id", timestamp, script)


def logged(
    message: object = "hello",
    *,
    level: str = "info",
    outcome: str = "ok",
    trigger: str = "GET /orders",
    error: str | None = None,
) -> Json:
    more = {} if error is None else {"error": error}
    return {
        "timestamp": AT,
        "source": {"message": message},
        "$workers": {"scriptName": "api", "outcome": outcome, "eventType": "fetch"},
        "$metadata": {"level": level, "message": message, "trigger": trigger, **more},
    }


PLAIN = pretty(colour=False)
COLOURED = pretty(colour=True)
JSON = json_lines(several=False)


# --- for people -----------------------------------------------------------------------------------


def test_an_event_is_its_time_level_trigger_and_message() -> None:
    assert PLAIN(event(logged())) == "13:57:14.167  INFO   GET /orders  hello"


def test_an_outcome_is_shown_where_not_all_went_well() -> None:
    line = PLAIN(event(logged("no", level="error", outcome="exception", error="TypeError: no is no x")))

    assert line == "13:57:14.167  ERROR  GET /orders  [exception]  no: TypeError: no is no x"


def test_an_error_that_the_message_says_already_is_not_said_twice() -> None:
    assert PLAIN(event(logged("it failed", error="failed"))).endswith("GET /orders  it failed")


def test_the_script_has_a_column_where_there_are_several() -> None:
    render = pretty(colour=False, scripts=6)

    assert render(event(logged(), script="web")) == "13:57:14.167  INFO   web     GET /orders  hello"


def test_an_error_stands_out_and_colours_end_where_they_should() -> None:
    failed = COLOURED(event(logged("no", level="error")))

    assert "\x1b[1;31mERROR\x1b[0m" in failed
    assert failed.endswith("\x1b[1;31mno\x1b[0m")
    assert "\x1b[1;31m" not in COLOURED(event(logged()))
    assert re.sub(r"\x1b\[[0-9;]*m", "", failed) == PLAIN(event(logged("no", level="error")))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"source": "a line of text"}, Said("log", "", "", "a line of text")),
        ({"source": {"level": "warning", "message": "x"}}, Said("warn", "", "", "x")),
        ({"source": {"a": 1}}, Said("log", "", "", '{"a": 1}')),
        ({"source": {"message": {"a": 1}}}, Said("log", "", "", '{"a": 1}')),
        (
            {"$workers": {"outcome": "exceededCpu", "eventType": "cron"}},
            Said("error", "cron", "exceededCpu", ""),
        ),
        ({"$metadata": {"error": "gone"}, "source": {}}, Said("log", "", "", "gone")),
        ({"$metadata": [], "$workers": "x", "source": None}, Said("log", "", "", "")),
        ({"$metadata": {"level": 5, "message": 7}}, Said("5", "", "", "7")),
        ([1, 2], Said("log", "", "", "[1, 2]")),
    ],
)
def test_whatever_shape_an_event_has_something_is_shown(body: object, said: Said) -> None:
    assert Said.of(event(body)) == said


@pytest.mark.parametrize("raw", ['{"source": ' + "9" * 5000 + "}", '{"source": ' + "[" * 100_000, "{"])
def test_an_event_that_cannot_be_parsed_is_shown_as_it_is(raw: str) -> None:
    line = PLAIN(Event(raw, "", 0, ""))

    assert line.startswith("--:--:--.---  LOG    {")
    assert len(line) < LONGEST_MESSAGE + 100


def test_a_date_of_any_size_is_shown() -> None:
    assert PLAIN(event(logged(), timestamp=253_402_300_799_999)).startswith("23:59:59.999")


@pytest.mark.parametrize("zone", ["XXX-14", "XXX+12"])
@pytest.mark.parametrize("timestamp", [1, 253_402_300_799_999])
def test_a_date_at_either_end_of_the_calendar_is_shown_or_left_out_in_every_time_zone(
    zone: str, timestamp: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()

    assert re.fullmatch(
        r"[\d:.-]{12}  INFO   GET /orders  hello", PLAIN(event(logged(), timestamp=timestamp))
    )


NOT_STORED = "nothing of this Worker is stored; turn on its Workers Logs"

HOSTILE = (
    "\x1b[2J",
    "\x9b2J",
    "\x07",
    "\r",
    "\n",
    "\x00",
    "\x7f",
    "\u202e",
    "\u2066",
    "\u2028",
    "\ufeff",
    "\U000e0001",
)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("render", [PLAIN, pretty(colour=False, scripts=10)])
def test_nothing_that_a_worker_logs_can_drive_a_terminal(text: str, render: object) -> None:
    assert callable(render)
    hostile = event(
        logged(f"a{text}b", level=f"x{text}", outcome=f"o{text}", trigger=f"t{text}", error=f"e{text}"),
        script=f"s{text}",
    )

    assert render(hostile).isprintable()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.dictionaries(
        st.sampled_from(["level", "message", "error", "trigger"]),
        st.text() | st.integers() | st.lists(st.text()),
    ),
)
def test_every_event_is_one_printable_line(source: object, metadata: Json) -> None:
    line = PLAIN(event({"source": source, "$metadata": metadata}))

    assert "".join(each for each in line if each not in "\u200c\u200d").isprintable()


def test_joined_emojis_and_letters_stay_whole() -> None:
    text = "👩\u200d🚀 می\u200cشود"

    assert printable(text, 100) == text


def test_a_very_long_message_is_cut_and_its_size_is_told() -> None:
    line = PLAIN(event(logged("x" * 12_345)))

    assert line.endswith("x… (12 kB)")
    assert line.count("x") == LONGEST_MESSAGE
    assert printable("ä" * 1_000_000, 10) == "ä" * 10 + "… (2.0 MB)"
    assert printable("ä" * 100, 10) == "ä" * 10 + "… (200 bytes)"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            Gap(AT, AT + 2000, "not_stored"),
            "--- events from 13:57:14.167 to 13:57:16.167 may be missing: " + NOT_STORED,
        ),
        (Gap(AT, AT, "http_503"), "--- events from 13:57:14.167 to 13:57:14.167 may be missing: http_503"),
        (Dropped(1), "--- 1 event dropped here: the output was not read fast enough"),
        (Dropped(1234), "--- 1,234 events dropped here: the output was not read fast enough"),
        (Changed(State.DISCONNECTED, "reset: \x1b[2J"), r"--- disconnected: reset: \x1b[2J"),
        (Changed(State.ELIGIBLE), "--- eligible; what is logged comes here"),
    ],
)
def test_what_a_tail_says_of_itself_is_a_line_too(record: Gap | Dropped | Changed, text: str) -> None:
    assert PLAIN(Note(API, record)) == text
    assert re.fullmatch(r"\x1b\[[0-9;]+m.*\x1b\[0m", COLOURED(Note(API, record)))


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained_and_of_several_targets_it_is_said_whose(state: State) -> None:
    line = pretty(colour=False, scripts=5)(Note(API, Changed(state)))

    assert line.startswith("--- api: ")
    assert state.replace("_", " ") in line


# --- for programs ---------------------------------------------------------------------------------


def test_an_event_is_printed_as_it_was_received() -> None:
    raw = '{ "a" : 1.0, "b":"\u202e\x9b\u00e4\\u001b"\t}'

    assert JSON(Event(raw, "", 0, "")) == raw


def test_on_a_terminal_what_could_drive_it_is_escaped_and_the_text_is_the_same() -> None:
    raw = '{ "a" : 1.0, "b":"\u202e\x9b\x7f\u2028\U000e0001 ä👩\u200d🚀 \\u001b"\t}'

    shown = json_lines(several=False, terminal=True)(Event(raw, "", 0, ""))

    assert shown.replace("\t", "").replace("\u200d", "").isprintable()
    assert "ä👩\u200d🚀" in shown
    assert json.loads(shown) == json.loads(raw)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            Gap(1, 2, "timeout"),
            '{"$keepalive": {"type": "gap", "from_ms": 1, "to_ms": 2, "reason": "timeout"}}',
        ),
        (Dropped(3), '{"$keepalive": {"type": "dropped", "count": 3}}'),
        (Changed(State.AT_RISK, "why"), '{"$keepalive": {"type": "state", "state": "at_risk"}}'),
    ],
)
def test_what_a_tail_says_of_itself_is_an_object_with_one_key(
    record: Gap | Dropped | Changed, text: str
) -> None:
    assert JSON(Note(API, record)) == text


def test_of_several_targets_it_is_said_whose() -> None:
    render = json_lines(several=True)

    assert json.loads(render(Note(API, Changed(State.LAPSED))))["$keepalive"]["target"] == API.label
    assert json.loads(render(Note(None, Dropped(3)))) == {"$keepalive": {"type": "dropped", "count": 3}}
