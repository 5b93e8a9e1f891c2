from __future__ import annotations

import pytest

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import AttemptFailed, Event, HeartbeatAccepted, SuspendDetected
from keepalive.core.outcome import Fault
from keepalive.core.target import Target
from keepalive.demo.ticker import REMEMBERED, Ticker, noteworthy
from tests.sinks.samples import changed

TARGET = Target("prod", "0" * 32, "api")


def accepted(attempt: int, *, hedge: bool = False) -> HeartbeatAccepted:
    return HeartbeatAccepted(
        at=0.0,
        target=TARGET,
        attempt=attempt,
        hedge=hedge,
        latency=0.1,
        lateness=0.0,
        eligible_until=9.0,
        cf_ray="ray",
    )


def failed(at: float = 0.0) -> AttemptFailed:
    fault = Fault("http_503", "a page", 503, None, "ray", "wait")
    return AttemptFailed(
        at=at, target=TARGET, attempt=1, hedge=False, latency=0.1, outcome="transient", fault=fault
    )


def ticker() -> Ticker:
    return Ticker(lambda moment: moment, colour=False)


@pytest.mark.parametrize(
    ("event", "worth"),
    [
        (accepted(1), False),
        (accepted(2), True),
        (accepted(2, hedge=True), True),
        (failed(), True),
        (changed(Eligibility.PENDING), False),
        (changed(Eligibility.AT_RISK), True),
        (SuspendDetected(at=0.0, suspended=1.0), True),
    ],
)
def test_all_but_what_went_well_at_once_is_worth_a_line(event: Event, *, worth: bool) -> None:
    assert noteworthy(event) is worth


def test_a_line_has_what_fits_and_a_hedge_is_named_only_where_it_is_one() -> None:
    told = ticker()
    told(accepted(2, hedge=True))
    told(accepted(2))
    hedged, plain = told.lines
    assert hedged.endswith("attempt=2 hedge=true")
    assert plain.endswith("attempt=2")
    assert "ray" not in hedged


def test_one_fault_is_told_once_a_second_and_counted() -> None:
    told = ticker()
    for at in (0.0, 0.2, 0.4, 1.5):
        told(failed(at))
    assert len(told.lines) == 2
    assert "repeats=2" in told.lines[-1]


def test_only_the_last_lines_are_kept_announcements_among_them() -> None:
    told = ticker()
    for number in range(REMEMBERED + 1):
        told.announce(f"line {number}")
    assert (told.lines[0], len(told.lines)) == ("── line 1", REMEMBERED)
