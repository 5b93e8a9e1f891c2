from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.outcome import Fault
from keepalive.core.telemetry import Event
from keepalive.livetail import doubt as module
from keepalive.livetail.archive import Look
from keepalive.livetail.doubt import LONGEST_HOLD_SECONDS, PATIENCE_SECONDS, SETTLE_SECONDS, SLACK_MS, Doubt
from keepalive.livetail.record import Gap

BEGAN = 1_000_000


def event(date: int, name: str = "") -> Event:
    return Event(f'{{"at":{date},"name":"{name}"}}', name or f"{date:012d}", date, "api")


def doubted(*held: Event) -> Doubt:
    """A doubt from `BEGAN` on, with a stream again since the moment 100."""
    doubt = Doubt(BEGAN, 0)
    doubt.join(100.0, BEGAN + 10_000, PATIENCE_SECONDS)
    doubt.hold(held, 101.0)
    doubt.fasten(held, 101.0, BEGAN, PATIENCE_SECONDS)
    return doubt


def test_what_is_found_comes_before_what_was_held_and_both_in_order() -> None:
    held = [event(BEGAN + 11_000), event(BEGAN + 12_000)]
    doubt = doubted(*held)
    found = [event(BEGAN + at) for at in (7000, 3000, 11_500)]
    doubt.find(found)
    assert doubt.end("", BEGAN) == [found[1], found[0], held[0], found[2], held[1]]


def test_what_was_held_keeps_the_order_in_which_it_came() -> None:
    held = [event(BEGAN + at) for at in (11_300, 11_100, 11_200, 11_400)]
    assert doubted(*held).end("", BEGAN) == held


def test_a_gap_covers_the_doubt_with_its_slack_and_stands_in_its_turn() -> None:
    early, late = event(BEGAN - SLACK_MS - 1), event(BEGAN + 11_000)
    doubt = doubted(late)
    doubt.shown = True
    doubt.find([early])
    gap = Gap(BEGAN - SLACK_MS, late.timestamp + SLACK_MS, "not_indexed")
    assert doubt.end("not_indexed", BEGAN) == [early, gap, late]


def test_a_gap_begins_where_the_far_side_was_last_heard() -> None:
    doubt = Doubt(BEGAN, BEGAN + 500_000)
    assert doubt.span(BEGAN + 900_000).begin_ms == BEGAN - SLACK_MS
    (gap,) = doubt.end("disconnected", BEGAN + 900_000)
    assert gap == Gap(BEGAN + 500_000 - SLACK_MS, BEGAN + 900_000 + SLACK_MS, "disconnected")


def test_what_is_newer_than_everything_held_is_left_to_the_stream() -> None:
    held = event(BEGAN + 11_000)
    doubt = doubted(held)
    doubt.find([event(BEGAN + 12_000)])
    assert doubt.end("", BEGAN) == [held]


def test_ids_that_were_never_recognised_take_no_event_twice() -> None:
    held = event(BEGAN + 11_000)
    doubt = doubted(held)
    inside = event(BEGAN + 5000, "other")
    doubt.find([event(BEGAN - 10, "told before, by another name"), inside])
    records = doubt.end("not_indexed", BEGAN)
    assert [each for each in records if isinstance(each, Event)] == [inside, held]


def test_an_event_without_an_id_is_taken_from_the_archive_only_where_no_stream_was() -> None:
    nameless = [Event(f"{at}", "", BEGAN + at, "api") for at in (-5, 5000, 11_500)]
    doubt = doubted(event(BEGAN + 11_000))
    doubt.find(nameless)
    assert doubt.end("", BEGAN)[:-1] == [nameless[1]]


def test_it_is_settled_once_the_anchor_was_shown_for_a_while() -> None:
    anchor = event(BEGAN + 11_000)
    doubt = doubted(anchor)
    look = Look((anchor,), whole=True)
    assert doubt.weigh(Look((), whole=True), 105.0) is None
    assert doubt.weigh(look, 106.0) is None
    assert doubt.weigh(look, 106.0 + SETTLE_SECONDS) == ""


def test_another_stream_asks_for_another_anchor() -> None:
    doubt = doubted(event(BEGAN + 11_000))
    doubt.leave()
    doubt.join(110.0, BEGAN + 20_000, PATIENCE_SECONDS)
    later = event(BEGAN + 21_000)
    assert doubt.span(0).end_ms == BEGAN + SLACK_MS
    doubt.hold([later], 111.0)
    doubt.fasten([later], 111.0, BEGAN, PATIENCE_SECONDS)
    assert doubt.anchor == later
    assert doubt.span(0).end_ms == later.timestamp + SLACK_MS


