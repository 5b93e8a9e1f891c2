"""Tail kills: the real `keepalive tail` while its sockets die and its eligibility is taken away."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import floor
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.daemon import surroundings
from benchmarks.report import Figure, Report
from keepalive.emulator import Emulator, Fault, FaultKind, Route, World
from keepalive.emulator.world import ACCOUNT_ID, SCRIPTS, TOKEN

EVENTS_PER_SECOND = 25.0
"""Of each of the two scripts."""

INDEXING_LAG = 6.0
"""Seconds until an event can be queried; nobody tells the tail."""

CALM_SECONDS = 15.0
REST_SECONDS = 75.0
"""Before the first and after the last fault: the last one takes its time to be mended too."""

REVOKED_SECONDS = 30.0

HALF_OPEN = FaultKind.HALF_OPEN
KINDS = (HALF_OPEN, FaultKind.CLOSE, HALF_OPEN, FaultKind.CUT)
"""How sockets die, in turns: half of them without a word, the others with a close or a reset."""


class Said(NamedTuple):
    """A gap that the tail named."""

    from_ms: int
    to_ms: int
    reason: str


@dataclass
class Heard:
    """What the tail printed."""

    ids: list[str] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)
    disorder: int = 0
    gaps: list[Said] = field(default_factory=list)

    def take(self, line: Mapping[str, Mapping[str, str | int]]) -> None:
        """Read one line. The emulator's ids sort by time, so that order can be told from them."""
        if own := line.get("$keepalive"):
            if own["type"] == "gap":
                self.gaps.append(Said(int(own["from_ms"]), int(own["to_ms"]), str(own["reason"])))
            return
        event_id, script = str(line["$metadata"]["id"]), str(line["$workers"]["scriptName"])
        self.ids.append(event_id)
        self.disorder += event_id < self.last.get(script, "")
        self.last[script] = max(event_id, self.last.get(script, ""))


@dataclass(frozen=True)
class Course:
    """What is played: moments in seconds since the start.

    Attributes:
        seconds: How long.
        kills: When a socket dies, and how.
        revocations: When eligibility is taken away.
    """

    seconds: float
    kills: tuple[tuple[float, FaultKind], ...]
    revocations: tuple[float, ...]

    @classmethod
    def drawn(cls, seconds: float, kills: int, revocations: int, seed: int) -> Course:
        """Draw the moments."""
        chance = Random(seed)
        end = seconds - REST_SECONDS
        moments = sorted(chance.uniform(CALM_SECONDS, end) for _ in range(kills))
        return cls(
            seconds,
            tuple((at, KINDS[number % len(KINDS)]) for number, at in enumerate(moments)),
            tuple(chance.uniform(CALM_SECONDS, end - REVOKED_SECONDS) for _ in range(revocations)),
        )

    def faults(self) -> Iterable[Fault]:
        """The kills as faults: each strikes one frame."""
        return (Fault(kind=kind, after=at, count=1) for at, kind in self.kills)


