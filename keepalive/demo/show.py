"""The show: the emulator, the real daemon, the naive loop and the fault script, wired up for a while."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import chain

from keepalive import app
from keepalive.config import Configuration
from keepalive.core.events import DaemonDraining, Event, Sink
from keepalive.demo import stage
from keepalive.demo.closing import closing
from keepalive.demo.naive import NaiveLoop
from keepalive.demo.scene import Contestant, Held, QuotaUse, Scene, TargetRow, Weather, counted
from keepalive.demo.scores import Scores
from keepalive.demo.script import Spell, script
from keepalive.emulator import Emulator, FaultKind, Place
from keepalive.engine.clock import BootClock
from keepalive.engine.supervisor import Supervisor

Announce = Callable[[str], None]
"""Takes what the demo itself has to say, in one line; never blocks, never raises."""


@asynccontextmanager
async def open_show(seed: int, clock: BootClock, overrides: Mapping[str, str]) -> AsyncIterator[Show]:
    """A show whose emulator listens for as long as this is entered; nothing is sent until it runs.

    Args:
        seed: Makes the faults repeatable.
        clock: The engine's clock.
        overrides: Configuration from the command line: dotted keys and their texts.
    """
    async with Emulator(stage.world(), time_factor=stage.SPEED, seed=seed) as emulator:
        yield Show(seed, clock, emulator, stage.configuration(emulator.base_url, overrides))


class Show:
    """One run of the demo.

    Attributes:
        configuration: What the daemon runs on.
    """

    def __init__(self, seed: int, clock: BootClock, emulator: Emulator, configuration: Configuration) -> None:
        self.configuration = configuration
        self._seed = seed
        self._clock = clock
        self._emulator = emulator
        self._script = script(seed)
        self._spell = next(self._script)
        self._spells = 0
        plan = configuration.plan.values()
        self._scores = Scores(chain.from_iterable(group.targets for group in plan))
        self._naive_places = tuple(stage.places(stage.NAIVE))
        self._own_places = tuple(chain.from_iterable(map(stage.places, stage.CREDENTIALS)))
        self._naive = NaiveLoop(
            emulator.base_url, stage.NAIVE_TOKEN, self._naive_places, stage.NAIVE_INTERVAL / stage.SPEED
        )
        self._last: Scene | None = None

    async def run(self, sink: Sink, announce: Announce, seconds: float | None) -> None:
        """Play until SIGTERM, SIGINT or the end of `seconds`, then drain.

        Raises:
            asyncio.CancelledError: A second signal came before the drain was over.
        """
        loop, plan = asyncio.get_running_loop(), self.configuration.plan
        tell = app.fan_out((self._scores, self._watch_end, sink))
        async with (
            app.engine(self.configuration, plan, self._clock, tell) as engine,
            asyncio.TaskGroup() as tasks,
        ):
            supervisor = Supervisor(engine.scheduler, self._clock)
            beside = [
                tasks.create_task(self._play(announce), name="fault script"),
                tasks.create_task(self._naive.run(), name="naive loop"),
            ]
            end = loop.call_later(seconds, supervisor.stop, "time is up") if seconds else None
            try:
                with supervisor.signals():
                    await supervisor.run()
            finally:
                if end:
                    end.cancel()
                for task in beside:
                    task.cancel()

    def scene(self) -> Scene:
        """What is to be seen now; once the end was asked for, what was to be seen then."""
        return self._last or self._scene()

    def closing(self) -> list[str]:
        """The closing words."""
        return closing(self.scene(), spells=self._spells, seed=self._seed)

    # --- the course of it ----------------------------------------------------------------------

    async def _play(self, announce: Announce) -> None:
        while True:
            spell = self._spell
            self._emulator.faults.add(spell.fault)
            await self._moment(spell.begins)
            self._spells += 1
            announce(f"{spell.name}, for {(spell.ends - spell.begins) / stage.SPEED:.1f} s")
            await self._moment(spell.ends)
            announce(f"over: {spell.name}")
            self._emulator.faults.clear()
            self._spell = next(self._script)

    async def _moment(self, moment: float) -> None:
        """Wait for a moment of the emulated clock."""
        await asyncio.sleep((moment - self._emulator.now) / stage.SPEED)

    def _watch_end(self, event: Event) -> None:
        """A drain renews nobody any more: the measuring ends where it begins."""
        if isinstance(event, DaemonDraining):
            self._last = self._scene()

    # --- what is to be seen --------------------------------------------------------------------

    def _scene(self) -> Scene:
        now = self._clock.now()
        scores = self._scores
        return Scene(
            elapsed=self._emulator.now / stage.SPEED,
            speed=stage.SPEED,
            window=stage.WINDOW / stage.SPEED,
            weather=_weather(self._spell, self._emulator.now),
            targets=tuple(
                TargetRow(
                    name=target.script_id or stage.WHOLE_ACCOUNT,
                    credential=target.credential,
                    state=score.state,
                    left=max(0.0, (score.eligible_until or now) - now),
                    marks=tuple(score.marks),
                    heartbeats=score.heartbeats,
                    retries=score.retries,
                    hedges=score.hedges,
                )
                for target, score in scores.of.items()
            ),
            quotas=self._quotas(now),
            contestants=(
                self._contestant(
                    "keepalive",
                    self._own_places,
                    scores.attempts,
                    f"{counted(scores.retries, 'retry', 'retries')}, {counted(scores.hedges, 'hedge')}",
                ),
                self._contestant(
                    "naive loop",
                    self._naive_places,
                    self._naive.attempts,
                    f"{counted(self._naive.errors, 'error')}; every {self._naive.interval:g} s, no retry",
                ),
            ),
        )

    def _contestant(self, name: str, places: tuple[Place, ...], attempts: int, told: str) -> Contestant:
        emulator = self._emulator
        tallies = emulator.tallies()
        return Contestant(
            name=name,
            held=Held.of(tallies[place] for place in places if place in tallies),
            eligible=tuple(
                emulator.eligible(place.account_id, place.script_id, user=place.user) for place in places
            ),
            attempts=attempts,
            told=told,
        )

    def _quotas(self, now: float) -> tuple[QuotaUse, ...]:
        """The emulator's count of what reached it; a request that met an outage did not."""
        since = self._emulator.now - stage.QUOTA.period
        used = Counter(
            arrival.user
            for arrival in self._emulator.requests
            if arrival.at > since and arrival.fault != FaultKind.OUTAGE
        )
        return tuple(
            QuotaUse(
                group=name,
                used=used[name],
                requests=stage.QUOTA.requests,
                silent_for=max(0.0, self._scores.silent_until.get(name, now) - now),
            )
            for name in stage.CREDENTIALS
        )


def _weather(spell: Spell, now: float) -> Weather:
    playing = now >= spell.begins
    moment = spell.ends if playing else spell.begins
    return Weather(spell.name, playing, max(0.0, moment - now) / stage.SPEED)