def test_a_date_that_cannot_be_true_is_no_anchor() -> None:
    far, near = event(BEGAN + 10**10), event(BEGAN + 11_000)
    assert doubted(far, near).anchor == near


def test_nothing_is_held_longer_than_a_minute_whatever_breaks() -> None:
    doubt = doubted(event(BEGAN + 11_000))
    for at in range(110, 300, 10):
        doubt.leave()
        doubt.join(at, BEGAN, PATIENCE_SECONDS)
    assert doubt.until == 101.0 + LONGEST_HOLD_SECONDS


def test_without_a_stream_and_with_nothing_held_it_waits_for_ever() -> None:
    assert Doubt(BEGAN, 0).until == inf


def test_a_denied_look_ends_it_and_a_passing_fault_does_not() -> None:
    doubt = doubted(event(BEGAN + 11_000))
    assert doubt.weigh(Look((), fault=Fault("http_503")), 105.0) is None
    assert doubt.verdict(130.0, PATIENCE_SECONDS, stored=True) == "http_503"
    assert doubt.weigh(Look((), fault=Fault("authentication"), denied=True), 106.0) == "authentication"


def test_the_verdict_says_why() -> None:
    anchored, quiet = doubted(event(BEGAN + 11_000)), doubted()
    assert (
        anchored.verdict(130.0, PATIENCE_SECONDS, stored=True),
        anchored.verdict(130.0, PATIENCE_SECONDS, stored=False),
    ) == (
        "not_indexed",
        "not_stored",
    )
    assert (
        quiet.verdict(130.0, PATIENCE_SECONDS, stored=True),
        quiet.verdict(130.0, PATIENCE_SECONDS, stored=False),
    ) == ("", "unconfirmed")
    quiet.leave()
    assert quiet.verdict(130.0, PATIENCE_SECONDS, stored=True) == "disconnected"
    quiet.weigh(None, 130.0)
    assert quiet.verdict(130.0, PATIENCE_SECONDS, stored=True) == "timeout"


def test_a_silence_is_none_before_the_index_had_its_time_since_there_is_a_stream() -> None:
    quiet = doubted()
    assert quiet.verdict(100.0 + PATIENCE_SECONDS - 1, PATIENCE_SECONDS, stored=True) == "not_indexed"


def test_the_lag_of_the_index_is_what_it_does_not_show_of_what_is_held() -> None:
    held = [event(BEGAN + at) for at in (11_000, 12_000, 13_000)]
    doubt = doubted(*held)
    now_ms = BEGAN + 50_000
    assert doubt.lag_of(Look((), whole=True), now_ms, 0) == 39_000
    assert doubt.lag_of(Look((held[0],), whole=True), now_ms, 90_000) == 39_000
    assert doubt.lag_of(Look((held[1],), whole=True), now_ms, 0) == 37_000
    assert doubt.lag_of(Look(tuple(held), whole=True), now_ms, 90_000) == 37_000


def test_a_429_is_waited_for() -> None:
    doubt = doubted()
    doubt.weigh(Look((), fault=Fault("throttled"), pause=20.0), 105.0)
    assert doubt.pause == 20.0


def test_it_overflows_in_events_and_in_size() -> None:
    many, large = doubted(), doubted()
    many.hold([event(BEGAN)] * (module.MOST_HELD + 1), 1.0)
    large.hold([Event("x" * (module.MOST_HELD_BYTES + 1), "id", BEGAN, "api")], 1.0)
    assert (many.overflows, large.overflows, doubted().overflows) == (True, True, False)


dates = st.lists(st.integers(min_value=0, max_value=20_000), unique=True, max_size=30)


@given(held=dates, found=dates, reason=st.sampled_from(["", "not_indexed"]))
def test_nothing_that_was_held_is_lost_and_nothing_found_comes_twice(
    held: list[int], found: list[int], reason: str
) -> None:
    doubt = doubted(*(event(BEGAN + at) for at in held))
    doubt.shown = True
    doubt.find(event(BEGAN + at) for at in found if at not in held)
    told = [each for each in doubt.end(reason, BEGAN) if isinstance(each, Event)]
    assert len(told) == len(set(told))
    assert [each for each in told if each.timestamp - BEGAN in held] == [event(BEGAN + at) for at in held]
