"""The contest: keepalive beside what a user would take instead, in one run, on one core.

Every contestant is a process of its own that has the client's core to itself. It beats for ever; its
heartbeats are counted at the server, and its CPU time is asked of the kernel, over the same stretch of time.
The contestants take turns, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.contestants import AT_ONCE
from benchmarks.cores import cores
from benchmarks.daemon import surroundings
from benchmarks.origin import Origin, opened
from benchmarks.report import keep, machine

REFERENCE = "bare"

NAMES: Mapping[str, str] = {
    "bare": "bare aiohttp loop",
    "keepalive": "keepalive, everything on",
    "keepalive-speed": "keepalive with `speed`, everything on",
    "sdk-sync": "official SDK, sync (one at a time)",
    "sdk-async": "official SDK, async",
    "sdk-async-aiohttp": "official SDK, async on aiohttp",
    "ceiling": "the server's own limit",
}

OWN = ("keepalive", "keepalive-speed")

WAYS = ("plain", "TLS")

STARTING = 30.0
"""Seconds that a contestant may take to its first heartbeats."""

LEAST_SPEED = {"keepalive": 1.0, "keepalive-speed": 1.25}
"""Heartbeats a second, as a multiple of the bare loop's."""

LEAST_OVER_SDK = 20.0
"""The same as a multiple of the official async SDK's."""

MOST_CPU_TLS = 1.0
"""CPU time per heartbeat over TLS, as a multiple of the bare loop's."""

LIBRARIES = ("aiohttp", "cloudflare", "httpx", "httpx-aiohttp", "orjson", "uvloop", "yarl")


class Length(NamedTuple):
    """How long it is played.

    Attributes:
        rounds: How often each contestant's turn comes.
        warm: Seconds for which it beats before it is measured.
        seconds: Seconds for which it is measured.
        sdk_rounds: Rounds in which the official SDK takes part: far off, and slow to start.
    """

    rounds: int
    warm: float
    seconds: float
    sdk_rounds: int


FULL = Length(rounds=5, warm=1.5, seconds=3.0, sdk_rounds=5)
QUICK = Length(rounds=3, warm=0.8, seconds=0.8, sdk_rounds=1)


class Turn(NamedTuple):
    """What one contestant did in one round.

    Attributes:
        speed: Heartbeats a second.
        cpu: CPU time per heartbeat, in microseconds.
    """

    speed: float
    cpu: float


class Spread(NamedTuple):
    """The median of several measurements, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of some values, at least one."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        """Say it to three digits or so."""
        digits = 0 if self.most >= 100 else 1 if self.most >= 10 else 2
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f} to {self.most:,.{digits}f})"


class Bar(NamedTuple):
    """What a ratio has to reach.

    Attributes:
        what: The ratio in words.
        ratio: It, as it was measured.
        bound: `at least` or `at most`.
        limit: The bar.
    """

    what: str
    ratio: float
    bound: str
    limit: float

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.ratio >= self.limit if self.bound == "at least" else self.ratio <= self.limit

    def __str__(self) -> str:
        """Say it with its verdict."""
        verdict = "yes" if self.holds else f"**no**, {self.ratio:.2f}x"
        return f"{self.what} {self.bound} {self.limit:g}x: {verdict}"


@dataclass(frozen=True, slots=True)
class Contest:
    """What a contest came to.

    Attributes:
        length: How long it was played.
        command: What was typed.
        turns: For each way and contestant one turn a round, in order.
    """

    length: Length
    command: str
    turns: Mapping[str, Mapping[str, list[Turn]]]

    @property
    def holds(self) -> bool:
        """True when no ratio misses its bar."""
        return all(
            bar.holds for way in self.turns for name in self.turns[way] for bar in self.bars(way, name)
        )

    def speed(self, way: str, name: str) -> Spread:
        """Heartbeats a second."""
        return Spread.of([turn.speed for turn in self.turns[way][name]])

    def cpu(self, way: str, name: str) -> Spread:
        """CPU time per heartbeat, in microseconds."""
        return Spread.of([turn.cpu for turn in self.turns[way][name]])

    def speed_ratio(self, way: str, name: str, over: str = REFERENCE) -> Spread:
        """The speed as a multiple of another's in the same round."""
        pairs = zip(self.turns[way][name], self.turns[way][over], strict=False)
        return Spread.of([own.speed / other.speed for own, other in pairs])

    def cpu_ratio(self, way: str, name: str) -> Spread:
        """The CPU time per heartbeat as a multiple of the reference's in the same round."""
        pairs = zip(self.turns[way][name], self.turns[way][REFERENCE], strict=False)
        return Spread.of([own.cpu / other.cpu for own, other in pairs])

    def bars(self, way: str, name: str) -> Iterator[Bar]:
        """The bars that one row has to reach."""
        if name not in OWN:
            return
        yield Bar("speed", self.speed_ratio(way, name).median, "at least", LEAST_SPEED[name])
        if "sdk-async" in self.turns[way]:
            ratio = self.speed_ratio(way, name, "sdk-async").median
            yield Bar("the async SDK's", ratio, "at least", LEAST_OVER_SDK)
        if way == "TLS":
            yield Bar("CPU", self.cpu_ratio(way, name).median, "at most", MOST_CPU_TLS)

    def markdown(self) -> Iterator[str]:
        """The contest as lines of Markdown."""
        yield "## contest"
        yield ""
        yield (
            f"{AT_ONCE} heartbeats at a time, {self.length.rounds} rounds in turn, {self.length.seconds:g} s"
            f" each: median (least to most); ratios are to the bare loop of the same round. {cores()}"
        )
        yield ""
        yield "| | contestant | beats/s | of the bare loop's | CPU µs/beat | of the bare loop's | bars |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for way, turns in self.turns.items():
            for name in turns:
                yield self._row(way, name)
        yield ""
        yield f"- measured by `{self.command}`"
        yield f"- with {', '.join(f'{name} {found}' for name, found in _versions().items())}"
        yield f"- on {machine()}"

    def _row(self, way: str, name: str) -> str:
        bars = "; ".join(str(bar) for bar in self.bars(way, name))
        cells = (
            *(way, NAMES[name], self.speed(way, name), self.speed_ratio(way, name)),
            *(self.cpu(way, name), self.cpu_ratio(way, name), bars),
        )
        return f"| {' | '.join(str(cell) for cell in cells)} |"

    def save(self) -> Path:
        """Keep it as JSON, and say where."""
        rows = [
            {
                "way": way,
                "contestant": name,
                "beats_per_second": self.speed(way, name)._asdict(),
                "beats_ratio": self.speed_ratio(way, name)._asdict(),
                "cpu_us_per_beat": self.cpu(way, name)._asdict(),
                "cpu_ratio": self.cpu_ratio(way, name)._asdict(),
                "bars": [bar._asdict() | {"holds": bar.holds} for bar in self.bars(way, name)],
                "turns": [turn._asdict() for turn in turns],
            }
            for way, row in self.turns.items()
            for name, turns in row.items()
        ]
        length = self.length._asdict()
        content = {"name": "contest", "command": self.command, "length": length, "rows": rows}
        return keep("contest", content | {"versions": _versions(), "cores": cores()._asdict()})


