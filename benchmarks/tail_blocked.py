"""Tail blocked: nobody reads what `keepalive tail` prints. Does a target lapse, and is each loss told?"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.daemon import surroundings, until
from benchmarks.report import Figure, Report
from keepalive.config.duration import format_duration, parse_duration
from keepalive.emulator import Emulator, World

MOST_MEGABYTES = 250
"""Of memory in all; the backlog may hold 32 MiB of it."""

READ_SECONDS = 5.0
"""How long everything is read in the end, so that what comes after the loss is seen too."""

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"


class Blocked(NamedTuple):
    """What was seen.

    Attributes:
        lapses: How often the target lapsed, by the emulator's account.
        printed: Events that came out in the end.
        dropped: Events that records say were dropped.
        unexplained: Events that are missing or doubled without a record that says so.
        before_mb: Memory of the tail as the block began, in megabytes.
        peak_mb: The most that it had.
    """

    lapses: int
    printed: int
    dropped: int
    unexplained: int
    before_mb: float
    peak_mb: float


async def measure(seconds: float, rate: float) -> Blocked:
    """Tail with a pipe that nobody reads for so long, then read all of it."""
    world = replace(World.simple(scripts=("api",)), events_per_second=rate)
    async with Emulator(world) as emulator:
        reader, writer = os.pipe()
        with TemporaryDirectory() as folder:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "keepalive", "tail", "api", "--json"),
                cwd=folder,
                env=surroundings(Path(folder))
                | {
                    "CLOUDFLARE_BASE_URL": emulator.base_url,
                    "CLOUDFLARE_API_TOKEN": "emulated-token",
                    "CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID,
                },
                stdout=writer,
                stderr=asyncio.subprocess.DEVNULL,
            )
            os.close(writer)
            try:
                await until(lambda: bool(emulator.tallies()))
                before_mb = _megabytes(process.pid, "VmRSS")
                await asyncio.sleep(seconds)
                [tally] = emulator.tallies().values()
                reading = asyncio.create_task(asyncio.to_thread(_read_all, reader))
                await asyncio.sleep(READ_SECONDS)
                peak_mb = _megabytes(process.pid, "VmHWM")
                process.send_signal(signal.SIGINT)
                text = await reading
                assert await process.wait() == 0, "the tail did not end well"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    return Blocked(tally.lapses, *_account(text), before_mb, peak_mb)


def _account(text: str) -> tuple[int, int, int]:
    """Events, events that records say were dropped, and events that are neither."""
    printed = dropped = unexplained = 0
    expected: int | None = None
    for line in text.splitlines():
        record = json.loads(line)
        if "$keepalive" in record:
            if record["$keepalive"]["type"] == "dropped":
                count = record["$keepalive"]["count"]
                dropped += count
                expected = None if expected is None else expected + count
            continue
        printed += 1
        number = int(record["$workers"]["event"]["request"]["path"][1:])
        unexplained += 0 if expected is None else abs(number - expected)
        expected = number + 1
    return printed, dropped, unexplained


def _read_all(reader: int) -> str:
    found = bytearray()
    while chunk := os.read(reader, 1 << 20):
        found += chunk
    os.close(reader)
    return found.decode()


def _megabytes(pid: int, what: str) -> float:
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert found, f"/proc does not say {what}"
    return int(found[1]) / 1000


def blocked(seconds: float, rate: float, command: str) -> Report:
    """Measure and report."""
    seen = asyncio.run(measure(seconds, rate))
    return Report(
        name="tail_blocked",
        setting=(
            f"Standard output of `keepalive tail --json` blocked for {format_duration(seconds)} at {rate:g} "
            f"events/s, then read for {READ_SECONDS:g} s; the window of the emulator is 45 s."
        ),
        command=command,
        figures=(
            Figure("lapses", seen.lapses, most=0),
            Figure("events that came out in the end", seen.printed, least=1),
            Figure("events that a record says were dropped", seen.dropped),
            Figure("events that are missing without a record, or doubled", seen.unexplained, most=0),
            Figure("memory as it began", seen.before_mb, "MB"),
            Figure("memory at most", seen.peak_mb, "MB", most=MOST_MEGABYTES),
        ),
    )


def main() -> int:
    """Measure, print the table, save it, and say by the exit code whether all figures hold."""
    parser = ArgumentParser(prog="python -m benchmarks.tail_blocked", description=__doc__)
    parser.add_argument("--for", dest="length", type=parse_duration, default=600.0, metavar="DURATION")
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="events a second (default 50)")
    asked = parser.parse_args()
    command = " ".join(["python -m benchmarks.tail_blocked", *sys.argv[1:]])
    report = blocked(asked.length, asked.rate, command)
    print(*report.markdown(), f"- saved as {report.save().name}", sep="\n")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
