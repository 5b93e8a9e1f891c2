"""The supervisor: owns the daemon's parts from start to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from keepalive.engine.ports import Clock
from keepalive.engine.scheduler import Scheduler

SUMMARY_SECONDS = 60.0
"""Seconds between two `eligibility.summary`."""


class Supervisor:
    """Runs a scheduler until it is told to stop; the first time it drains, the second it ends at once."""

    def __init__(self, scheduler: Scheduler, clock: Clock) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._stops = 0
        self._main: asyncio.Task[object] | None = None

    async def run(self) -> None:
        """Beat until a drain has ended, with a summary every minute and a last one.

        Raises:
            asyncio.CancelledError: `stop` was called twice.
        """
        self._main = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            summaries = tasks.create_task(self._summarise_for_ever(), name="summaries")
            await self._scheduler.run()
            summaries.cancel()
        self._summarise(final=True)

    def stop(self, cause: str) -> None:
        """Drain; when called again, give up what is in flight."""
        self._stops += 1
        if self._stops == 1:
            self._scheduler.drain(cause)
        elif self._main is not None:
            self._main.cancel()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and outlive SIGHUP, for as long as this is entered."""
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        for signum in caught[:2]:
            loop.add_signal_handler(signum, self.stop, signum.name)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # a terminal that closes must lapse nobody
        try:
            yield
        finally:
            for signum in caught:
                loop.remove_signal_handler(signum)

    async def _summarise_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SUMMARY_SECONDS)
            self._summarise()

    def _summarise(self, *, final: bool = False) -> None:
        self._scheduler.tell(self._scheduler.tally.summary(self._clock.now(), final=final))
