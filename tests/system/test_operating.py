"""A running daemon, asked from beside: status, health, reload, and the quota that commands share with it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.daemon import Daemon, started, surroundings, until
from keepalive.config.access import Access
from keepalive.control.answers import GroupSaid, Overview, overview, rate_groups
from keepalive.control.client import Daemon as Asked
from keepalive.emulator import Emulator, World
from tests.system.commands import ACCOUNT_ID, DAEMON, Ran, keepalive, python, write_config

CONFIG = f"""{DAEMON}
[[targets]]
account_id = "{ACCOUNT_ID}"
scripts = ["api", "web"]
"""
MORE = f"""
[[targets]]
account_id = "{ACCOUNT_ID}"
scripts = ["gone"]
"""

WITHOUT_PRIVILEGE = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what lets root open any file
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, "-m", "keepalive", *sys.argv[1:]])
"""


def configure(folder: Path, emulator: Emulator, *, more: str = "", without: str = "") -> Path:
    text = (CONFIG + more).replace("BASE_URL", emulator.base_url).replace(without or "\0", "")
    return write_config(folder, text)


def see(folder: Path) -> Overview:
    return overview(Asked(Access((folder / "k.sock",))))


def group(folder: Path) -> GroupSaid:
    (only,) = rate_groups(Asked(Access((folder / "k.sock",))))
    return only


def spent(folder: Path) -> int:
    value: int = group(folder).as_json()["spent"]
    return value


@asynccontextmanager
async def operating(folder: Path, *, more: str = "") -> AsyncIterator[Daemon]:
    """A daemon beside an emulated Cloudflare, all of whose targets that exist are eligible."""
    async with (
        Emulator(World.simple()) as emulator,
        started(configure(folder, emulator, more=more)) as daemon,
    ):
        await until((folder / "k.sock").exists)
        await until(lambda: see(folder).targets.eligible == 2)
        yield daemon


async def test_status_waits_for_a_daemon_that_is_not_there_yet(tmp_path: Path) -> None:
    async with Emulator(World.simple()) as emulator:
        config = configure(tmp_path, emulator)
        waiting = asyncio.create_task(keepalive(tmp_path, "status", "--wait", "30s"))
        await asyncio.sleep(0.5)
        async with started(config):
            ran = await waiting
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("2 eligible · budget ")


async def test_a_target_that_is_refused_comes_first_with_what_to_do(tmp_path: Path) -> None:
    async with operating(tmp_path, more=MORE):
        await until(lambda: see(tmp_path).targets.denied == 1)
        ran = await keepalive(tmp_path, "status")
        told = json.loads((await keepalive(tmp_path, "status", "--json")).out)
    lines = ran.out.splitlines()
    assert ran.code == 1
    assert lines[0].startswith("2 eligible, 1 denied · ")
    assert lines[5].split()[:2] == ["denied", "gone"]
    assert "1 target: unknown_script (HTTP 404, code 10007): " in ran.out
    assert "deploy the Worker" in lines[-1]
    assert [one["state"] for one in told["target_list"]] == ["eligible", "eligible", "denied"]


async def test_health_is_asked_by_the_socket_and_without_one_by_tcp(tmp_path: Path) -> None:
    async with operating(tmp_path) as daemon:
        assert await keepalive(tmp_path, "health") == (0, "", "")
        assert await keepalive(tmp_path, "health", "--ready") == (0, "", "")
        daemon.send(signal.SIGSTOP)
        ran = await keepalive(tmp_path, "health")
        daemon.send(signal.SIGCONT)
        said = f"the daemon at {tmp_path}/k.sock did not answer within 3 s; look at its log, or restart it\n"
        assert ran == (1, said, "")
    async with Emulator(World.simple()) as emulator:
        port = emulator.base_url.rpartition(":")[2].partition("/")[0]
        config = configure(tmp_path, emulator, without='socket = "k.sock"')
        environ = {"KEEPALIVE_HTTP__LISTEN": f"127.0.0.1:{int(port) ^ 1}"}
        async with started(config, environ=environ) as daemon:
            await until(lambda: len(daemon.lines("control.opened")) == 1)
            assert await keepalive(tmp_path, "health", environ=environ) == (0, "", "")
        ran = await keepalive(tmp_path, "health", environ=environ)
    assert (ran.code, ran.err) == (1, "")
    assert f"{environ['KEEPALIVE_HTTP__LISTEN']} (nobody listens there)" in ran.out


