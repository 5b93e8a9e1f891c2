"""Faults that take long, or need a superuser: `make faults` plays them, `make test` does not."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest

from benchmarks.daemon import started, until
from benchmarks.fleet import Fleet
from tests.faults.conftest import Figure
from tests.faults.house import STATE, house

LIFE = Fleet(targets=42, users=1)
"""As it is by default, in real time: a window of 45 s, an interval of 15 s."""

KILLS = 50


async def test_half_a_minute_of_sigstop(tmp_path: Path, figure: Figure) -> None:
    """Those whose lease ran out meanwhile lapse, and nobody can help that; all are renewed at once."""
    async with house(tmp_path, LIFE) as home, home.daemon() as daemon:
        await asyncio.sleep(20)
        daemon.send(signal.SIGSTOP)
        await asyncio.sleep(30)
        daemon.send(signal.SIGCONT)
        after = await home.renewed()
        figure("stopped for 30 of 45 s: all 42 renewed {} s after it, {} lapses", after, home.lapses)
        assert home.lapses <= LIFE.targets / 10
        assert after < 5


@pytest.mark.timeout(300)
async def test_fifty_kills_at_random_moments(tmp_path: Path, figure: Figure) -> None:
    chance, waits = Random(50), []
    async with house(tmp_path, LIFE, state=STATE) as home:
        for _ in range(KILLS):
            begun, before = time.monotonic(), home.sent
            async with started(home.config) as daemon:
                await until(lambda before=before: home.sent > before)  # type: ignore[misc]
                waits.append(time.monotonic() - begun)
                await asyncio.sleep(chance.expovariate(2.0))
                await daemon.stop(signal.SIGKILL)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
        sent = home.sent
        async with started(home.config) as daemon:
            await until(lambda: bool(daemon.lines("state.restored")))
            [restored] = daemon.lines("state.restored")
        assert home.lapses == 0
    figure("{} kills, 0 lapses; first request at most {} s after a start", KILLS, max(waits))
    assert int(str(restored["calls"])) >= sent


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    place = tmp_path / "small"
    place.mkdir()
    assert os.geteuid() == 0, "a superuser has to play this one: it mounts a small file system"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def test_a_file_system_without_room(tmp_path: Path, small_disk: Path, figure: Figure) -> None:
    async with house(tmp_path, state=str(small_disk / STATE)) as home:
        async with home.daemon() as daemon:
            ballast = small_disk / "ballast"
            with suppress(OSError), ballast.open("wb", buffering=0) as file:  # until there is no room left
                while file.write(b"x" * 4096):
                    pass
            await until(lambda: bool(daemon.lines("state.failed")))
            await home.renewed()
            ballast.unlink()
            await until(lambda: bool(daemon.lines("state.recovered")))
            assert home.lapses == 0
        sent = home.sent
        async with home.daemon() as daemon:
            [restored] = daemon.lines("state.restored")
            figure("0 lapses; all {} requests known after a restart", sent)
    assert int(str(restored["calls"])) >= sent


async def test_a_state_that_another_program_holds_stops_no_heartbeat(tmp_path: Path, figure: Figure) -> None:
    """A backup that locks the data base."""
    async with house(tmp_path, state=STATE) as home, home.daemon() as daemon:
        with closing(sqlite3.connect(home.folder / STATE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await until(lambda: bool(daemon.lines("state.failed")))
            await home.renewed()
            other.execute("ROLLBACK")
        await until(lambda: bool(daemon.lines("state.recovered")))
        assert home.lapses == 0
        [recovered] = daemon.lines("state.recovered")
        figure("written again after {} s, 0 lapses", float(str(recovered["failed_for_seconds"])))


async def test_a_state_that_is_deleted_while_it_is_used_stops_no_heartbeat(
    tmp_path: Path, figure: Figure
) -> None:
    async with house(tmp_path, state=STATE) as home:
        async with home.daemon():
            for file in home.folder.glob(f"{STATE}*"):
                if file.is_dir():
                    shutil.rmtree(file)
                else:
                    file.unlink()
            await home.renewed()
            await home.renewed()
        async with home.daemon() as daemon:
            assert not daemon.lines("state.failed")
        assert home.lapses == 0
        figure("{} heartbeats, 0 lapses", home.sent)