async def play(course: Course, folder: Path) -> tuple[Emulator, Heard]:
    """Let the tail of a whole account go through a course."""
    world = replace(World.simple(), events_per_second=EVENTS_PER_SECOND, indexing_lag=INDEXING_LAG)
    heard = Heard()
    async with Emulator(world, faults=course.faults()) as emulator, asyncio.TaskGroup() as tasks:
        given = {
            "CLOUDFLARE_BASE_URL": emulator.base_url,
            "CLOUDFLARE_API_TOKEN": TOKEN,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keepalive", "tail", f"{ACCOUNT_ID}/", "--json"),
            cwd=folder,
            env=surroundings(folder) | given,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            reading = tasks.create_task(_read(process, heard))
            for at in sorted(course.revocations):
                await asyncio.sleep(max(0.0, at - emulator.now))
                emulator.revoke(ACCOUNT_ID, seconds=REVOKED_SECONDS)
            await asyncio.sleep(max(0.0, course.seconds - emulator.now))
            process.send_signal(signal.SIGTERM)
            await reading
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return emulator, heard


async def _read(process: asyncio.subprocess.Process, heard: Heard) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        heard.take(json.loads(line))


def logged(emulator: Emulator, heard: Heard, course: Course) -> list[tuple[str, int]]:
    """What had to come: everything from the first event of the tail until shortly before its end."""
    telemetry = emulator.api.telemetry
    last = floor((course.seconds - REST_SECONDS / 2) * EVENTS_PER_SECOND)
    events = [
        telemetry.event(ACCOUNT_ID, script, number) for script in SCRIPTS for number in range(1, last + 1)
    ]
    first = min(heard.ids)
    return [(event.event_id, event.timestamp) for event in events if event.event_id >= first]


def noticed(emulator: Emulator) -> list[float]:
    """Seconds from each half-open socket to the next one that was opened."""
    opened = [each.at for each in emulator.requests if each.route is Route.STREAM and each.status == 101]
    struck = [strike.at for strike in emulator.faults.strikes if strike.kind is HALF_OPEN]
    return [min(at for at in opened if at > strike) - strike for strike in struck]


def tail_kills(course: Course, command: str) -> Report:
    """Play a course and report it."""
    with TemporaryDirectory() as folder:
        emulator, heard = asyncio.run(play(course, Path(folder)))
    expected = logged(emulator, heard, course)
    counted = Counter(heard.ids)
    lost = [at for event_id, at in expected if event_id not in counted]
    silent = [at for at in lost if not any(gap.from_ms <= at <= gap.to_ms for gap in heard.gaps)]
    waits = noticed(emulator)
    kinds = Counter(strike.kind for strike in emulator.faults.strikes)
    calls = Counter(each.route for each in emulator.requests)
    (tally,) = emulator.tallies().values()
    return Report(
        name="tail_kills",
        setting=(
            f"{course.seconds / 60:g} minutes of 50 events/s from two scripts, {len(course.kills)} sockets"
            f" killed, eligibility taken away {len(course.revocations)} times for {REVOKED_SECONDS:g} s,"
            f" an index that lags {INDEXING_LAG:g} s."
        ),
        command=command,
        figures=(
            Figure("sockets killed", sum(kinds.values()), least=len(course.kills)),
            Figure("of those without a close", kinds[HALF_OPEN]),
            Figure("lapses at the emulator", tally.lapses),
            Figure("events that had to come", len(expected)),
            Figure("events that came", sum(event_id in counted for event_id, _ in expected)),
            Figure("events lost without a word", len(silent), most=0),
            Figure("events inside gaps that were named", len(lost) - len(silent)),
            Figure("gaps named", len(heard.gaps)),
            Figure("events told twice", sum(times - 1 for times in counted.values()), most=0),
            Figure("events out of order", heard.disorder, most=0),
            Figure("dead socket to the next one, longest", max(waits), "s", most=20, digits=1),
            Figure("calls for sessions", calls[Route.PREPARE]),
            Figure("calls for the archive", calls[Route.QUERY]),
        ),
        notes=tuple(f"{count} of the gaps: {reason}" for reason, count in _reasons(heard).items()),
    )


def _reasons(heard: Heard) -> Counter[str]:
    return Counter(gap.reason for gap in heard.gaps)


def main() -> int:
    """Kill, print the table, save it, and say by the exit code whether all figures hold."""
    parser = ArgumentParser(prog="python -m benchmarks.tail_kills", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default 20)")
    parser.add_argument("--kills", type=int, default=100, help="sockets killed (default 100)")
    parser.add_argument("--revocations", type=int, default=5, help="how often (default 5)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    course = Course.drawn(asked.minutes * 60, asked.kills, asked.revocations, asked.seed)
    command = f"python -m benchmarks.tail_kills --minutes {asked.minutes:g} --kills {asked.kills}"
    report = tail_kills(course, command)
    print(*report.markdown(), f"- saved as {report.save().name}", sep="\n")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
