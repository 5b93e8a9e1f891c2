from __future__ import annotations

import asyncio

import pytest

from keepalive.calibration.sight import LONGEST_PATIENCE_SECONDS, PATIENCE_SECONDS, Sight

pytestmark = pytest.mark.looptime


def seen(*delays: float, ahead: float = 0.0) -> Sight:
    """Events that were on their way for so long, one a second."""
    sight = Sight()
    for number, delay in enumerate(delays):
        sight.note(100.0 + number + ahead, 100.0 + number + delay)
    return sight


def test_the_date_is_told_by_the_promptest_event() -> None:
    assert seen().date(50.0) == 50.0
    assert seen(0.5, 0.2, 0.9, ahead=3600).date(200.0) == pytest.approx(3799.8)


def test_the_first_and_the_latest_date_are_kept() -> None:
    sight = Sight()
    for date in (20.0, 10.0, 15.0):
        sight.note(date, 21.0)
    assert (sight.count, sight.first_date, sight.last_date, sight.last_at) == (3, 20.0, 20.0, 21.0)


def test_uneven_delays_make_it_patient() -> None:
    assert seen().patience == PATIENCE_SECONDS
    assert seen(0.1, 0.1).patience < PATIENCE_SECONDS + 0.2
    assert seen(0.1, 4.1).patience > PATIENCE_SECONDS + 8
    assert seen(0.1, 400.0).patience == LONGEST_PATIENCE_SECONDS


def test_a_clock_that_is_far_off_does_not() -> None:
    assert seen(0.1, 0.1, ahead=-3600).patience <= 2 * PATIENCE_SECONDS + 0.2
    assert seen(0.1, 0.1, ahead=3600).patience < PATIENCE_SECONDS + 0.2


def test_a_date_far_ahead_of_all_others_is_not_believed() -> None:
    sight = seen(*[0.1] * 5, ahead=3600)
    assert sight.believes(3800.0, 200.0)
    assert not sight.believes(3800.0 + 61, 200.0)
    assert seen(0.1).believes(1e9, 200.0)


async def test_whoever_waits_for_more_is_woken() -> None:
    sight, loop = Sight(), asyncio.get_running_loop()
    began = loop.time()
    await sight.more(10.0)
    assert loop.time() - began == pytest.approx(10.0)
    loop.call_later(3.0, sight.note, 1.0, 1.0)
    await sight.more(10.0)
    assert loop.time() - began == pytest.approx(13.0)
