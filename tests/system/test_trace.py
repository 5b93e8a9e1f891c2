"""The fault trace against real processes, in short; `make bench` plays it in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from benchmarks.trace import early, play, worst_period
from keepalive.emulator import Arrival, Route

FACTOR = 3.0
"""A window of 15 s in real time; the trace of 138 s is then played in 46 s.

Faster would be harder than life: what the engine has in real seconds (a hedge after one, a dead origin
after five) does not shrink along.
"""

SEED = 2


@pytest.mark.timeout(120)
async def test_a_trace_of_faults_lapses_nobody_and_never_breaks_a_silence(tmp_path: Path) -> None:
    played = await play(Fleet(factor=FACTOR), seed=SEED, seconds=138.0, folder=tmp_path)
    assert played.never == 0
    assert played.lapses == ()
    assert played.throttled > 0
    assert played.early == 0
    assert played.worst <= 1080
    assert played.exit_code == 0


def arrival(at: float, user: str = "a", retry_after: int | None = None) -> Arrival:
    status = 429 if retry_after else 200
    return Arrival(at, "POST", "/", {}, b"{}", Route.HEARTBEAT, user, None, None, status, None, retry_after)


def test_a_request_is_early_in_a_silence_of_its_own_user_only() -> None:
    arrivals = [
        arrival(10.0, retry_after=5),
        arrival(10.2),  # it had left before
        arrival(11.0),
        arrival(11.0, user="b"),
        arrival(14.9),
        arrival(15.1),
    ]
    assert list(early(arrivals)) == [False, False, True, False, True, False]


def test_a_silence_is_in_real_seconds_while_arrivals_are_in_emulated_ones() -> None:
    arrivals = [arrival(30.0, retry_after=5), arrival(44.0), arrival(46.0)]
    assert list(early(arrivals, factor=3.0)) == [False, True, False]


def test_the_worst_period_is_that_of_one_user() -> None:
    busy = [arrival(float(second)) for second in range(400)]
    assert worst_period([*busy, arrival(400.0, user="b")]) == 300