def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


async def turn(name: str, origin: Origin, length: Length) -> Turn:
    """Let one contestant beat for a while, and look at it from the outside."""
    before = origin.requests
    with TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.contestants", name, origin.base_url, folder),
            env=surroundings(Path(folder)) | origin.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            os.sched_setaffinity(process.pid, {cores().client})
            await origin.until(before + AT_ONCE, STARTING)
            await asyncio.sleep(length.warm)
            seen = await origin.watch(process.pid, length.seconds)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    return Turn(seen.rate, seen.cost)


async def play(names: tuple[str, ...], ways: tuple[str, ...], length: Length, command: str) -> Contest:
    """Let all take turns, round by round."""
    here = cores()
    os.sched_setaffinity(0, {here.server})
    turns: dict[str, dict[str, list[Turn]]] = {way: {name: [] for name in names} for way in ways}
    try:
        for way in ways:
            with TemporaryDirectory() as folder:
                async with opened(Path(folder), tls=way == "TLS") as origin:
                    for number in range(length.rounds):
                        for name in names:
                            if number < length.sdk_rounds or not name.startswith("sdk"):
                                turns[way][name].append(await turn(name, origin, length))
                        print(f"{way}: round {number + 1} of {length.rounds}", file=sys.stderr, flush=True)
    finally:
        os.sched_setaffinity(0, set(here))
    return Contest(length, command, turns)


def main() -> int:
    """Play, print the table, save it, and say by the exit code whether all bars hold."""
    parser = ArgumentParser(prog="python -m benchmarks.contest", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(NAMES)}; the bare loop is always there")
    parser.add_argument("--quick", action="store_true", help="under a minute, and less exact")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one")
    parser.add_argument("--rounds", type=int, help="how often each one's turn comes")
    asked = parser.parse_args()
    if unknown := set(asked.names) - NAMES.keys():
        parser.error(f"no contestant is called {min(unknown)}; there are {', '.join(NAMES)}")
    length = QUICK if asked.quick else FULL
    if asked.rounds:
        length = length._replace(rounds=asked.rounds, sdk_rounds=min(asked.rounds, length.sdk_rounds))
    names = tuple(name for name in NAMES if name in {*(asked.names or NAMES), REFERENCE})
    command = " ".join(["python -m benchmarks.contest", *sys.argv[1:]])
    contest = asyncio.run(play(names, tuple(asked.way or WAYS), length, command))
    print(*contest.markdown(), f"- saved as {contest.save().name}", sep="\n")
    return 0 if contest.holds else 1


if __name__ == "__main__":
    sys.exit(main())
