"""The soak: the real daemon for two hours, its time so fast that they hold a week of beats and faults."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import linear_regression
from tempfile import TemporaryDirectory

from benchmarks.daemon import started
from benchmarks.fleet import Fleet
from benchmarks.report import RESULTS
from benchmarks.trace import worst_period
from keepalive.config.duration import parse_duration
from keepalive.emulator import Emulator, Fault, FaultKind

LOOK_SECONDS = 15.0
"""Real seconds between two looks at the process."""

SETTLED = 0.25
"""Part of the run after which growth counts: by then every cache has been filled once."""

GROWTH = 1024.0
"""kB an hour of resident memory that are taken for growth."""


@dataclass(frozen=True, slots=True)
class Look:
    """The process at one moment: real seconds since the start, kB, and counts."""

    at: float
    resident: int
    descriptors: int
    threads: int


def look(pid: int, at: float) -> Look:
    """Look at a process from the outside.

    Raises:
        OSError: It is gone.
    """
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    resident, threads = int(fields["VmRSS"].split()[0]), int(fields["Threads"])
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Look(at, resident, descriptors, threads)


def faults(seconds: float, seed: int) -> Iterator[Fault]:
    """Noise all the time, and every half an hour of emulated time one fault of its own, for `seconds`."""
    chance = Random(seed)
    moment = 600.0
    while moment < seconds:
        length = chance.uniform(2.0, 20.0)
        match chance.randrange(4):
            case 0:
                yield Fault(kind=FaultKind.OUTAGE, after=moment, until=moment + length)
            case 1:
                yield Fault(kind=FaultKind.BLACK_HOLE, after=moment, until=moment + length)
            case 2:
                until = moment + min(5.0, length)
                yield Fault(kind=FaultKind.STATUS, status=429, retry_after=5.0, after=moment, until=until)
            case _:
                yield Fault(kind=FaultKind.DRIP, seconds=3.0, after=moment, until=moment + length)
        moment += chance.uniform(1200.0, 2400.0)
    yield Fault(kind=FaultKind.RESET, probability=0.03)
    yield Fault(kind=FaultKind.STATUS, status=503, probability=0.03)
    yield Fault(kind=FaultKind.HTML, probability=0.01)
    yield Fault(kind=FaultKind.HANG, seconds=60.0, probability=0.01)


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a soak came to.

    Attributes:
        renewals: Accepted heartbeats.
        worst: Requests of one user in the worst quota period, of the last 50,000 requests.
        ratio: Eligible target-seconds over all, by the emulator, 0 to 1.
        lapses: By the emulator. The engine's own constants (a retry within 0.5 s, a hedge after 1 s, a
            probe each second) do not run faster with the emulated time, so faults lapse what they would
            not lapse in real time.
        growth: Of resident memory, in kB an hour.
    """

    real_seconds: float
    emulated_seconds: float
    renewals: int
    worst: int
    ratio: float
    lapses: int
    growth: float
    first: Look
    last: Look
    most_descriptors: int
    most_threads: int
    dropped_lines: int
    exit_code: int

    @property
    def holds(self) -> bool:
        """Whether nothing grew, the quota was kept, and it ended well."""
        steady = self.growth <= GROWTH and self.last.descriptors <= self.most_descriptors
        return steady and self.worst <= 1080 and self.exit_code == 0 and not self.dropped_lines


async def soak(seconds: float, factor: float, targets: int, seed: int) -> Soaked:
    """Soak a daemon for so many real seconds, and say every minute how it is."""
    # A window of 45 s would be less than the shortest one that a configuration may name.
    fleet = Fleet(targets=targets, users=3, window=90.0, interval=30.0, factor=factor)
    emulator = Emulator(
        fleet.world(), faults=tuple(faults(seconds * factor, seed)), time_factor=factor, seed=seed
    )
    looks: list[Look] = []
    with TemporaryDirectory() as folder:
        async with emulator:
            config = fleet.write(Path(folder), emulator.base_url, state="state.db")
            async with started(config, "--log-level", "warning") as daemon:
                begun = time.monotonic()
                while (at := time.monotonic() - begun) < seconds:
                    await asyncio.sleep(min(LOOK_SECONDS, seconds - at))
                    looks.append(look(daemon.pid, time.monotonic() - begun))
                    if len(looks) % 4 == 0:
                        _tell(looks[-1], emulator)
                tallies = emulator.tallies().values()
                arrivals = list(emulator.requests)
                code, _ = await daemon.stop()
                dropped = sum(int(line["count"] or 0) for line in daemon.lines("log.dropped"))
    counted = [each for each in looks if each.at >= SETTLED * seconds]
    slope = linear_regression([each.at for each in counted], [each.resident for each in counted]).slope
    eligible, lapsed = sum(tally.eligible for tally in tallies), sum(tally.lapsed for tally in tallies)
    return Soaked(
        real_seconds=seconds,
        emulated_seconds=seconds * factor,
        renewals=sum(tally.renewals for tally in tallies),
        worst=worst_period(arrivals),
        ratio=eligible / (eligible + lapsed),
        lapses=sum(tally.lapses for tally in tallies),
        growth=slope * 3600,
        first=counted[0],
        last=looks[-1],
        most_descriptors=max(each.descriptors for each in counted),
        most_threads=max(each.threads for each in counted),
        dropped_lines=dropped,
        exit_code=code,
    )


def _tell(now: Look, emulator: Emulator) -> None:
    tallies = emulator.tallies().values()
    renewals, lapses = sum(tally.renewals for tally in tallies), sum(tally.lapses for tally in tallies)
    process = f"{now.resident / 1024:6.1f} MB  {now.descriptors:3} fds  {now.threads} threads"
    print(f"{now.at / 60:6.1f} min  {process}  {renewals:9,} renewals  {lapses} lapses", flush=True)


def main() -> int:
    """Soak, print the figures, save them, and say by the exit code whether they hold."""
    parser = ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--for", dest="length", type=parse_duration, default=7200.0, metavar="DURATION")
    parser.add_argument(
        "--factor", type=float, default=84.0, help="emulated seconds in a real one (default 84)"
    )
    parser.add_argument("--targets", type=int, default=12, help="targets over three users (default 12)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    soaked = asyncio.run(soak(asked.length, asked.factor, asked.targets, asked.seed))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "soak.json").write_text(json.dumps(asdict(soaked), indent=2) + "\n", encoding="utf-8")
    print(json.dumps(asdict(soaked), indent=2))
    print("nothing grew" if soaked.holds else "it does not hold")
    return 0 if soaked.holds else 1


if __name__ == "__main__":
    sys.exit(main())
