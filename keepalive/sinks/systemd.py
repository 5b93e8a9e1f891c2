"""systemd: tells the service manager that the daemon is ready, alive, how it stands and when it stops."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import DaemonDraining, EligibilityChanged, EligibilitySummary, Event

STATUS_SECONDS = 1.0
"""Seconds between two status lines at least: a crowd of changes is told once."""

DRAIN_SECONDS = 6
"""Seconds that a drain is given, one to spare; asked for where `TimeoutStopSec=` allows fewer."""

_WORDS = {
    Eligibility.ELIGIBLE: "eligible",
    Eligibility.AT_RISK: "at risk",
    Eligibility.LAPSED: "lapsed",
    Eligibility.PENDING: "pending",
    Eligibility.DENIED: "denied",
    Eligibility.REFUSED: "refused",
}


def notify(address: str, *assignments: str) -> bool:
    """Send what is assigned as one message by sd_notify(3). Never blocks, never raises.

    Args:
        address: Where systemd listens: a path, or `@` and an abstract name.
        assignments: Such as `READY=1`.

    Returns:
        True when the message was taken; systemd's queue may be full.
    """
    address = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(assignments).encode(), address)
    except (OSError, ValueError):  # the latter for a name that holds a null byte
        return False
    return True


@dataclass(frozen=True, slots=True)
class Manager:
    """What a service manager asks of this process.

    Attributes:
        address: Where it listens.
        watchdog: Seconds after which it kills who is silent; 0 when it does not watch.
    """

    address: str
    watchdog: float


def take_manager(environ: MutableMapping[str, str]) -> Manager | None:
    """Read who manages this process, or None; its variables are removed, so that no child speaks for us."""
    address = environ.pop("NOTIFY_SOCKET", "")
    microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not address.startswith(("/", "@")):
        return None
    watched = microseconds.isdecimal() and pid in ("", str(os.getpid()))
    return Manager(address, int(microseconds) / 1e6 if watched else 0.0)


class Notifier:
    """A sink and an errand: READY once the loop turns, WATCHDOG while healthy, STATUS, and STOPPING."""

    def __init__(
        self,
        manager: Manager,
        *,
        counts: Callable[[], Mapping[Eligibility, int]],
        budget: Callable[[], float],
        healthy: Callable[[], bool],
    ) -> None:
        """Wire it up.

        Args:
            manager: Who listens.
            counts: How many targets are in which state.
            budget: The largest part of its share that a rate group has spent, 0 to 1 and above.
            healthy: Whether the loop turns and the scheduler is on time; while it says no, the watchdog
                is not fed.
        """
        self._manager = manager
        self._counts = counts
        self._budget = budget
        self._healthy = healthy
        self._changed = asyncio.Event()
        self._stopping = False

    def __call__(self, event: Event) -> None:
        """Take note of what changes the status, and tell at once that a drain begins."""
        match event:
            case EligibilityChanged() | EligibilitySummary():
                self._changed.set()
            case DaemonDraining():
                self._stopping = True
                self._say("STOPPING=1", f"EXTEND_TIMEOUT_USEC={DRAIN_SECONDS}000000", f"STATUS={self.status}")
            case _:
                pass

    @property
    def status(self) -> str:
        """How the daemon stands, in one line: `58 eligible, 2 at risk, budget 71 %`."""
        counts = self._counts()
        parts = [f"{count:,} {word}" for state, word in _WORDS.items() if (count := counts[state])]
        parts = [*parts, f"budget {self._budget() * 100:.0f} %"] if parts else ["no targets"]
        return ("stopping: " if self._stopping else "") + ", ".join(parts)

    async def run(self) -> None:
        """Say that the daemon is ready, tell its status and feed the watchdog, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_status(), name="status")
            if self._manager.watchdog:
                tasks.create_task(self._feed_watchdog(self._manager.watchdog / 3), name="watchdog")

    async def _tell_status(self) -> None:
        told, ready = "", ["READY=1"]
        while True:
            status = self.status
            if status != told and self._say(*ready, f"STATUS={status}"):
                told, ready = status, []
            elif status != told:
                self._changed.set()  # systemd's queue is full: a start would time out without the first word
            await asyncio.sleep(STATUS_SECONDS)
            await self._changed.wait()
            self._changed.clear()

    async def _feed_watchdog(self, seconds: float) -> None:
        while True:
            if self._healthy():
                self._say("WATCHDOG=1")
            self._changed.set()  # the budget changes without an event
            await asyncio.sleep(seconds)

    def _say(self, *assignments: str) -> bool:
        return notify(self._manager.address, *assignments)
