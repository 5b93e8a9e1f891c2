"""Calibrating as a person does: the command in a process, a Worker with traffic, a daemon in the way."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.daemon import started, surroundings, until
from keepalive.emulator import Emulator, World
from tests.system.commands import ACCOUNT_ID, DAEMON, keepalive, write_config

WINDOW = 4.0
BUSY = replace(World.simple(window=WINDOW), events_per_second=5.0, indexing_lag=0.5)

CONFIG = f"""{DAEMON}
[[targets]]
account_id = "{ACCOUNT_ID}"
scripts = ["web"]
"""


def configure(folder: Path, emulator: Emulator) -> Path:
    return write_config(folder, CONFIG.replace("BASE_URL", emulator.base_url))


async def start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "keepalive", "calibrate", *arguments),
        cwd=folder,
        env=surroundings(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.timeout(120)
async def test_the_window_is_measured_over_real_sockets(tmp_path: Path) -> None:
    async with Emulator(BUSY) as emulator:
        configure(tmp_path, emulator)
        ran = await keepalive(tmp_path, "calibrate", "api", "--json", timeout=100.0)
        (tally,) = emulator.tallies().values()
    report = json.loads(ran.out)
    assert ran.code == 0
    assert report["ending"] == "measured"
    assert report["window_seconds"] == pytest.approx(WINDOW, abs=1.0)
    assert report["at_least_seconds"] < WINDOW < report["at_most_seconds"]
    assert report["configure_window"] == "3s"
    assert (report["rounds"], tally.lapses, report["quota_shared"]) == (3, 3, False)
    assert "key=" not in ran.out + ran.err


async def test_ctrl_c_says_what_is_known_by_then(tmp_path: Path) -> None:
    async with Emulator(BUSY) as emulator:
        configure(tmp_path, emulator)
        process = await start(tmp_path, "api")
        await until(lambda: any(emulator.tallies()) and emulator.requests[-1].route.value == "query")
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert b"The window is not known well enough: it was interrupted." in out
    assert b"live tails of the user behind 'prod' fall silent" in err


async def test_too_short_a_time_is_1_with_the_reason(tmp_path: Path) -> None:
    async with Emulator(replace(BUSY, events_per_second=0.0)) as emulator:
        configure(tmp_path, emulator)
        ran = await keepalive(tmp_path, "calibrate", "api", "--for", "1s")
    assert ran.code == 1
    assert ran.out == (
        "The window is not known well enough: 0 events came in 1 s; send the Worker a request a second"
        " meanwhile, or raise --for.\n"
    )


async def test_beside_a_daemon_of_the_same_user_it_refuses_before_anything_is_sent(tmp_path: Path) -> None:
    async with Emulator(BUSY) as emulator, started(configure(tmp_path, emulator)):
        await until(lambda: emulator.eligible(ACCOUNT_ID, "web"))
        ran = await keepalive(tmp_path, "calibrate", "api")
        assert not [arrival for arrival in emulator.requests if arrival.script_id == "api"]
    assert (ran.code, ran.out) == (1, "")
    assert re.fullmatch(
        r"keepalive: the daemon at \S+/k\.sock sends heartbeats for 1 target of the rate group 'default':"
        r" while it does, no silence can be measured; stop it until this has ended\n",
        ran.err,
    )


async def test_a_target_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    async with Emulator(BUSY) as emulator:
        configure(tmp_path, emulator)
        assert (await keepalive(tmp_path, "calibrate", "nobody/api")).code == 2
        assert (await keepalive(tmp_path, "calibrate", "api", "--within", "1ms")).code == 2
