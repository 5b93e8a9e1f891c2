"""Events as they come: the shapes of a frame, and what strangers put into one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.cloudflare import telemetry
from keepalive.cloudflare.telemetry import LATEST, LONGEST_NAME, MOST_EVENTS, FrameError, events_of
from keepalive.core.telemetry import Event

EVENT = {
    "dataset": "cloudflare-workers",
    "timestamp": 1_700_000_000_123,
    "source": {"level": "info", "message": "wörld \N{WAVING HAND SIGN}"},
    "$workers": {"scriptName": "api", "outcome": "ok"},
    "$metadata": {"id": "01HF", "service": "api-service", "level": "info"},
}
RAW = json.dumps(EVENT, ensure_ascii=False, separators=(",", ":"))
READ = Event(RAW, "01HF", 1_700_000_000_123, "api")


@pytest.fixture(params=["orjson", "json"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "json":
        monkeypatch.setattr(telemetry, "_fast", None)
    else:
        assert telemetry._fast, "the tests run with the extra `speed`"


@pytest.mark.parametrize(
    ("frame", "events"),
    [
        (RAW, [READ]),
        (RAW.encode(), [READ]),
        (f"[{RAW},\n {RAW}]", [READ, READ]),
        (f'{{"events": [{RAW}], "count": 1}}', [READ]),
        ('{"events":[]}', []),
        ("[]", []),
    ],
)
def test_a_frame_is_an_event_a_list_or_an_object_that_holds_them(
    frame: str | bytes, events: list[Event]
) -> None:
    assert events_of(frame) == events


def test_an_event_alone_keeps_its_text_as_it_was_received() -> None:
    raw = '{ "timestamp":1.70e12, "n": 1e2, "n": 3.10, "big": 123456789012345678901234567890 }'

    assert events_of(raw) == [Event(raw, "", 1_700_000_000_000, "")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_event_on_many_lines_becomes_one_line_that_says_the_same(end: str) -> None:
    [event] = events_of(end.join(json.dumps(EVENT, indent=1).split("\n")) + end)

    assert not {"\n", "\r"} & set(event.raw)
    assert json.loads(event.raw) == EVENT


def test_numbers_in_a_list_of_events_stay_what_they_are() -> None:
    [event] = events_of('[{"n":123456789012345678901234567890}]')

    assert event.raw == '{"n":123456789012345678901234567890}'


def test_an_event_with_a_key_events_is_still_an_event() -> None:
    raw = '{"$metadata":{"id":"a"},"events":[1]}'

    assert events_of(raw) == [Event(raw, "a", 0, "")]


@pytest.mark.parametrize("frame", ['{"m":"\\ud83d"}', '[{"m":"\\ud83d"}]'])
def test_a_message_that_was_cut_inside_an_emoji_is_read_and_can_be_written(frame: str) -> None:
    [event] = events_of(frame)

    assert event.raw.encode() == b'{"m":"\\ud83d"}'


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ({"$metadata": {"service": "named"}, "$workers": None}, ("", 1_700_000_000_123, "named")),
        ({"$metadata": None, "$workers": 7}, ("", 1_700_000_000_123, "")),
        ({"$metadata": {"id": 7}, "timestamp": None}, ("", 0, "api")),
        ({"timestamp": 1.5e12}, ("01HF", 1_500_000_000_000, "api")),
        ({"timestamp": True}, ("01HF", 0, "api")),
        ({"timestamp": "2026-01-31"}, ("01HF", 0, "api")),
        ({"timestamp": -1}, ("01HF", 0, "api")),
        ({"timestamp": LATEST}, ("01HF", LATEST, "api")),
        ({"timestamp": LATEST + 1}, ("01HF", 0, "api")),
        ({"timestamp": 10**400}, ("01HF", 0, "api")),
        ({"$metadata": {"id": "x" * LONGEST_NAME}}, ("x" * LONGEST_NAME, 1_700_000_000_123, "api")),
        ({"$metadata": {"id": "x" * (LONGEST_NAME + 1)}}, ("", 1_700_000_000_123, "api")),
    ],
)
def test_what_an_event_does_not_say_in_the_known_way_counts_as_not_said(
    change: dict[str, object], read: tuple[str, int, str]
) -> None:
    [event] = events_of(json.dumps(EVENT | change))

    assert event[1:] == read


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "no JSON"),
        ("hello", "no JSON"),
        (RAW[:-1], "no JSON"),
        (RAW + RAW, "no JSON"),
        ("NaN", "no JSON"),
        ('{"n":NaN}', "no JSON"),
        ('{"m":"\x1b[2J"}', "no JSON"),
        ('{"m":"\ud83d"}', "no JSON"),
        ('{"n":' + "1" * 5000 + "}", "no JSON"),
        (b'{"m":"\xff"}', "no UTF-8"),
        ("[" * 10_000 + "]" * 10_000, "nested too deeply"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
        ("[" * 500_000, "nested too deeply"),
        ("null", "null instead of an event"),
        ('"event"', "a string instead of an event"),
        ("3", "a number instead of an event"),
        ("true", "a boolean instead of an event"),
        (f"[{RAW},[]]", "a list instead of an event in a list"),
        ('{"events":[null]}', "null instead of an event in a list"),
        ("[" + "{}," * MOST_EVENTS + "{}]", f"more than {MOST_EVENTS} events at once"),
        ('[{"n":1e999}]', "a number that no JSON can hold"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_holds_no_events_is_refused_in_a_few_words_of_our_own(frame: str | bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        events_of(frame)

    assert reason in caught.value.reason
    assert len(caught.value.reason) < 60


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["events", "$metadata", "id"]), inner),
    max_leaves=20,
)


@given(st.text() | st.binary() | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps(value, indent=2)))
def test_whatever_comes_is_events_of_one_line_or_a_frame_error(frame: str | bytes) -> None:
    try:
        events = events_of(frame)
    except FrameError:
        return
    for event in events:
        assert isinstance(json.loads(event.raw), dict)
        assert event.raw.encode().count(b"\n") == event.raw.count("\r") == 0
