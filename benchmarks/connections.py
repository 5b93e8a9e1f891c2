"""Connections: does the pool stay warm between heartbeats that are further apart than usual?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.daemon import started
from benchmarks.fleet import Fleet
from benchmarks.report import Figure, Report
from keepalive.emulator import Emulator, Fault, FaultKind

ANSWER_SECONDS = 0.1
"""How long an answer takes. On loopback it would come at once, and one connection would do for all."""


class Count(NamedTuple):
    """What the server saw."""

    connections: int
    beats: int


async def count(fleet: Fleet, seconds: float, folder: Path) -> Count:
    """Let a real daemon beat for so long, and count at the server."""
    slow = Fault(kind=FaultKind.DRIP, seconds=ANSWER_SECONDS)
    async with (
        Emulator(fleet.world(), faults=(slow,)) as emulator,
        started(fleet.write(folder, emulator.base_url)) as daemon,
    ):
        await asyncio.sleep(seconds)
        beats = sum(tally.renewals for tally in emulator.tallies().values())
        counted = Count(emulator.connections, beats)
        await daemon.stop()
        return counted


def connections(_seed: int, minutes: float, command: str) -> Report:
    """Count the connections of 100 targets at an interval of 20 s."""
    fleet = Fleet(targets=100, interval=20.0)
    with TemporaryDirectory() as folder:
        counted = asyncio.run(count(fleet, minutes * 60, Path(folder)))
    return Report(
        name="connections",
        setting=(
            f"{fleet.targets} targets over {fleet.users} rate groups, {minutes:g} minutes in real time,"
            f" interval {fleet.interval:g} s, no faults, each answer takes {ANSWER_SECONDS * 1000:.0f} ms."
        ),
        command=command,
        figures=(
            Figure(
                "connections opened, of the beats",
                100 * counted.connections / counted.beats,
                "%",
                most=1,
                digits=2,
            ),
            Figure("connections opened", counted.connections),
            Figure("beats", counted.beats),
        ),
    )
