from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.telemetry import Event
from keepalive.livetail.seen import HORIZON_SECONDS, Seen


def event(name: str, raw: str = "{}") -> Event:
    return Event(raw, name, 0, "api")


@given(st.lists(st.integers(min_value=0, max_value=30)), st.integers(min_value=31, max_value=40))
def test_each_event_is_fresh_once_among_as_many_as_fit(numbers: list[int], capacity: int) -> None:
    seen = Seen(capacity=capacity)
    fresh = [each for number in numbers for each in seen.fresh([event(str(number))], 0.0)]
    assert [each.event_id for each in fresh] == [str(number) for number in dict.fromkeys(numbers)]


def test_its_memory_is_bounded_by_number_and_reaches_at_least_so_far() -> None:
    seen = Seen(capacity=10)
    events = [event(str(number)) for number in range(100)]
    for each in events:
        seen.fresh([each], 0.0)
    remembered = [each in seen for each in events]
    assert all(remembered[-10:])
    assert sum(remembered) <= 20


def test_its_memory_fades() -> None:
    seen = Seen()
    seen.fresh([event("old")], 0.0)
    for generation in (1, 2):
        assert event("old") in seen
        seen.fresh([event("new")], generation * (HORIZON_SECONDS + 1))
    assert event("old") not in seen


def test_without_an_id_its_text_tells_events_apart() -> None:
    seen = Seen()
    first, second = event("", '{"a":1}'), event("", '{"a":2}')
    assert seen.fresh([first, second, first], 0.0) == [first, second]
