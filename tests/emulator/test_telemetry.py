from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keepalive.emulator.bodies import QueryBody
from keepalive.emulator.telemetry import Telemetry

BEGAN = 1_700_000_000_000
ACCOUNT = "a" * 32
LATER = BEGAN + 3_600_000


def asked(begin: int, end: int, **more: object) -> QueryBody:
    return QueryBody.model_validate({"queryId": "x", "timeframe": {"from": begin, "to": end}, **more})


def ids(telemetry: Telemetry, query: QueryBody, scripts: tuple[str, ...] = ("api", "web")) -> list[str]:
    return [event.event_id for event in telemetry.query(ACCOUNT, scripts, query, LATER)]


@given(
    rate=st.floats(min_value=0.1, max_value=50),
    begin=st.integers(min_value=-5000, max_value=20_000),
    length=st.integers(min_value=1, max_value=20_000),
)
def test_a_query_finds_exactly_the_events_of_its_timeframe(rate: float, begin: int, length: int) -> None:
    telemetry = Telemetry(rate, BEGAN)
    begin += BEGAN
    every = [telemetry.event(ACCOUNT, "api", number) for number in range(1, int(50 * rate) + 2)]
    inside = [event.event_id for event in every if begin <= event.timestamp <= begin + length]
    assert ids(telemetry, asked(begin, begin + length, limit=2000), ("api",)) == inside[::-1][:2000]


def test_pages_cover_everything_once_in_both_directions() -> None:
    telemetry = Telemetry(2.0, BEGAN)
    whole = ids(telemetry, asked(BEGAN, BEGAN + 30_000, limit=2000))
    assert len(whole) == len(set(whole)) == 120
    assert whole == sorted(whole, reverse=True)
    older: list[str] = []
    offset = None
    while page := ids(telemetry, asked(BEGAN, BEGAN + 30_000, limit=17, offset=offset)):
        older += page
        offset = page[-1]
    assert older == whole
    newer: list[str] = []
    offset = whole[-1]
    while page := ids(
        telemetry, asked(BEGAN, BEGAN + 30_000, limit=17, offset=offset, offsetDirection="prev")
    ):
        newer = page + newer
        offset = page[0]
    assert newer == whole[:-1]


def test_events_are_found_once_they_are_indexed() -> None:
    telemetry = Telemetry(1.0, BEGAN)
    query = asked(BEGAN, LATER)
    assert telemetry.query(ACCOUNT, ["api"], query, BEGAN + 999) == []
    assert [event.timestamp for event in telemetry.query(ACCOUNT, ["api"], query, BEGAN + 2000)] == [
        BEGAN + 2000,
        BEGAN + 1000,
    ]


def test_filters_choose() -> None:
    telemetry = Telemetry(1.0, BEGAN)
    errors = {"filters": [{"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"}]}
    found = telemetry.query(ACCOUNT, ["api"], asked(BEGAN, BEGAN + 30_000, parameters=errors), LATER)
    assert [event.timestamp - BEGAN for event in found] == [29_000, 19_000, 9_000]


def test_a_rate_of_zero_logs_nothing() -> None:
    assert ids(Telemetry(0.0, BEGAN), asked(BEGAN, LATER)) == []


@given(rate=st.floats(min_value=0.1, max_value=200), now=st.floats(min_value=0, max_value=1e6))
def test_the_next_event_is_the_first_one_still_to_come(rate: float, now: float) -> None:
    telemetry = Telemetry(rate, BEGAN)
    number = telemetry.next_number(BEGAN + now)
    assert telemetry.due_ms(number) >= BEGAN + now - 1
    assert telemetry.due_ms(number - 1) <= BEGAN + now + 1
