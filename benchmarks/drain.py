"""The drain: how long the daemon takes to leave on SIGTERM, with everything in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.daemon import started, until
from benchmarks.fleet import Fleet
from benchmarks.report import Figure, Report
from keepalive.emulator import Emulator, Fault, FaultKind

RUNS = 5

LOADS: Mapping[str, tuple[Fault, ...]] = {
    "healthy answers": (),
    "answers that take 2 s": (Fault(kind=FaultKind.DRIP, seconds=2.0),),
    "no answer at all": (Fault(kind=FaultKind.HANG),),
}


class Ended(NamedTuple):
    """How a daemon left."""

    code: int
    seconds: float
    in_flight: int


async def ended(fleet: Fleet, faults: tuple[Fault, ...], seconds: float, folder: Path) -> Ended:
    """Start a real daemon, put it under load for so long, and stop it."""
    async with (
        Emulator(fleet.world(), faults=faults) as emulator,
        started(fleet.write(folder, emulator.base_url)) as daemon,
    ):
        await until(lambda: len(emulator.requests) >= fleet.targets)
        await asyncio.sleep(seconds)
        code, took = await daemon.stop()
        in_flight = int(daemon.lines("daemon.draining")[-1]["in_flight"] or 0)
        return Ended(code, took, in_flight)


def drain(_seed: int, _minutes: float, command: str) -> Report:
    """Time the exit on SIGTERM, under three loads."""
    fleet = Fleet()
    figures: list[Figure] = []
    failed = 0
    for load, faults in LOADS.items():
        runs = []
        for run in range(RUNS):
            with TemporaryDirectory() as folder:
                runs.append(asyncio.run(ended(fleet, faults, 0.3 * run, Path(folder))))
        failed += sum(one.code != 0 for one in runs)
        slowest = max(one.seconds for one in runs)
        flights = max(one.in_flight for one in runs)
        figures.append(Figure(f"{load}: slowest exit", slowest, "s", most=5.0, digits=2))
        figures.append(Figure(f"{load}: attempts in flight at SIGTERM, at most", flights))
    return Report(
        name="drain",
        setting=(
            f"{fleet.targets} targets over {fleet.users} rate groups; SIGTERM, {RUNS} times for each load."
        ),
        command=command,
        figures=(*figures, Figure("runs that did not end with 0", failed, most=0)),
    )
