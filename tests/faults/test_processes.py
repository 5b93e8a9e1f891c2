"""The machine around the process: signals, limits of the kernel, and whoever reads the log."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import threading
import time
from pathlib import Path
from random import Random

from benchmarks.daemon import started, until
from benchmarks.fleet import Fleet
from keepalive.emulator import Fault, FaultKind
from tests.faults.conftest import Figure
from tests.faults.house import STATE, house

BUSY = Fleet(targets=30, users=3, factor=7.5)
"""At debug level a log line every 70 ms."""

LIFE = Fleet(targets=42, users=1)
"""As it is by default, in real time: a window of 45 s, an interval of 15 s."""

KILLS = 5


async def test_a_process_that_is_stopped_for_a_while_renews_everybody_at_once(
    tmp_path: Path, figure: Figure
) -> None:
    """SIGSTOP for a third of the window: what a debugger or a starved container does."""
    async with house(tmp_path) as home, home.daemon() as daemon:
        daemon.send(signal.SIGSTOP)
        await asyncio.sleep(2.0)
        daemon.send(signal.SIGCONT)
        figure("stopped for 2 of 6 s: everybody renewed {} s after it, 0 lapses", await home.renewed())
        assert home.lapses == 0
        await until(lambda: bool(daemon.lines("loop.stalled")))
        assert 1 < float(str(daemon.lines("loop.stalled")[0]["lasted_seconds"])) < 3


async def test_a_process_that_is_killed_at_any_moment_goes_on_where_it_stopped(
    tmp_path: Path, figure: Figure
) -> None:
    chance, waits = Random(7), []
    async with house(tmp_path, LIFE, state=STATE) as home:
        for _ in range(KILLS):
            begun, before = time.monotonic(), home.sent
            async with started(home.config) as daemon:
                await until(lambda before=before: home.sent > before)  # type: ignore[misc]
                waits.append(time.monotonic() - begun)
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                await daemon.stop(signal.SIGKILL)
        sent = home.sent
        async with started(home.config) as daemon:
            await until(lambda: bool(daemon.lines("state.restored")))
            [restored] = daemon.lines("state.restored")
        assert home.lapses == 0
    figure("{} kills, 0 lapses; first request at most {} s after a start", KILLS, max(waits))
    assert int(str(restored["calls"])) >= sent
    assert max(waits) < LIFE.interval


async def test_a_process_without_a_free_descriptor_outlives_it(tmp_path: Path, figure: Figure) -> None:
    async with house(tmp_path) as home, home.daemon() as daemon:
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        home.emulator.drop_connections()
        await until(lambda: bool(daemon.lines("attempt.failed")))
        await asyncio.sleep(1.0)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
        figure("everybody renewed {} s after there were some again, 0 lapses", await home.renewed())
        assert home.lapses == 0
        causes = {line["cause"] for line in daemon.lines("attempt.failed")}
        details = {line["detail"] for line in daemon.lines("attempt.failed")}
    assert causes <= {"connect", "reset"}
    assert any("too many open files" in str(detail).lower() for detail in details)


def address_space(pid: int) -> int:
    """Bytes of memory that a process has mapped."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


async def test_a_process_that_gets_no_more_memory_goes_on(tmp_path: Path, figure: Figure) -> None:
    """Eight megabytes above what it has, while answers of eight megabytes come in."""
    async with house(tmp_path) as home, home.daemon() as daemon:
        await home.renewed()
        before = address_space(daemon.pid)
        room = before + 8 * 2**20
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (room, room))
        home.emulator.faults.add(Fault(kind=FaultKind.HUGE))
        await until(lambda: bool(daemon.lines("attempt.failed")))
        await asyncio.sleep(1.0)
        home.emulator.faults.clear()
        await home.renewed()
        figure("grew by {} MB, 0 lapses", max(0, address_space(daemon.pid) - before) / 2**20)
        assert home.lapses == 0
        assert {line["cause"] for line in daemon.lines("attempt.failed")} <= {"too_large", "reset"}


async def test_whoever_reads_the_log_slowly_gets_every_line_and_delays_no_heartbeat(
    tmp_path: Path, figure: Figure
) -> None:
    reader, writer = os.pipe()
    chunks: list[bytes] = []

    def read_slowly() -> None:
        while chunk := os.read(reader, 128):
            chunks.append(chunk)
            time.sleep(0.0 if finished.is_set() else 0.02)

    finished = threading.Event()
    reading = threading.Thread(target=read_slowly, daemon=True)
    reading.start()
    try:
        async with house(tmp_path, BUSY) as home:
            async with home.daemon("--log-level", "debug", stderr=writer):
                await home.renewed()
                await home.renewed()
                finished.set()
            accepted = sum(tally.renewals for tally in home.emulator.tallies().values())
            assert home.lapses == 0
    finally:
        finished.set()
        os.close(writer)
        await asyncio.to_thread(reading.join, 5)
        os.close(reader)
    lines = [json.loads(line) for line in b"".join(chunks).decode().splitlines()]
    assert sum(line["event"] == "heartbeat.accepted" for line in lines) == accepted
    assert not [line for line in lines if line["event"] == "log.dropped"]
    figure("{} lines, none lost, 0 lapses", len(lines))


async def test_a_log_on_a_full_disk_delays_no_heartbeat(tmp_path: Path, figure: Figure) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        async with house(tmp_path) as home, home.daemon("--log-level", "debug", stderr=descriptor):
            await home.renewed()
            assert home.lapses == 0
            figure("{} heartbeats, 0 lapses", home.sent)
    finally:
        os.close(descriptor)
