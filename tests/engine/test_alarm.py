from __future__ import annotations

import asyncio
import time
from math import inf

import pytest

from keepalive.engine import clock as clock_module
from keepalive.engine.alarm import Alarm
from keepalive.engine.clock import BootClock


def boot_now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_it_sets_the_event_at_its_moment_and_no_sooner() -> None:
    alarm, event, at = Alarm(), asyncio.Event(), boot_now() + 0.03
    alarm.arm(event, at)
    await event.wait()
    assert at <= boot_now() < at + 1


async def test_a_moment_that_has_passed_rings_at_once() -> None:
    alarm, event = Alarm(), asyncio.Event()
    alarm.arm(event, boot_now() - 3600)
    async with asyncio.timeout(1):
        await event.wait()


async def test_the_last_one_armed_counts_alone() -> None:
    alarm, first, second = Alarm(), asyncio.Event(), asyncio.Event()
    alarm.arm(first, boot_now() + 0.01)
    alarm.arm(second, boot_now() + 0.02)
    await second.wait()
    assert not first.is_set()


async def test_a_disarmed_one_is_silent() -> None:
    alarm, event = Alarm(), asyncio.Event()
    alarm.arm(event, boot_now() + 0.01)
    alarm.arm(event, inf)
    await asyncio.sleep(0.03)
    assert not event.is_set()


async def test_a_long_wait_ends_by_the_boot_clock_while_the_timers_of_the_loop_stand_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def stand_still(wake: asyncio.Event, seconds: float) -> None:
        await wake.wait()

    monkeypatch.setattr(clock_module, "wait", stand_still)
    monkeypatch.setattr(clock_module, "ALARM_SECONDS", 0.01)
    clock = BootClock()
    until = clock.now() + 0.03
    async with asyncio.timeout(1):
        await clock.wait(asyncio.Event(), until)
    assert clock.now() >= until
