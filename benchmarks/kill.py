"""Kills: real daemons are killed again and again; what Cloudflare's side sees of it is measured."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.daemon import started, until
from benchmarks.fleet import Fleet
from benchmarks.report import Figure, Report
from benchmarks.trace import worst_period
from keepalive.emulator import Emulator

TARGETS = 42
"""Of each daemon: as many as one user's quota holds unstretched."""

APART_SECONDS = 2.0
"""Between the first starts: what is measured is a restart, not four interpreters on two cores."""

START_SECONDS = 1.0
"""Within so many seconds of its start a process has its first heartbeat on the wire."""


@dataclass
class Victim:
    """One daemon after the other at one state, with a user of its own.

    Attributes:
        waits: Seconds from the start of each process to its first request.
        kills: How often it was killed.
        lapses: How often a target of it lapsed until its course was over; nobody renews them after that.
        never: Its targets that were never accepted.
    """

    name: str
    config: Path
    emulator: Emulator
    chance: Random
    waits: list[float] = field(default_factory=list)
    kills: int = 0
    lapses: int = 0
    never: int = 0

    async def live(self, seconds: float, *, serving: bool = False) -> None:
        """Start a process, kill it after so long; `serving` counts from its first request on."""
        begun = self.emulator.now
        async with started(self.config, "--log-level", "warning") as daemon:
            if serving:
                await until(lambda: self._first(begun) is not None)
            await asyncio.sleep(seconds)
            await daemon.stop(signal.SIGKILL)
            self.kills += 1
        if (first := self._first(begun)) is not None:
            self.waits.append(first - begun)

    def _first(self, begun: float) -> float | None:
        """When the first request after a moment came; the newest are looked at first."""
        newer = takewhile(lambda each: each.at > begun, reversed(self.emulator.requests))
        return min((each.at for each in newer if each.user == self.name), default=None)


Course = Callable[[Victim], Awaitable[None]]


def rounds(count: int) -> Course:
    """Absences of 0 to 20 s, and between them 3 to 12 s of service, counted from the first request."""

    async def course(victim: Victim) -> None:
        await victim.live(10.0, serving=True)
        for _ in range(count):
            await asyncio.sleep(victim.chance.uniform(0.0, 20.0))
            await victim.live(victim.chance.uniform(3.0, 12.0), serving=True)

    return course


def rapid(count: int) -> Course:
    """Lives of 0.3 to 2 s, one right after the other."""

    async def course(victim: Victim) -> None:
        for _ in range(count):
            await victim.live(victim.chance.uniform(0.3, 2.0))
        await victim.live(20.0)

    return course


def loop(seconds: float) -> Course:
    """0.9 s up, counted from the first request, and 1 s down, for so long."""

    async def course(victim: Victim) -> None:
        end = victim.emulator.now + seconds
        while victim.emulator.now < end:
            await victim.live(0.9, serving=True)
            await asyncio.sleep(1.0)

    return course


async def play(course: Course, victims: int, folder: Path, seed: int) -> tuple[Emulator, list[Victim]]:
    """Let so many daemons go through a course, side by side, each with a user and a state of its own."""
    fleet = Fleet(targets=TARGETS * victims, users=victims)
    emulator = Emulator(fleet.world(), seed=seed)
    found = []
    async with emulator, asyncio.TaskGroup() as tasks:
        for name in fleet.names:
            own = folder / name
            own.mkdir()
            config = fleet.write(own, emulator.base_url, only=name, state="state.db")
            victim = Victim(name, config, emulator, Random(f"{seed}/{name}"))
            found.append(victim)
            tasks.create_task(_go(course, victim, after=len(found) * APART_SECONDS))
    return emulator, found


async def _go(course: Course, victim: Victim, after: float) -> None:
    await asyncio.sleep(after)
    await course(victim)
    tallies = victim.emulator.tallies().items()
    own = [tally for place, tally in tallies if place.user == victim.name]
    victim.lapses, victim.never = sum(tally.lapses for tally in own), TARGETS - len(own)


def kills(course: Course, victims: int, seed: int, setting: str, command: str) -> Report:
    """Play a course and report it."""
    with TemporaryDirectory() as folder:
        emulator, found = asyncio.run(play(course, victims, Path(folder), seed))
    waits = sorted(wait for victim in found for wait in victim.waits)
    return Report(
        name="kill",
        setting=setting,
        command=command,
        figures=(
            Figure("times that a daemon was killed", sum(victim.kills for victim in found)),
            Figure("lapses", sum(victim.lapses for victim in found), most=0),
            Figure("targets never accepted", sum(victim.never for victim in found), most=0),
            Figure("requests of one user in the worst 300 s", worst_period(emulator.requests), most=1080),
            Figure("start to first request, median", median(waits), "s", digits=2),
            Figure("start to first request, longest", waits[-1], "s", most=START_SECONDS, digits=2),
            Figure("processes that sent nothing", sum(victim.kills - len(victim.waits) for victim in found)),
        ),
    )


def main() -> int:
    """Kill, print the table, save it, and say by the exit code whether all figures hold."""
    parser = ArgumentParser(prog="python -m benchmarks.kill", description=__doc__)
    parser.add_argument("course", choices=("rounds", "rapid", "loop"), nargs="?", default="rounds")
    parser.add_argument("--rounds", type=int, default=100, help="kills in all (default 100)")
    parser.add_argument("--daemons", type=int, default=4, help="daemons side by side (default 4)")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the loop (default 10)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    each = -(-asked.rounds // asked.daemons)
    courses = {"rounds": rounds(each), "rapid": rapid(each), "loop": loop(asked.minutes * 60)}
    course = courses[asked.course]
    setting = (
        f"{asked.daemons} daemons of {TARGETS} targets each, window 45 s, interval 15 s: {asked.course}."
    )
    command = f"python -m benchmarks.kill {asked.course}"
    report = kills(course, asked.daemons, asked.seed, setting, command)
    print(*report.markdown(), f"- saved as {report.save().name}", sep="\n")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
