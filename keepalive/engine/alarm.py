"""An alarm: a timer of the kernel that counts suspend (timerfd_create(2) on CLOCK_BOOTTIME)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import weakref
from contextlib import suppress
from math import inf, modf

_BOOTTIME = 7
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE = 1


class _Setting(ctypes.Structure):
    """`struct itimerspec`: the period, which stays 0, and the moment."""

    _fields_ = (
        ("period_seconds", ctypes.c_long),
        ("period_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Alarm:
    """Sets an event at a moment of the boot clock; after a suspend at once, when that moment has passed.

    The timers of an event loop stand still while the machine sleeps: after an hour of it a wait for ten
    more seconds would still wait for ten seconds. Where there is no such timer, nothing ever rings.
    """

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._set = None
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = int(libc.timerfd_create(_BOOTTIME, _NONBLOCK_CLOEXEC))
            if self._descriptor >= 0:
                weakref.finalize(self, os.close, self._descriptor)
                self._set = libc.timerfd_settime

    def arm(self, event: asyncio.Event, at: float) -> None:
        """Set `event` at the moment `at`, in seconds since boot, and no other one; infinity disarms it."""
        if self._set is None:
            return
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.add_reader(self._descriptor, self._ring)
        self._event = event
        fraction, seconds = modf(at) if at < inf else (0.0, 0.0)
        setting = _Setting(0, 0, int(seconds), int(fraction * 1e9))
        self._set(self._descriptor, _ABSOLUTE, ctypes.byref(setting), None)

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # disarmed between the kernel's word and ours
            os.read(self._descriptor, 8)
        if self._event is not None:
            self._event.set()