async def test_a_target_that_is_not_eligible_makes_it_unready_and_not_unwell(tmp_path: Path) -> None:
    async with operating(tmp_path, more=MORE):
        await until(lambda: see(tmp_path).targets.denied == 1)
        assert (await keepalive(tmp_path, "health")).code == 0
        assert await keepalive(tmp_path, "health", "--ready") == (
            1,
            "2 of 3 targets are eligible; 1 denied\n",
            "",
        )


async def test_a_reload_says_what_changed_or_why_not(tmp_path: Path) -> None:
    async with operating(tmp_path) as daemon:
        config = tmp_path / "keepalive.toml"
        good = config.read_text(encoding="utf-8")
        config.write_text(
            good.replace('["api", "web"]', '["api"]') + '[log]\nlevel = "debug"\n', encoding="utf-8"
        )
        ran = await keepalive(tmp_path, "reload")
        assert ran == (0, "reloaded: 1 target, 0 added, 1 removed; log.level counts after a restart\n", "")
        assert see(tmp_path).targets.total == 1
        config.write_text(good + "[log]\nlevl = 3\n", encoding="utf-8")
        ran = await keepalive(tmp_path, "reload")
        assert (ran.code, ran.out) == (1, "")
        fault, kept = ran.err.splitlines()
        assert fault.startswith("keepalive: keepalive.toml:")
        assert fault.endswith(": log.levl: unknown key; did you mean `level`?")
        assert kept == "keepalive: nothing was reloaded; the old configuration stays in force"
        told = json.loads((await keepalive(tmp_path, "reload", "--json")).out)
        assert (told["reloaded"], len(told["faults"])) == (False, 1)
        assert len(daemon.lines("config.rejected")) == 2


@pytest.mark.parametrize("edit", ["[[targets]\n", "[log]\nlevl = 3\n", "heartbeat = 3\n"])
async def test_a_broken_edit_hinders_no_question(tmp_path: Path, edit: str) -> None:
    async with operating(tmp_path):
        config = tmp_path / "keepalive.toml"
        config.write_text(edit + config.read_text(encoding="utf-8"), encoding="utf-8")
        assert (await keepalive(tmp_path, "check", "--offline")).code == 78
        assert await keepalive(tmp_path, "health") == (0, "", "")
        assert (await keepalive(tmp_path, "status")).code == 0
        assert (await keepalive(tmp_path, "reload")).code == 1


async def test_without_a_daemon_each_says_where_it_looked(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "RUNTIME_DIRECTORY": f"{tmp_path}/run:/elsewhere"}
    places = f"{tmp_path}/run/keepalive.sock (there is none), {tmp_path}/keepalive.sock (there is none)"
    for command, code in (("status", 3), ("reload", 3), ("health", 1)):
        ran = await keepalive(tmp_path, command, environ=environ)
        assert ran.code == code
        assert f"no daemon answers at {places}, " in ran.out + ran.err
        assert "start it with `keepalive run`, or name its socket with --socket" in ran.out + ran.err


async def test_the_socket_of_another_user_is_told_as_what_it_is(tmp_path: Path) -> None:
    async with operating(tmp_path):
        (tmp_path / "k.sock").chmod(0)
        for command, code in (("status", 3), ("reload", 3), ("health", 1)):
            ran = await python(tmp_path, "-c", WITHOUT_PRIVILEGE, command, "--socket", "k.sock")
            hint = "use the daemon's user, or sudo"
            said = f"no daemon answers at {tmp_path}/k.sock (permission denied); {hint}\n"
            assert ran.code == code
            assert (ran.out + ran.err).removeprefix("keepalive: ") == said


# --- a terminal ----------------------------------------------------------------------------------


