"""The supervisor: owns the daemon's parts from start to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from keepalive.engine.ports import Clock
from keepalive.engine.scheduler import Scheduler

SUMMARY_SECONDS = 60.0
"""Seconds between two `eligibility.summary`."""


class Reload(Protocol):
    """Puts another configuration in force. Whatever is wrong with it is told, never raised."""

    async def again(self) -> object:
        """Read all of it again."""
        ...

    async def watch(self) -> None:
        """Use secrets that were rotated, until cancelled."""
        ...


Errand = Callable[[], Coroutine[None, None, None]]
"""Something to do beside the heartbeats, until cancelled. Its faults are its own: raising is a bug."""


class Supervisor:
    """Runs a scheduler until it is told to stop; the first time it drains, the second it ends at once."""

    def __init__(
        self,
        scheduler: Scheduler,
        clock: Clock,
        reload: Reload | None = None,
        errands: Mapping[str, Errand] | None = None,
    ) -> None:
        """Wire it up.

        Args:
            scheduler: Beats.
            clock: Tells the time.
            reload: What SIGHUP asks for.
            errands: What else runs while the scheduler does, by the name of its task.
        """
        self._scheduler = scheduler
        self._clock = clock
        self._reload = reload
        self._errands = dict(errands or {})
        self._hung_up = asyncio.Event()
        self._stops = 0
        self._main: asyncio.Task[object] | None = None

    async def run(self) -> None:
        """Beat until a drain has ended, with a summary every minute and a last one.

        Raises:
            asyncio.CancelledError: `stop` was called twice.
        """
        self._main = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            errands = [tasks.create_task(self._summarise_for_ever(), name="summaries")]
            if self._reload:
                errands.append(tasks.create_task(self._reload.watch(), name="secrets"))
                errands.append(tasks.create_task(self._reload_for_ever(self._reload), name="reload"))
            errands.extend(tasks.create_task(run(), name=name) for name, run in self._errands.items())
            await self._scheduler.run()
            for errand in errands:
                errand.cancel()
        self._summarise(final=True)

    def stop(self, cause: str) -> None:
        """Drain; when called again, give up what is in flight."""
        self._stops += 1
        if self._stops == 1:
            self._scheduler.drain(cause)
        elif self._main is not None:
            self._main.cancel()

    def hang_up(self) -> None:
        """Reload; several calls while a reload is under way ask for one more."""
        self._hung_up.set()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and reload on SIGHUP, for as long as this is entered."""
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        for signum in caught[:2]:
            loop.add_signal_handler(signum, self.stop, signum.name)
        loop.add_signal_handler(signal.SIGHUP, self.hang_up)  # a terminal that closes only reloads
        try:
            yield
        finally:
            for signum in caught:
                loop.remove_signal_handler(signum)

    async def _reload_for_ever(self, reload: Reload) -> None:
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await reload.again()

    async def _summarise_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SUMMARY_SECONDS)
            self._summarise()

    def _summarise(self, *, final: bool = False) -> None:
        self._scheduler.tell(self._scheduler.tally.summary(self._clock.now(), final=final))
