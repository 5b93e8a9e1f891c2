"""A stage: the real engine against the emulated Cloudflare over real sockets, with a fault proxy between.

All of them share one loop, so a test may let it run in virtual time (the `looptime` marker).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.daemon import until
from benchmarks.fleet import Fleet
from keepalive import app
from keepalive.cloudflare.client import CloudflareClient
from keepalive.config import load
from keepalive.core.events import Event
from keepalive.emulator import Arrival, Emulator
from keepalive.engine.clock import BootClock, wait
from keepalive.engine.scheduler import Scheduler
from keepalive.sinks.line import Line, line_of
from tests.faults.proxy import FaultProxy, Mode, fault_proxy

FLEET = Fleet(targets=6, users=1)
"""A window of 45 s, an interval of 15 s, a timeout of 5 s."""


class LoopClock(BootClock):
    """The time of the loop, virtual or not."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def wait(self, wake: asyncio.Event, until: float) -> float:
        await wait(wake, until - self.now())
        return 0.0


class Log:
    """What a log at debug level would say, line by line; repeats are not hidden."""

    def __init__(self, clock: BootClock) -> None:
        self.lines: list[Line] = []
        self._clock = clock

    def __call__(self, event: Event) -> None:
        self.lines.append(line_of(event, self._clock.wall_at))

    def named(self, event: str) -> list[Line]:
        return [line for line in self.lines if line["event"] == event]

    def causes(self) -> set[str]:
        """Why attempts failed."""
        return {str(line["cause"]) for line in self.named("attempt.failed")}

    def words(self, key: str) -> str:
        """All that failed attempts say under `hint` or `detail`."""
        return " | ".join(sorted({str(line.get(key, "")) for line in self.named("attempt.failed")}))

    def became(self, state: str) -> list[Line]:
        """The changes to a state."""
        return [line for line in self.named("eligibility.changed") if line["to_state"] == state]


@dataclass
class Stage:
    """All that takes part."""

    fleet: Fleet
    emulator: Emulator
    proxy: FaultProxy
    scheduler: Scheduler
    client: CloudflareClient
    log: Log
    healed_at: float = field(default=0.0)

    @property
    def arrivals(self) -> list[Arrival]:
        """What reached the emulated Cloudflare."""
        return list(self.emulator.requests)

    @property
    def lapses(self) -> int:
        """How often a target's eligibility ran out, by Cloudflare's side."""
        return sum(tally.lapses for tally in self.emulator.tallies().values())

    def renewed_since(self, moment: float) -> set[str | None]:
        """The scripts that Cloudflare accepted a heartbeat of after a moment of the emulated clock."""
        return {each.script_id for each in self.arrivals if each.accepted and each.at >= moment}

    async def eligible(self) -> None:
        """Wait until all have been accepted, and keepalive knows it."""
        await until(lambda: self.scheduler.tally.all_eligible, timeout=150)

    async def heal(self) -> None:
        """Let everything pass again, and remember when."""
        await self.proxy.heal()
        self.healed_at = self.emulator.now

    async def renewed(self, scripts: Iterable[str] | None = None) -> float:
        """Wait until all have been renewed since the healing, and say how long after it that was.

        Raises:
            TimeoutError: It took longer than 150 seconds.
        """
        wanted = set(self.scripts if scripts is None else scripts)
        await until(lambda: wanted <= self.renewed_since(self.healed_at), timeout=150)
        return self.emulator.now - self.healed_at

    @property
    def scripts(self) -> tuple[str, ...]:
        """Everybody."""
        return tuple(script for name in self.fleet.names for script in self.fleet.scripts(name))


@asynccontextmanager
async def playing(
    folder: Path, fleet: Fleet = FLEET, *, after: Mode = Mode.PASS, clock: BootClock | None = None
) -> AsyncIterator[Stage]:
    """The engine over a proxy, for as long as this is entered.

    It begins with everybody eligible over a network that passes all; or, where `after` names something
    worse, with that in force and nobody eligible. The clock is the loop's, unless another one is given.
    """
    async with (
        Emulator(fleet.world(), time_factor=fleet.factor) as emulator,
        fault_proxy(port_of(emulator.base_url)) as proxy,
    ):
        await proxy.switch(after)
        file = fleet.write(folder, f"http://127.0.0.1:{proxy.port}/client/v4")
        configuration, clock = load(file, {}, {}, folder), clock or LoopClock()
        log = Log(clock)
        async with app.engine(configuration, configuration.plan, clock, log) as parts:
            running = asyncio.create_task(parts.scheduler.run(), name="engine")
            stage = Stage(fleet, emulator, proxy, parts.scheduler, parts.client, log)
            try:
                if after is Mode.PASS:
                    await stage.eligible()
                yield stage
                await proxy.heal()
            finally:
                parts.scheduler.drain("the end of the test")
                await running


def port_of(base_url: str) -> int:
    """The port that a URL names."""
    return int(base_url.split("/")[2].rpartition(":")[2])
