"""The sidecar in real time: `keepalive exec -- sleep` under the fault trace of the daemon."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.daemon import surroundings
from benchmarks.fleet import ACCOUNT_ID, Fleet
from benchmarks.report import Figure, Report
from benchmarks.trace import early, worst_period
from benchmarks.weather import script, story, weather
from keepalive.emulator import Emulator

FLEET = Fleet(targets=20, users=1)
"""A third of the daemon's: all of one user, as a command's targets are."""

CODE = 7
"""How the command ends."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run came to, judged by the emulator.

    Attributes:
        eligible: Target-seconds from each first accepted heartbeat in which the target was eligible.
        lapsed: Those in which it was not.
        never: Targets that were never accepted.
        early: Requests in a silence that a 429 had asked for.
        worst: The most requests of the user in any 300 s.
        started_after: Seconds until the command ran.
        ended_after: Seconds from its end to that of keepalive.
        code: The exit code.
    """

    eligible: float
    lapsed: float
    never: int
    early: int
    worst: int
    started_after: float
    ended_after: float
    code: int


async def play(seed: int, seconds: float, folder: Path) -> Ran:
    """Play so many seconds of the trace to a real `keepalive exec`; its files go into `folder`."""
    command = f"date +%s.%N; sleep {seconds:g}; date +%s.%N; exit {CODE}"
    async with Emulator(FLEET.world(), faults=script(weather(seed, seconds)), seed=seed) as emulator:
        config = FLEET.write(folder, emulator.base_url)
        with (folder / "exec.log").open("wb") as log:
            before = time.time()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "keepalive", "exec", "--config", str(config)),
                *(f"{ACCOUNT_ID}/{name}" for name in FLEET.scripts(FLEET.names[0])),
                *("--", "sh", "-c", command),
                cwd=folder,
                env=surroundings(folder),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
            out, _ = await process.communicate()
        ended_at = time.time()
        tallies, arrivals = emulator.tallies(), list(emulator.requests)
    began_at, slept_at = map(float, out.split())
    return Ran(
        eligible=sum(tally.eligible for tally in tallies.values()),
        lapsed=sum(tally.lapsed for tally in tallies.values()),
        never=FLEET.targets - len(tallies),
        early=sum(early(arrivals)),
        worst=worst_period(arrivals),
        started_after=began_at - before,
        ended_after=ended_at - slept_at,
        code=process.returncode or 0,
    )


def sidecar(seed: int, minutes: float, command: str) -> Report:
    """Play the trace to `exec -- sleep`: 20 targets of one user, a window of 45 s, an interval of 15 s."""
    seconds = minutes * 60
    with TemporaryDirectory() as folder:
        ran = asyncio.run(play(seed, seconds, Path(folder)))
    told = "; ".join(story(weather(seed, seconds)))
    setting = f"`keepalive exec` with {FLEET.targets} targets of one user, {minutes:g} minutes, seed {seed}"
    return Report(
        name="sidecar",
        setting=f"{setting}: {told}.",
        command=command,
        figures=(
            Figure(
                "target-seconds eligible from each first accept",
                100 - 100 * ran.lapsed / (ran.eligible + ran.lapsed),
                "%",
                least=100.0,
                digits=3,
            ),
            Figure("targets never accepted", ran.never, most=0),
            Figure(f"runs that did not exit with the command's own {CODE}", int(ran.code != CODE), most=0),
            Figure("requests in a silence that a 429 asked for", ran.early, most=0),
            Figure("requests of the user in the worst 300 s", ran.worst, most=1080),
            Figure("seconds until the command ran", ran.started_after, "s", most=6.0, digits=2),
            Figure("seconds from its end to that of keepalive", ran.ended_after, "s", most=1.0, digits=2),
        ),
    )
