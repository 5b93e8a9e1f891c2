"""The clock: the only module that asks the operating system for the time."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from math import inf
from pathlib import Path

from keepalive.engine.alarm import Alarm

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS has no boot clock
_SUSPEND_WORTH_TELLING = 0.5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

ALARM_SECONDS = 1.0
"""Seconds from which a wait asks for an alarm: a shorter one is over soon enough after a suspend."""


class BootClock:
    """Seconds since boot, suspend included: CLOCK_BOOTTIME of clock_gettime(2).

    Attributes:
        boot_id: Which boot; "" where the system does not say.
    """

    def __init__(self) -> None:
        self.boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        self._alarm = Alarm()
        self._suspended = self._offset()

    @staticmethod
    def _offset() -> float:
        return time.clock_gettime(_BOOT) - time.clock_gettime(time.CLOCK_MONOTONIC)

    def now(self) -> float:
        """Seconds since boot."""
        return time.clock_gettime(_BOOT)

    def wall_at(self, moment: float) -> float:
        """Unix time of a moment of this clock, for people: by the wall clock as it is set now."""
        return time.time() + (moment - self.now())

    async def wait(self, wake: asyncio.Event, until: float) -> float:
        """Wait for `wake` or `until`.

        Returns:
            Seconds that the machine was suspended since the last call; 0 where it was not.
        """
        seconds = until - self.now()
        if seconds > ALARM_SECONDS:
            self._alarm.arm(wake, until)
        await wait(wake, seconds)
        if seconds > ALARM_SECONDS:
            self._alarm.arm(wake, inf)
        suspended = self._offset()
        slept, self._suspended = suspended - self._suspended, suspended
        return slept if slept > _SUSPEND_WORTH_TELLING else 0.0


async def wait(wake: asyncio.Event, seconds: float) -> None:
    """Wait until `wake` is set, or for `seconds` (infinity is allowed)."""
    if wake.is_set():
        return
    # Not by wait_for: that of Python 3.11 loses a cancellation that comes together with the event.
    with suppress(TimeoutError):
        async with asyncio.timeout(None if seconds == inf else max(0.0, seconds)):
            await wake.wait()
