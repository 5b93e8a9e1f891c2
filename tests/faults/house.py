"""A house: a daemon as a process of its own, and the emulated Cloudflare that judges it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import Daemon, started, until
from benchmarks.fleet import Fleet
from keepalive.emulator import Emulator

FLEET = Fleet(targets=6, users=1, factor=7.5)
"""A window of 6 s in real time, an interval of 2 s, a timeout of 1.5 s."""

STATE = "state.db"


@dataclass(frozen=True)
class House:
    """Where the daemon lives, and who judges it. Seconds are real ones."""

    fleet: Fleet
    emulator: Emulator
    config: Path

    @property
    def folder(self) -> Path:
        return self.config.parent

    @property
    def lapses(self) -> int:
        """How often a target's eligibility ran out, by Cloudflare's side."""
        return sum(tally.lapses for tally in self.emulator.tallies().values())

    @property
    def sent(self) -> int:
        """Requests that have arrived."""
        return len(self.emulator.requests)

    def edit(self, change: Callable[[str], str]) -> None:
        """Put another text into the configuration."""
        self.config.write_text(change(self.config.read_text()))

    async def renewed(self, timeout: float = 15.0) -> float:
        """Wait until everybody has been renewed from now on, and say after how many seconds that was."""
        since = self.emulator.now
        wanted = {script for name in self.fleet.names for script in self.fleet.scripts(name)}

        def all_are() -> bool:
            requests = self.emulator.requests
            return wanted <= {each.script_id for each in requests if each.accepted and each.at >= since}

        await until(all_are, timeout)
        return (self.emulator.now - since) / self.fleet.factor

    @asynccontextmanager
    async def daemon(self, *options: str, stderr: int | None = None) -> AsyncIterator[Daemon]:
        """Start the daemon and wait until everybody was accepted; at the end it has to drain in 5 s."""
        async with started(self.config, *options, stderr=stderr) as daemon:
            await self.renewed()
            yield daemon
            code, seconds = await daemon.stop()
            assert code == 0
            assert seconds < 5


@asynccontextmanager
async def house(folder: Path, fleet: Fleet = FLEET, *, state: str = "") -> AsyncIterator[House]:
    """A house for as long as this is entered; nobody lives there yet."""
    async with Emulator(fleet.world(), time_factor=fleet.factor) as emulator:
        yield House(fleet, emulator, fleet.write(folder, emulator.base_url, state=state))
