from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from benchmarks.daemon import Daemon, started, until
from benchmarks.fleet import Fleet
from keepalive.emulator import Emulator, Fault, FaultKind
from tests.system.commands import keepalive, write_config

FLEET = Fleet(targets=30, factor=7.5)
"""A window of 6 s in real time, and an interval of 2 s."""

LOADS = {
    "slow": Fault(kind=FaultKind.DRIP, seconds=1.0 * FLEET.factor),
    "hanging": Fault(kind=FaultKind.HANG),
}


async def in_flight(emulator: Emulator, daemon: Daemon, load: Fault) -> None:
    """Hold everybody eligible, and then let every answer be late."""
    await until(lambda: len(emulator.tallies()) == FLEET.targets)
    emulator.faults.add(load)
    before = len(emulator.requests)
    await until(lambda: len(emulator.requests) >= before + FLEET.targets / 3)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("load", LOADS)
async def test_a_signal_under_load_ends_it_within_5_s_with_no_answer_lost(
    tmp_path: Path, load: str, signum: signal.Signals
) -> None:
    async with (
        Emulator(FLEET.world(), time_factor=FLEET.factor) as emulator,
        started(FLEET.write(tmp_path, emulator.base_url)) as daemon,
    ):
        await in_flight(emulator, daemon, LOADS[load])
        code, seconds = await daemon.stop(signum)
        assert (code, seconds < 5.0) == (0, True)
        accepted = sum(tally.renewals for tally in emulator.tallies().values())
        summary = daemon.summary()
        (draining,) = daemon.lines("daemon.draining")
    assert draining["cause"] == signum.name
    assert int(draining["in_flight"] or 0) >= FLEET.targets / 6
    assert (summary["final"], summary["heartbeats"]) == (True, accepted)
    assert summary["lapsed"] == 0
    assert summary["eligible_ratio"] == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, signum: signal.Signals) -> None:
    async with (
        Emulator(FLEET.world(), time_factor=FLEET.factor) as emulator,
        started(FLEET.write(tmp_path, emulator.base_url)) as daemon,
    ):
        await in_flight(emulator, daemon, LOADS["hanging"])
        daemon.send(signum)
        await until(lambda: bool(daemon.lines("daemon.draining")))
        code, seconds = await daemon.stop(signum)
    assert code in (130, 128 + signum)
    assert seconds < 1.0


async def test_a_broken_configuration_ends_it_with_78_and_nothing_sent(tmp_path: Path) -> None:
    async with Emulator(FLEET.world()) as emulator:
        config = FLEET.write(tmp_path, emulator.base_url)
        text = config.read_text().replace("interval =", "intervall =")
        ran = await keepalive(tmp_path, "run", "--config", str(write_config(tmp_path, text)))
    assert ran.code == 78
    assert "did you mean `interval`?" in ran.err
    assert "Traceback" not in ran.err
    assert emulator.connections == 0


async def test_a_terminal_that_closes_ends_nobody(tmp_path: Path) -> None:
    async with (
        Emulator(FLEET.world(), time_factor=FLEET.factor) as emulator,
        started(FLEET.write(tmp_path, emulator.base_url)) as daemon,
    ):
        await until(lambda: len(emulator.tallies()) == FLEET.targets)
        daemon.send(signal.SIGHUP)
        before = len(emulator.requests)
        await until(lambda: len(emulator.requests) > before + FLEET.targets)
        code, _ = await daemon.stop()
    assert code == 0


def outlives_sighup(pid: int) -> bool:
    """Whether a process ignores or catches it; one whose interpreter is only beginning does neither yet."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    masks = (int(line.split()[1], 16) for line in lines if line.startswith(("SigIgn", "SigCgt")))
    return any(mask & 1 << signal.SIGHUP - 1 for mask in masks)


@pytest.mark.parametrize("after", [0.0, 0.15, 0.3])
async def test_a_sighup_while_it_starts_reloads_and_ends_nobody(tmp_path: Path, after: float) -> None:
    async with (
        Emulator(FLEET.world(), time_factor=FLEET.factor) as emulator,
        started(FLEET.write(tmp_path, emulator.base_url)) as daemon,
    ):
        await until(lambda: outlives_sighup(daemon.pid))
        await asyncio.sleep(after)
        daemon.send(signal.SIGHUP)
        await until(lambda: len(emulator.tallies()) == FLEET.targets)
        code, _ = await daemon.stop()
    assert code == 0
