"""The promises in full, in virtual time: 100 phases of every outage, a day of everything that goes on."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

from keepalive.core.group import RateGroup
from keepalive.simulator.result import Result
from keepalive.simulator.scenarios import scenario
from keepalive.simulator.simulation import Simulation


class Promise(NamedTuple):
    """How much of one scenario is played: so many seeds of so many hours each."""

    seeds: int
    hours: float
    lapses: bool = False
    """Whether lapses are in the nature of it, and only the quota is promised."""


PROMISES = {
    "outage-26-refused": Promise(100, 0.3),
    "outage-26-blackhole": Promise(100, 0.3),
    "22-7-22": Promise(100, 0.3),
    "22-7-22-refused": Promise(100, 0.3),
    "hang-10": Promise(1, 24.0),
    "hang-20": Promise(1, 24.0),
    "hang-30": Promise(1, 24.0),
    "slow-4s": Promise(1, 24.0),
    "slow-4s-hang-10": Promise(1, 24.0),
    "stretched-63-hang-10": Promise(1, 24.0),
    "broken-2": Promise(1, 24.0),
    "broken-10": Promise(1, 24.0),
    "broken-10-later": Promise(1, 24.0),
    "throttle-5s": Promise(100, 0.3),
    "throttle-5s-retry-after": Promise(100, 0.3),
    "outage": Promise(100, 0.3),
    "throttle-storm": Promise(20, 1.0),
    "crash-loop": Promise(10, 1.0),
    "crash-loop-stretched": Promise(10, 1.0),
    "rapid-kills": Promise(100, 0.15),
    "restart-20s": Promise(10, 1.0),
    "suspend": Promise(4, 4.0, lapses=True),
}


class Played(NamedTuple):
    """What the runs of one scenario showed."""

    runs: int
    lapses: int
    overshoot: int
    worst_period: int
    worst_second: int
    blocks: int
    false_claims: int
    silence_calls: int
    calls_per_target_minute: float

    def holds(self, promise: Promise) -> bool:
        """Whether what is promised was kept."""
        kept = self.overshoot <= 0 and self.worst_second <= 200
        quiet = not (self.blocks or self.false_claims or self.silence_calls)
        return kept and quiet and (promise.lapses or not self.lapses)


def _play(name: str, seed: int, hours: float) -> Played:
    result: Result = Simulation(scenario(name, seed, hours), RateGroup).play()
    groups = result.groups
    return Played(
        runs=1,
        lapses=len(result.preventable),
        overshoot=result.overshoot,
        worst_period=max(group.worst_period for group in groups),
        worst_second=result.worst_second,
        blocks=sum(group.blocks for group in groups),
        false_claims=len(result.false_claims),
        silence_calls=sum(group.silence_calls for group in groups),
        calls_per_target_minute=result.calls_per_target_minute,
    )


def _together(runs: list[Played]) -> Played:
    return Played(
        runs=len(runs),
        lapses=sum(run.lapses for run in runs),
        overshoot=max(run.overshoot for run in runs),
        worst_period=max(run.worst_period for run in runs),
        worst_second=max(run.worst_second for run in runs),
        blocks=sum(run.blocks for run in runs),
        false_claims=sum(run.false_claims for run in runs),
        silence_calls=sum(run.silence_calls for run in runs),
        calls_per_target_minute=max(run.calls_per_target_minute for run in runs),
    )


def _rows(names: list[str], workers: int) -> Iterator[tuple[str, Played]]:
    """Play them all, the longest runs first, and give each scenario when its last run is over."""
    with ProcessPoolExecutor(workers) as pool:
        runs = {
            pool.submit(_play, name, seed, PROMISES[name].hours): name
            for name in sorted(names, key=lambda name: -PROMISES[name].hours)
            for seed in range(PROMISES[name].seeds)
        }
        done: dict[str, list[Played]] = {name: [] for name in names}
        for run in as_completed(runs):
            name = runs[run]
            done[name].append(run.result())
            if len(done[name]) == PROMISES[name].seeds:
                yield name, _together(done[name])


def main() -> int:
    """Play them, print a row of a Markdown table for each, and say by the exit code whether all were kept."""
    parser = ArgumentParser(prog="python -m benchmarks.promises", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(PROMISES)}")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - PROMISES.keys():
        parser.error(f"no promise is called {min(unknown)}; there are {', '.join(PROMISES)}")
    columns = ("scenario", "runs", "hours each", "lapses", "worst 300 s", "worst second", "calls/min", "kept")
    print(f"| {' | '.join(columns)} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    kept = True
    for name, played in _rows(asked.names or list(PROMISES), asked.workers):
        holds = played.holds(PROMISES[name])
        kept &= holds
        row = (
            *(name, played.runs, f"{PROMISES[name].hours:g}", played.lapses, f"{played.worst_period:,}"),
            *(played.worst_second, f"{played.calls_per_target_minute:.2f}", "yes" if holds else "**no**"),
        )
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
