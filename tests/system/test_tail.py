"""`keepalive tail` as a person, a pipe, a terminal and a supervisor use it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
import termios
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.daemon import surroundings, until
from keepalive.emulator import Emulator, Fault, FaultKind, World
from tests.system.commands import ACCOUNT_ID, keepalive

WORLD = replace(World.simple(scripts=("api", "web")), events_per_second=50.0)

FACTOR = 10.0
"""A window of 4.5 s in real time."""

Record = dict[str, object]


def environ(emulator: Emulator) -> dict[str, str]:
    return {
        "CLOUDFLARE_BASE_URL": emulator.base_url,
        "CLOUDFLARE_API_TOKEN": "emulated-token",
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID,
        "KEEPALIVE_HEARTBEAT__WINDOW": f"{WORLD.window / FACTOR}s",
        "TZ": "UTC",
        "TERM": "xterm",
    }


class Tailing(NamedTuple):
    """A running `keepalive tail`."""

    process: asyncio.subprocess.Process
    log: Path

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            return (await self.process.stdout.readline()).decode()

    async def record(self) -> Record:
        found: Record = json.loads(await self.line())
        return found

    async def events(self, count: int) -> list[Record]:
        found: list[Record] = []
        while len(found) < count:
            record = await self.record()
            if "$keepalive" not in record:
                found.append(record)
        return found

    async def end(self, signum: signal.Signals | None = None) -> int:
        if signum is not None:
            self.process.send_signal(signum)
        async with asyncio.timeout(10):
            return await self.process.wait()

    @property
    def told(self) -> str:
        return self.log.read_text(encoding="utf-8")


@asynccontextmanager
async def tailing(
    folder: Path, emulator: Emulator, *arguments: str, stdout: int = asyncio.subprocess.PIPE
) -> AsyncIterator[Tailing]:
    log = folder / "stderr"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keepalive", "tail", *arguments),
            cwd=folder,
            env=surroundings(folder) | environ(emulator),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        yield Tailing(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def numbers(events: Iterable[Record], script: str = "api") -> list[int]:
    """The numbers that the emulator gave to the events of a script."""
    found = []
    for event in events:
        workers = event["$workers"]
        assert isinstance(workers, Mapping)
        if workers["scriptName"] == script:
            found.append(int(workers["event"]["request"]["path"][1:]))
    return found


def is_whole(found: list[int]) -> bool:
    return found == list(range(found[0], found[0] + len(found)))


async def test_events_come_as_they_were_sent_between_what_the_tail_says_of_itself(tmp_path: Path) -> None:
    async with Emulator(WORLD) as emulator, tailing(tmp_path, emulator, "api", "--json") as tail:
        first = await tail.record()
        events = await tail.events(20)
        code = await tail.end(signal.SIGINT)

    assert first in (
        {"$keepalive": {"type": "state", "state": "connected"}},
        {"$keepalive": {"type": "state", "state": "eligible"}},
    )
    assert is_whole(numbers(events))
    assert set(events[0]) == {"dataset", "timestamp", "source", "$workers", "$metadata"}
    assert code == 0
    assert "Traceback" not in tail.told


async def test_people_get_one_line_for_each_event(tmp_path: Path) -> None:
    async with Emulator(WORLD) as emulator:
        ran = await keepalive(
            tmp_path, "tail", "api", "web", "--filter", "level = error", "-n", "3", environ=environ(emulator)
        )

    events = [line for line in ran.out.splitlines() if not line.startswith("---")]
    pattern = r"\d\d:\d\d:\d\d\.\d{3}  ERROR  (api|web)  GET /\d*9  \[exception\]  request \d*9 failed"
    assert ran.code == 0
    assert len(events) == 3
    assert all(re.fullmatch(pattern, line) for line in events)
    assert "\x1b" not in ran.out


async def test_several_scripts_are_merged_each_whole_and_in_order(tmp_path: Path) -> None:
    async with Emulator(WORLD) as emulator, tailing(tmp_path, emulator, "api", "web", "--json") as tail:
        events = await tail.events(100)

    for script in ("api", "web"):
        assert len(numbers(events, script)) > 20
        assert is_whole(numbers(events, script))


async def test_a_script_beside_its_whole_account_does_not_come_twice(tmp_path: Path) -> None:
    both = ("api", f"{ACCOUNT_ID}/")
    async with Emulator(WORLD) as emulator, tailing(tmp_path, emulator, *both, "--json") as tail:
        events = await tail.events(100)

    assert is_whole(numbers(events))
    assert is_whole(numbers(events, "web"))
    assert f"keepalive: warning: {ACCOUNT_ID}/api is tailed as a part of its whole account" in tail.told


async def test_since_begins_with_what_is_stored_and_goes_on_without_a_seam(tmp_path: Path) -> None:
    world = replace(WORLD, indexing_lag=1.0)
    async with Emulator(world) as emulator:
        await asyncio.sleep(1.5)
        async with tailing(tmp_path, emulator, "api", "--json", "--since", "1m") as tail:
            events = await tail.events(200)

    assert numbers(events) == list(range(1, 201))


async def test_an_outage_costs_no_event(tmp_path: Path) -> None:
    world = replace(WORLD, indexing_lag=1.0)
    async with Emulator(world) as emulator, tailing(tmp_path, emulator, "api", "--json") as tail:
        events = await tail.events(100)
        emulator.faults.add(Fault(kind=FaultKind.OUTAGE, after=emulator.now, until=emulator.now + 1))
        events += await tail.events(200)

    assert is_whole(numbers(events))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_well_also_where_nobody_answers(
    tmp_path: Path, signum: signal.Signals
) -> None:
    async with (
        Emulator(WORLD, faults=[Fault(kind=FaultKind.HANG)]) as emulator,
        tailing(tmp_path, emulator, "api", "--json") as tail,
    ):
        await until(lambda: bool(emulator.requests))
        began = time.monotonic()
        code = await tail.end(signum)
        took = time.monotonic() - began

    assert (code, took < 3) == (0, True)
    assert "Traceback" not in tail.told


@pytest.mark.parametrize("as_json", [(), ("--json",)])
async def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path, as_json: tuple[str, ...]) -> None:
    async with Emulator(replace(WORLD, events_per_second=1)) as emulator:
        reader, writer = os.pipe()
        async with tailing(tmp_path, emulator, "api", *as_json, stdout=writer) as tail:
            os.close(writer)
            await asyncio.to_thread(os.read, reader, 1)
            os.close(reader)
            assert await tail.end() == 0

    assert "Traceback" not in tail.told
    assert "Broken" not in tail.told


async def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    async with Emulator(WORLD) as emulator, tailing(tmp_path, emulator, "api", stdout=full) as tail:
        os.close(full)
        assert await tail.end() == 74

    assert "keepalive: standard output cannot be written (No space left on device)" in tail.told


async def test_an_output_that_nobody_reads_lapses_nobody_and_loses_nothing_that_fits(tmp_path: Path) -> None:
    async with Emulator(replace(WORLD, events_per_second=200), time_factor=FACTOR) as emulator:
        reader, writer = os.pipe()
        async with tailing(tmp_path, emulator, "api", "--json", stdout=writer) as tail:
            os.close(writer)
            await until(lambda: bool(emulator.tallies()))
            await asyncio.sleep(1.5 * WORLD.window / FACTOR)
            [tally] = emulator.tallies().values()
            tail.process.send_signal(signal.SIGINT)
            text = await asyncio.to_thread(read_all, reader)
            assert await tail.end() == 0

    records: list[Record] = [json.loads(line) for line in text.splitlines()]
    events = [record for record in records if "$keepalive" not in record]
    assert tally.lapses == 0
    assert len(events) > 1000
    assert is_whole(numbers(events))


def read_all(reader: int) -> str:
    found = b""
    while chunk := os.read(reader, 1 << 20):
        found += chunk
    os.close(reader)
    return found.decode()


async def test_a_blocked_output_does_not_hold_up_the_end_and_what_is_lost_is_told(tmp_path: Path) -> None:
    async with Emulator(replace(WORLD, events_per_second=500)) as emulator:
        reader, writer = os.pipe()
        async with tailing(tmp_path, emulator, "api", stdout=writer) as tail:
            os.close(writer)
            await until(lambda: bool(emulator.tallies()))
            await asyncio.sleep(4)
            assert await tail.end(signal.SIGTERM) == 0
        os.close(reader)

    assert "lines were not written: nobody reads them" in tail.told


async def test_an_end_that_was_asked_for_comes(tmp_path: Path) -> None:
    async with Emulator(WORLD) as emulator:
        ran = await keepalive(tmp_path, "tail", "api", "--json", "--for", "1s", environ=environ(emulator))
    assert ran.code == 0
    assert len(ran.out.splitlines()) > 10


async def test_where_no_stream_could_be_opened_in_time_it_exits_1_and_says_why(tmp_path: Path) -> None:
    refusing = Fault(kind=FaultKind.STATUS, status=403, code=10000)
    async with Emulator(WORLD, faults=[refusing]) as emulator:
        ran = await keepalive(tmp_path, "tail", "api", "--for", "2s", environ=environ(emulator))
    assert ran.code == 1
    assert "no stream could be opened" in ran.err
    assert ran.out.startswith("--- disconnected: authentication: ")


async def test_no_key_of_a_session_is_ever_told(tmp_path: Path) -> None:
    async with (
        Emulator(WORLD) as emulator,
        tailing(tmp_path, emulator, "api", "--log-level", "debug") as tail,
    ):
        for _ in range(20):
            line = await tail.line()
            assert "emulated-0" not in line
            assert "connect?" not in line
        emulator.drop_connections()
        await until(lambda: "disconnected" in tail.told)
        assert b"emulated-0" not in cmdline(tail.process.pid)

    assert "emulated-0" not in tail.told
    assert "connect?" not in tail.told


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("wrong", ["--filter=levle = error", "--filter-json={", "--search="])
async def test_a_wrong_filter_is_a_usage_error_before_anything_is_sent(tmp_path: Path, wrong: str) -> None:
    async with Emulator(WORLD) as emulator:
        ran = await keepalive(tmp_path, "tail", "api", wrong, environ=environ(emulator))
    assert ran.code == 2
    assert ran.err.startswith(f"keepalive: {wrong.partition('=')[0]}")
    assert emulator.connections == 0


async def test_a_terminal_gets_a_status_line_that_never_mixes_with_what_is_printed(tmp_path: Path) -> None:
    screen, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 100))
    shown = bytearray()
    async with Emulator(WORLD) as emulator:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keepalive", "tail", "api"),
            cwd=tmp_path,
            env=surroundings(tmp_path) | environ(emulator),
            stdin=side,
            stdout=side,
            stderr=side,
        )
        os.close(side)
        reading = asyncio.create_task(asyncio.to_thread(drain, screen, shown))
        try:
            await until(lambda: shown.count(b"request") > 100)
            process.send_signal(signal.SIGINT)
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await reading
            os.close(screen)

    lines = [line.rpartition("\x1b[K")[2] for line in shown.decode().split("\r\n")]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    events = [line for line in plain if "request" in line]
    assert code == 0
    assert "api eligible for 0 s · " in shown.decode()
    assert all(re.fullmatch(r"[\d:.]{12}  (INFO |ERROR)  .*request \d+( failed)?", line) for line in events)
    assert plain[-1] == ""


def drain(screen: int, shown: bytearray) -> None:
    while True:
        try:
            chunk = os.read(screen, 65536)
        except OSError:  # the other side is closed
            return
        if not chunk:
            return
        shown += chunk
