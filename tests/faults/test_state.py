"""The state: files that are not what they should be, places and disks that do not take it."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.daemon import started, until
from keepalive.core.events import StateFailed
from keepalive.core.lease import LeaseChanges
from keepalive.core.plan import GroupPlan, Policy
from keepalive.core.state import GroupState
from keepalive.engine import journal
from keepalive.engine.clock import BootClock
from keepalive.store.sqlite import SqliteStore
from tests.cloudflare.servers import reply, saying, served
from tests.faults.bench import holding
from tests.faults.conftest import Figure
from tests.faults.house import STATE, House, house


async def live_before(home: House) -> None:
    """Leave the state of an earlier life of the daemon."""
    clock, [group] = BootClock(), home.fleet.names
    store = SqliteStore(home.folder / STATE, clock.boot_id, clock.now())
    store.begin(GroupPlan(group, ()), clock.now())
    store.charge(group, clock.now())
    await store.save({group: GroupState(throttles=1)}, {}, clock.now())
    store.close()
    await until(lambda: not (home.folder / f"{STATE}-wal").exists())  # a thread of its own closes the file


def tables(home: House, script: str) -> Path:
    with closing(sqlite3.connect(home.folder / STATE)) as connection:
        connection.executescript(script)
    return home.folder / STATE


def remove(home: House) -> Path:
    for file in home.folder.glob(f"{STATE}*"):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()
    return home.folder / STATE


def corrupt(home: House) -> Path:
    file = remove(home)
    file.write_bytes(bytes(index * 7919 % 251 for index in range(9000)))
    return file


def make_newer(home: House) -> Path:
    return tables(home, "PRAGMA user_version = 99")


def give_to_others(home: House) -> Path:
    remove(home)
    return tables(home, "CREATE TABLE guests (name); INSERT INTO guests VALUES ('somebody');")


def put_a_folder_there(home: House) -> Path:
    file = remove(home) / "inside"
    file.parent.mkdir()
    file.touch()
    return file


def ring_of(home: House) -> Path:
    [ring] = (home.folder / f"{STATE}-ledgers").iterdir()
    return ring


def damage_the_ring(home: House) -> Path:
    os.truncate(ring_of(home), 100)
    return ring_of(home)


def make_the_ring_newer(home: House) -> Path:
    data = ring_of(home).read_bytes()
    ring_of(home).write_bytes(data[:8] + b"\x63" + data[9:])
    return ring_of(home)


def lead_nowhere(home: House) -> Path:
    home.edit(lambda text: text.replace(f'path = "{STATE}"', 'path = "/proc/nowhere/state.db"'))
    return home.config


SPOILS: dict[str, tuple[Callable[[House], Path], str]] = {
    "corrupt": (corrupt, "is damaged"),
    "newer": (make_newer, "newer keepalive"),
    "foreign": (give_to_others, "belongs to another program"),
    "a-folder": (put_a_folder_there, "is a directory"),
    "damaged-ring": (damage_the_ring, "is damaged"),
    "newer-ring": (make_the_ring_newer, "another version"),
    "no-such-place": (lead_nowhere, "cannot be written"),
}


@pytest.mark.parametrize(("spoil", "says"), SPOILS.values(), ids=SPOILS)
async def test_a_state_that_cannot_be_used_is_told_and_left_as_it_was(
    spoil: Callable[[House], Path], says: str, tmp_path: Path, figure: Figure
) -> None:
    async with house(tmp_path, state=STATE) as home:
        await live_before(home)
        file = spoil(home)
        before = file.read_bytes()
        async with home.daemon() as daemon:
            [failed] = daemon.lines("state.failed")
            assert home.lapses == 0
            figure("{} lapses", home.lapses)
    assert says in str(failed["cause"])
    assert failed["hint"]
    assert file.read_bytes() == before


async def test_a_disk_that_is_full_for_a_while_stops_no_heartbeat_and_nothing_is_missing_after_it(
    tmp_path: Path, figure: Figure
) -> None:
    """No file may grow: what a full disk is to a process, without one."""
    async with house(tmp_path, state=STATE) as home:
        async with home.daemon() as daemon:
            limits = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (16_000, limits[1]))
            await until(lambda: bool(daemon.lines("state.failed")))
            await home.renewed()
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, limits)
            await until(lambda: bool(daemon.lines("state.recovered")))
            assert home.lapses == 0
        sent = home.sent
        async with home.daemon() as daemon:
            [restored] = daemon.lines("state.restored")
            figure("0 lapses; {} of {} requests known after a restart", float(str(restored["calls"])), sent)
    assert int(str(restored["calls"])) >= sent


async def test_a_state_of_another_daemon_is_refused_with_its_process_named(
    tmp_path: Path, figure: Figure
) -> None:
    async with house(tmp_path, state=STATE) as home, home.daemon() as daemon:
        sent = home.sent
        second = home.folder / "second"
        second.mkdir()
        config = home.fleet.write(second, "http://127.0.0.1:9/client/v4", state=str(home.folder / STATE))
        async with started(config) as other:
            code = await other.exit_code(10)
            said = other.log
        figure("the second ends with {}, 0 lapses at the first", code)
        await home.renewed()
        assert home.lapses == 0
        assert home.sent > sent
    assert code != 0
    assert f"in use by another keepalive, process {daemon.pid}" in said


SHORT = Policy(window=6.0, interval=2.0)


class StuckStore(SqliteStore):
    """Its disk does not come back until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "this-boot", 0.0)
        self.free = threading.Event()
        self.stuck = threading.Event()

    def _save(self, states: Mapping[str, GroupState], leases: LeaseChanges, at: float) -> None:
        self.stuck.set()
        self.free.wait(10)
        super()._save(states, leases, at)


async def test_a_disk_that_is_stuck_delays_no_heartbeat_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    monkeypatch.setattr(journal, "STUCK_SECONDS", 0.3)
    store = StuckStore(tmp_path / STATE)
    async with (
        served(saying(reply())) as server,
        holding(server.url, count=6, policy=SHORT, store=store) as bench,
    ):
        await bench.renewed(6)
        await asyncio.to_thread(store.stuck.wait, 5)
        await bench.until(lambda: bool(bench.told.named("state.failed")))
        begun = bench.clock.now()
        await bench.renewed(6)
        figure("six heartbeats in {} s meanwhile", bench.clock.now() - begun)
        store.free.set()
        await bench.until(lambda: bool(bench.told.named("state.recovered")))
    [failed] = bench.told.named("state.failed")
    assert isinstance(failed, StateFailed)
    assert failed.cause == "a write does not come back"
    assert bench.failures == []
