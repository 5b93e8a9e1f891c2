from __future__ import annotations

import asyncio
import time
from math import inf

import pytest

from keepalive.engine.clock import BootClock


async def test_a_wait_ends_at_its_moment_and_no_sooner() -> None:
    clock = BootClock()
    until = clock.now() + 0.01
    assert await clock.wait(asyncio.Event(), until) == 0
    assert clock.now() >= until - 0.001


async def test_a_wait_without_end_wakes() -> None:
    clock, wake = BootClock(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, wake.set)
    assert await clock.wait(wake, inf) == 0
    assert wake.is_set()


async def test_a_wait_for_what_has_happened_already_ends_at_once() -> None:
    clock, wake = BootClock(), asyncio.Event()
    wake.set()
    await clock.wait(wake, inf)
    await clock.wait(asyncio.Event(), clock.now() - 5)


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_cancellation_that_comes_with_the_event_is_not_lost(turns: int) -> None:
    """As a second signal may, so soon after the first: the drain has woken the scheduler already."""
    clock, wake = BootClock(), asyncio.Event()

    async def work() -> None:
        await clock.wait(wake, clock.now() + 5)
        await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await asyncio.sleep(0.001)
    wake.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    working.cancel()
    await asyncio.wait([working], timeout=0.05)
    assert working.cancelled()


async def test_a_suspend_is_the_growth_of_boot_time_over_running_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = BootClock()
    real = time.clock_gettime
    monkeypatch.setattr(
        time, "clock_gettime", lambda which: real(which) + (3600 if which != time.CLOCK_MONOTONIC else 0)
    )
    assert await clock.wait(asyncio.Event(), 0.0) == pytest.approx(3600, abs=0.1)
    assert await clock.wait(asyncio.Event(), 0.0) == 0


def test_moments_are_told_in_wall_time() -> None:
    clock = BootClock()
    assert clock.wall_at(clock.now() + 60) == pytest.approx(time.time() + 60, abs=0.1)