class Terminal:
    """What a command draws in a terminal of its own, of 80 columns and 24 lines."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process = process
        self._master = master
        self.text = ""

    def read(self) -> str:
        """What was drawn since the last look."""
        drawn = b""
        with suppress(OSError):  # nothing more for now, or the other side is closed
            while chunk := os.read(self._master, 65_536):
                drawn += chunk
        self.text += drawn.decode()
        return drawn.decode()

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    async def end(self) -> int:
        """Wait for the end, and give the exit code."""
        await until(lambda: self.read() == "" and self._process.returncode is not None)
        return self._process.returncode or 0


@asynccontextmanager
async def terminal(folder: Path, *arguments: str) -> AsyncIterator[Terminal]:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(master, False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "keepalive", *arguments),
        cwd=folder,
        env=surroundings(folder) | {"TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(master)


async def test_a_terminal_gets_as_many_targets_as_it_has_lines_for(tmp_path: Path) -> None:
    many = ", ".join(f'"s{number}"' for number in range(40))
    more = f'[[targets]]\naccount_id = "{ACCOUNT_ID}"\nscripts = [{many}]\n'
    async with operating(tmp_path, more=more):
        await until(lambda: see(tmp_path).targets.denied == 40)
        async with terminal(tmp_path, "status") as short:
            assert await short.end() == 1
        async with terminal(tmp_path, "status", "--all") as full:
            assert await full.end() == 1
    assert len(short.text.splitlines()) <= 23
    assert "2 eligible; --all lists them" in " ".join(short.text.split())
    assert 5 < short.text.count("\x1b[35mdenied") < 20
    assert full.text.count("\x1b[35mdenied") == 40


async def test_a_view_outlives_the_daemon_and_ends_well(tmp_path: Path) -> None:
    async with Emulator(World.simple()) as emulator:
        config = configure(tmp_path, emulator)
        async with AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(started(config))
            assert (await keepalive(tmp_path, "status", "--wait", "20s")).code == 0
            watching = await stack.enter_async_context(terminal(tmp_path, "status", "--watch"))
            await until(lambda: "2 eligible" in watching.read())
            await daemon.stop()
            await until(lambda: "no daemon since " in watching.read())
            await stack.enter_async_context(started(config))
            await until(lambda: "2 eligible" in watching.read())
            watching.type(b"\x03")
            assert await watching.end() == 0
    assert watching.text.endswith("\x1b[?25h")
    assert "Traceback" not in watching.text


async def test_programs_can_watch_too(tmp_path: Path) -> None:
    async with operating(tmp_path) as daemon:
        watching = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keepalive", "status", "--watch", "--json"),
            cwd=tmp_path,
            env=surroundings(tmp_path),
            stdout=asyncio.subprocess.PIPE,
        )
        assert watching.stdout
        try:
            lines: list[dict[str, Any]] = [json.loads(await watching.stdout.readline()) for _ in range(2)]
            await daemon.stop()
            while "error" not in lines[-1]:
                lines.append(json.loads(await watching.stdout.readline()))
            watching.terminate()
            assert await watching.wait() == 0
        finally:
            if watching.returncode is None:
                watching.kill()
                await watching.wait()
    assert [line["schema"] for line in lines] == [1] * len(lines)
    assert lines[1]["uptime_seconds"] > lines[0]["uptime_seconds"]


# --- the quota -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["once", "check"])
async def test_what_a_command_sends_is_counted_in_the_daemons_quota(tmp_path: Path, command: str) -> None:
    async with Emulator(World.simple()) as emulator, started(configure(tmp_path, emulator)):
        assert (await keepalive(tmp_path, "status", "--wait", "20s")).code == 0
        before = len(emulator.requests)
        told = await keepalive(tmp_path, command)
        report = await keepalive(tmp_path, command, "--json")
        assert len(emulator.requests) >= before + (4 if command == "once" else 2)
        await until(lambda: spent(tmp_path) == len(emulator.requests))
    assert (told.code, report.code) == (0, 0)
    assert "These requests were counted in the running daemon's quota." in told.out
    assert json.loads(report.out)["quota_shared"] is True


async def test_without_a_daemon_a_command_says_that_the_quota_is_not_shared(tmp_path: Path) -> None:
    async with Emulator(World.simple()) as emulator:
        configure(tmp_path, emulator)
        for command in ("once", "check"):
            told = await keepalive(tmp_path, command)
            report = await keepalive(tmp_path, command, "--json")
            assert "No daemon answers, so the quota is not shared: " in told.out
            assert json.loads(report.out)["quota_shared"] is False


async def test_once_leaves_the_daemon_what_it_needs(tmp_path: Path) -> None:
    quota = '[rate_groups.default]\nrequests = 12\nperiod = "60s"\nshare = 1\n[heartbeat]\nwindow = "45s"\n'
    async with (
        Emulator(World.simple()) as emulator,
        started(configure(tmp_path, emulator, more=quota)) as daemon,
    ):
        assert (await keepalive(tmp_path, "status", "--wait", "20s")).code == 0
        outs: list[Ran] = []
        before = time.monotonic()
        while not any("quota_shared" in ran.out or "goes first" in ran.out for ran in outs):
            assert time.monotonic() - before < 30
            config = tmp_path / "short.toml"
            config.write_text((tmp_path / "keepalive.toml").read_text().replace('"45s"', '"2s"'))
            config.chmod(0o600)
            outs.append(await keepalive(tmp_path, "once", "--config", "short.toml"))
        sent = len(emulator.requests)
        code, _ = await daemon.stop()
    assert outs[-1].code == 1
    assert "the running daemon goes first" in outs[-1].out
    assert sent <= 12
    assert code == 0
