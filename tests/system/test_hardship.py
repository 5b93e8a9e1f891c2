"""The daemon where the world around it is broken."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.daemon import started, surroundings, until
from benchmarks.fleet import Fleet
from keepalive.emulator import Emulator, Fault, FaultKind
from tests.system.commands import keepalive, write_config

FLEET = Fleet(targets=6, factor=7.5)
"""A window of 6 s in real time, and an interval of 2 s."""

BUSY = Fleet(targets=30, factor=7.5)
"""The same with a log line at debug level every 70 ms."""


async def test_a_full_pipe_on_stderr_delays_no_heartbeat(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        async with (
            Emulator(BUSY.world(), time_factor=BUSY.factor) as emulator,
            started(BUSY.write(tmp_path, emulator.base_url), "--log-level", "debug", stderr=writer) as daemon,
        ):
            os.set_blocking(writer, False)
            with suppress(BlockingIOError):  # fill it to the brim; nobody ever reads
                while True:
                    os.write(writer, b"x" * 65536)
            os.set_blocking(writer, True)
            before = len(emulator.requests)
            await until(lambda: len(emulator.requests) > before + 2 * BUSY.targets)
            code, seconds = await daemon.stop()
            lapses = sum(tally.lapses for tally in emulator.tallies().values())
    finally:
        os.close(reader)
        os.close(writer)
    assert (code, seconds < 5) == (0, True)
    assert lapses == 0


@pytest.mark.parametrize("kind", [FaultKind.BLACK_HOLE, FaultKind.OUTAGE])
async def test_a_server_that_is_dead_at_the_start_is_tried_until_it_lives(
    tmp_path: Path, kind: FaultKind
) -> None:
    async with (
        Emulator(FLEET.world(), time_factor=FLEET.factor, faults=(Fault(kind=kind),)) as emulator,
        started(FLEET.write(tmp_path, emulator.base_url)) as daemon,
    ):
        await until(lambda: emulator.connections > 10)
        emulator.faults.clear()
        await until(lambda: len(emulator.tallies()) == FLEET.targets)
        await until(lambda: bool(daemon.lines("daemon.ready")))
        code, _ = await daemon.stop()
    assert code == 0


@pytest.mark.parametrize("host", ["closed port", "no such host"])
async def test_without_a_network_it_keeps_trying_says_why_and_ends_in_time(tmp_path: Path, host: str) -> None:
    if host == "closed port":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            base_url = f"http://127.0.0.1:{free.getsockname()[1]}/client/v4"
    else:
        base_url = "https://api.invalid/client/v4"
    config = FLEET.write(tmp_path, base_url)
    async with started(config) as daemon:
        await until(lambda: len(daemon.lines("attempt.failed")) >= 1)
        warning = daemon.lines("attempt.failed")[0]
        code, seconds = await daemon.stop()
    assert (code, seconds < 5) == (0, True)
    assert warning["level"] == "warning"
    assert warning["cause"] in ("connect", "dns")


async def test_nobody_on_stdout_and_stderr_is_no_reason_to_end(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    async with (
        Emulator(FLEET.world(), time_factor=FLEET.factor) as emulator,
        started(FLEET.write(tmp_path, emulator.base_url), stderr=writer) as daemon,
    ):
        os.close(reader)
        os.close(writer)
        await until(lambda: len(emulator.requests) > 2 * FLEET.targets)
        code, _ = await daemon.stop()
    assert code == 0
    assert all(tally.lapses == 0 for tally in emulator.tallies().values())


async def test_closed_descriptors_are_no_reason_to_end_and_no_log_line_goes_astray(tmp_path: Path) -> None:
    """A number that is free is given to the next socket; a log that wrote to it would spoil requests."""
    async with Emulator(FLEET.world(), time_factor=FLEET.factor) as emulator:
        config = FLEET.write(tmp_path, emulator.base_url)
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "keepalive"),
            *("run", "--log-level", "debug", "--config", str(config)),
            cwd=tmp_path,
            env=surroundings(tmp_path),
        )
        try:
            await until(lambda: len(emulator.requests) > 2 * FLEET.targets)
            process.terminate()
            async with asyncio.timeout(5):
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert code == 0
    assert all(request.accepted for request in emulator.requests)
    assert all(tally.lapses == 0 for tally in emulator.tallies().values())


SLOW_NAMES = """
import os, socket, time
os.cpu_count = lambda: 2  # by which asyncio counts its threads
real = socket.getaddrinfo
def slow(host, *rest, **others):
    if "keepalive.test" in str(host):
        time.sleep(8)
    return real(host, *rest, **others)
socket.getaddrinfo = slow
"""
ASKING = """
[heartbeat]
window = "2s"
[control]
socket = "k.sock"
[cloudflare]
base_url = "https://keepalive.test/client/v4"
[state]
path = ""
[credentials.prod]
api_token = "emulated-token"
[[targets]]
account_id = "0123456789abcdef0123456789abcdef"
scripts = ["api"]
"""


async def test_a_name_server_that_hangs_delays_no_answer_and_no_reload(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES, encoding="utf-8")
    environ = {"PYTHONPATH": f"{surroundings(tmp_path)['PYTHONPATH']}:{tmp_path}"}
    async with started(write_config(tmp_path, ASKING), environ=environ) as daemon:
        await until(lambda: len(daemon.lines("control.opened")) == 1)
        await asyncio.sleep(5)
        before = time.monotonic()
        ran = await keepalive(tmp_path, "reload")
        assert (ran.code, time.monotonic() - before < 2) == (0, True), ran
        assert (await daemon.stop())[0] == 0
