"""Connections: does the pool stay warm between heartbeats that are further apart than usual?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.daemon import started
from benchmarks.fleet import Fleet
from benchmarks.report import Figure, Report
from keepalive.emulator import Emulator, Fault, FaultKind

START = 60.0
"""Seconds after which everybody is in step; what is opened later means that the pool went cold."""

PACES: Mapping[str, tuple[Fault, ...]] = {
    "answered at once": (),
    "answered in 100 ms": (Fault(kind=FaultKind.DRIP, seconds=0.1),),
}
"""On loopback few attempts are in flight at a time; the far server shows what a start then opens."""


class Count(NamedTuple):
    """What the server saw; `late` are the connections opened after `START`."""

    opened: int
    late: int
    beats: int


async def count(fleet: Fleet, faults: tuple[Fault, ...], seconds: float) -> Count:
    """Let a real daemon beat for so long, and count at the server."""
    start = min(START, seconds / 2)
    with TemporaryDirectory() as folder:
        async with (
            Emulator(fleet.world(), faults=faults) as emulator,
            started(fleet.write(Path(folder), emulator.base_url)) as daemon,
        ):
            await asyncio.sleep(start)
            early = emulator.connections
            await asyncio.sleep(seconds - start)
            beats = sum(tally.renewals for tally in emulator.tallies().values())
            counted = Count(emulator.connections, emulator.connections - early, beats)
            await daemon.stop()
            return counted


async def _count_all(fleet: Fleet, seconds: float) -> list[Count]:
    return await asyncio.gather(*(count(fleet, faults, seconds) for faults in PACES.values()))


def connections(_seed: int, minutes: float, command: str) -> Report:
    """Count the connections of 100 targets at an interval of 20 s."""
    fleet = Fleet(targets=100, interval=20.0)
    counted = dict(zip(PACES, asyncio.run(_count_all(fleet, minutes * 60)), strict=True))
    figures: list[Figure] = []
    for pace, (opened, late, beats) in counted.items():
        bar = None if PACES[pace] else 1.0  # the bar is set for the emulator as it is
        figures += [
            Figure(
                f"{pace}: connections opened, of the beats", 100 * opened / beats, "%", most=bar, digits=2
            ),
            Figure(f"{pace}: connections opened", opened),
            Figure(f"{pace}: of these after the first {START:.0f} s", late),
            Figure(f"{pace}: beats", beats),
        ]
    return Report(
        name="connections",
        setting=(
            f"{fleet.targets} targets over {fleet.users} rate groups, {minutes:g} minutes in real time,"
            f" interval {fleet.interval:g} s, no faults."
        ),
        command=command,
        figures=tuple(figures),
    )
