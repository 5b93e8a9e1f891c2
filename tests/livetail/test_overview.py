from __future__ import annotations

from keepalive.core.target import Target
from keepalive.core.telemetry import Event
from keepalive.livetail.backlog import Backlog
from keepalive.livetail.overview import CROWD, Overview
from keepalive.livetail.record import Changed, Dropped, Gap, State

API = Target("prod", "0123456789abcdef0123456789abcdef", "api")
WEB = API._replace(script_id="web")
EVENT = Event("{}", "", 0, "api")


class Now:
    """A clock that stands until it is moved."""

    at = 100.0

    def __call__(self) -> float:
        return self.at


def overview(*targets: Target, reason: str = "", now: Now | None = None) -> Overview:
    return Overview(targets, lambda _: reason, now or Now())


def test_before_anything_is_known_it_says_so() -> None:
    assert overview(API).text(Backlog()) == "api connecting for 0 s · 0.0/s · 0 events"
    assert not overview(API).connected


def test_it_says_what_each_tail_is_since_when_and_why() -> None:
    now = Now()
    seen = overview(API, WEB, now=now)
    seen.note(API, Changed(State.ELIGIBLE))
    now.at += 700
    seen.note(WEB, Changed(State.DISCONNECTED, "reset: \x1b[2J"))
    now.at += 5

    text = seen.text(Backlog())

    assert text.startswith(r"api eligible for 12 min · web disconnected for 5 s (reset: \x1b[2J) · ")


def test_eligible_silence_ineligible_silence_and_disconnection_read_differently() -> None:
    texts = set()
    for state in (State.ELIGIBLE, State.LAPSED, State.DISCONNECTED):
        seen = overview(API)
        seen.note(API, Changed(state))
        texts.add(seen.text(Backlog()))

    assert len(texts) == 3


def test_why_a_target_is_not_renewed_is_said_where_the_tail_knows_no_cause() -> None:
    seen = overview(API, reason="the token may not do this")
    seen.note(API, Changed(State.CONNECTED))
    assert "api connected for 0 s (the token may not do this)" in seen.text(Backlog())

    seen.note(API, Changed(State.ELIGIBLE))
    assert "the token" not in seen.text(Backlog())


def test_it_counts_events_a_second_of_late_and_gaps_and_losses() -> None:
    now, backlog, text = Now(), Backlog(most_records=1), ""
    seen = overview(API, now=now)
    for _ in range(10):
        now.at += 1
        for _ in range(3):
            backlog.inlet(API)(EVENT)
        text = seen.text(backlog)
    assert "3.0/s · 30 events" in text
    assert text.endswith("29 dropped")
    seen.note(API, Gap(1, 2, "quota"))
    seen.note(API, Dropped(1))
    now.at += 60

    text = seen.text(backlog)

    assert "0.0/s · 30 events · 1 gap · 29 dropped" in text


def test_a_crowd_is_counted_and_one_that_is_ill_is_named() -> None:
    crowd = [API._replace(script_id=f"s{number}") for number in range(CROWD + 1)]
    seen = overview(*crowd)
    for target in crowd[:-1]:
        seen.note(target, Changed(State.ELIGIBLE))

    assert seen.text(Backlog()).startswith("3 of 4 eligible · s3 connecting for 0 s · ")


def test_what_waits_is_told_once_it_is_much() -> None:
    backlog = Backlog()
    for _ in range(1001):
        backlog.inlet(API)(EVENT)

    assert overview(API).text(backlog).endswith("1,001 wait to be read")
