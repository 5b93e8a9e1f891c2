"""The command line as a process: signals at bad moments, and a standard output that takes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.daemon import started, surroundings, until
from benchmarks.fleet import Fleet
from keepalive.emulator import Emulator, Fault, FaultKind, World
from tests.system.commands import ACCOUNT_ID, Ran, write_config

SIGNALS = (signal.SIGINT, signal.SIGTERM)

WHILE_IMPORTING = """
import signal, sys
module, number, wrapped, *arguments = sys.argv[1:]
class Signal:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            try:
                signal.raise_signal(int(number))
            except SystemExit:
                raise RuntimeError("as some libraries have it") if wrapped else SystemExit
sys.meta_path.insert(0, Signal())
from keepalive.cli import main
sys.argv[1:] = arguments
main()
"""
"""Gets a signal in the moment in which a module is asked for."""

NAME_SERVER_HANGS = """
import pathlib, socket, sys, time
def hang(*_, **__):
    pathlib.Path("asked").touch()
    time.sleep(60)
socket.getaddrinfo = hang
from keepalive.cli import main
main()
"""

CONFIG = f"""
[heartbeat]
window = "4s"
[cloudflare]
base_url = "BASE_URL"
[credentials.prod]
api_token = "emulated-token"
[[targets]]
account_id = "{ACCOUNT_ID}"
scripts = ["api", "web"]
"""


def configure(folder: Path, base_url: str = "http://127.0.0.1:9/client/v4") -> None:
    write_config(folder, CONFIG.replace("BASE_URL", base_url))


@asynccontextmanager
async def running(
    folder: Path,
    *command: str,
    stdout: int = asyncio.subprocess.PIPE,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that does not outlive its block."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=surroundings(folder) | dict(environ or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def end(process: asyncio.subprocess.Process, timeout: float = 20.0) -> Ran:
    async with asyncio.timeout(timeout):
        out, err = await process.communicate()
    return Ran(process.returncode or 0, (out or b"").decode(), err.decode())


async def run(
    folder: Path,
    *command: str,
    stdout: int = asyncio.subprocess.PIPE,
    environ: Mapping[str, str] | None = None,
) -> Ran:
    async with running(folder, *command, stdout=stdout, environ=environ) as process:
        return await end(process)


async def redirected(folder: Path, redirection: str, *arguments: str) -> Ran:
    """Run `keepalive ARGUMENTS` with what a shell does for `> /dev/full` and the like."""
    keepalive = (sys.executable, "-m", "keepalive", *arguments)
    return await run(folder, "sh", "-c", f'exec "$@" {redirection}', "sh", *keepalive)


class TestSignals:
    @pytest.mark.parametrize(
        ("command", "module", "code"),
        [
            ("demo", "typer", 0),
            ("demo", "keepalive.demo.show", 0),
            ("emulator", "keepalive.emulator", 0),
            ("run", "keepalive.config", 0),
            ("check", "typer", None),
            ("once", "aiohttp", None),
            ("config show", "pydantic", None),
        ],
    )
    @pytest.mark.parametrize("signum", SIGNALS)
    async def test_one_that_comes_before_anything_was_done_ends_it_without_a_word(
        self, tmp_path: Path, command: str, module: str, code: int | None, signum: signal.Signals
    ) -> None:
        configure(tmp_path)
        program = ("-c", WHILE_IMPORTING, module, str(signum.value), "", *command.split())
        ran = await run(tmp_path, sys.executable, *program)
        assert ran == (128 + signum if code is None else code, "", "")

    async def test_a_library_that_makes_an_error_of_it_does_not_make_it_a_bug(self, tmp_path: Path) -> None:
        configure(tmp_path)
        program = ("-c", WHILE_IMPORTING, "pydantic", str(signal.SIGTERM.value), "wrapped", "check")
        assert await run(tmp_path, sys.executable, *program) == (143, "", "")

    @pytest.mark.parametrize("signum", SIGNALS)
    async def test_a_name_server_that_hangs_holds_up_no_end(
        self, tmp_path: Path, signum: signal.Signals
    ) -> None:
        configure(tmp_path, "https://api.invalid/client/v4")
        program = ("-c", NAME_SERVER_HANGS, "check", "--config", "keepalive.toml")
        async with running(tmp_path, sys.executable, *program) as process:
            await until((tmp_path / "asked").exists)
            process.send_signal(signum)
            assert await end(process, timeout=2) == (128 + signum, "", "")

    @pytest.mark.parametrize("as_json", [False, True])
    @pytest.mark.parametrize("signum", SIGNALS)
    async def test_once_says_what_it_knows(
        self, tmp_path: Path, signum: signal.Signals, *, as_json: bool
    ) -> None:
        hang = Fault(kind=FaultKind.HANG, script="web")
        options = ("--json",) if as_json else ()
        async with Emulator(World.simple(), faults=[hang]) as emulator:
            configure(tmp_path, emulator.base_url)
            async with running(tmp_path, sys.executable, "-m", "keepalive", "once", *options) as process:
                await until(lambda: len(emulator.requests) >= 2)
                process.send_signal(signum)
                ran = await end(process, timeout=5)
        assert (ran.code, ran.err) == (128 + signum, "")
        if as_json:
            states = {one["script_id"]: one["state"] for one in json.loads(ran.out)["targets"]}
            assert states == {"api": "eligible", "web": "pending"}
        else:
            api, web, total = ran.out.splitlines()
            assert api.startswith(f"eligible  {ACCOUNT_ID}/api (prod)  1 attempt")
            assert web.startswith(f"pending   {ACCOUNT_ID}/web (prod)  ")
            assert total.startswith("1 of 2 targets are eligible. ")

    async def test_a_second_one_ends_once_at_once_and_it_still_says_what_it_knows(
        self, tmp_path: Path
    ) -> None:
        async with Emulator(World.simple(), faults=[Fault(kind=FaultKind.HANG)]) as emulator:
            configure(tmp_path, emulator.base_url)
            command = (sys.executable, "-m", "keepalive", "once", "--log-level", "info")
            async with running(tmp_path, *command, environ={"KEEPALIVE_HEARTBEAT__WINDOW": "30s"}) as process:
                assert process.stderr
                await until(lambda: len(emulator.requests) >= 2)
                process.terminate()
                while b"daemon.draining" not in await process.stderr.readline():
                    pass
                process.terminate()
                ran = await end(process, timeout=2)
        assert ran.code == 143
        assert ran.out.splitlines()[-1].startswith("0 of 2 targets are eligible. ")


FULL = "keepalive: standard output cannot be written (No space left on device); send it elsewhere"
CLOSED = "keepalive: standard output is closed; open it, or send it to a file"


class TestOutput:
    @pytest.mark.parametrize(
        ("redirection", "said"), [(">/dev/full", FULL), (">&-", CLOSED)], ids=["full", "closed"]
    )
    @pytest.mark.parametrize(
        "command", ["--help", "check --offline", "config show --json", "demo --for 20s", "emulator --port 0"]
    )
    async def test_one_that_takes_nothing_ends_it_with_one_line(
        self, tmp_path: Path, command: str, redirection: str, said: str
    ) -> None:
        configure(tmp_path)
        ran = await redirected(tmp_path, redirection, *command.split())
        assert ran.code == 74
        assert ran.err.splitlines()[-1] == said
        assert "Traceback" not in ran.err

    async def test_one_without_a_buffer_is_told_too(self, tmp_path: Path) -> None:
        configure(tmp_path)
        with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123 - a device
            command = (sys.executable, "-m", "keepalive", "check", "--offline")
            ran = await run(tmp_path, *command, stdout=full.fileno(), environ={"PYTHONUNBUFFERED": "1"})
        assert ran == (74, "", FULL + "\n")

    @pytest.mark.parametrize("command", ["--help", "check --offline", "config show", "demo --for 20s"])
    async def test_a_pipe_that_nobody_reads_ends_it_without_a_word(
        self, tmp_path: Path, command: str
    ) -> None:
        configure(tmp_path)
        reader, writer = os.pipe()
        os.close(reader)
        try:
            ran = await run(tmp_path, sys.executable, "-m", "keepalive", *command.split(), stdout=writer)
        finally:
            os.close(writer)
        assert ran.code == 141
        assert "Traceback" not in ran.err
        assert "keepalive: " not in ran.err

    @pytest.mark.parametrize(("redirection", "code"), [(">/dev/full", 74), (">&-", 74), ("| true", 0)])
    async def test_once_sends_all_heartbeats_whoever_reads(
        self, tmp_path: Path, redirection: str, code: int
    ) -> None:
        async with Emulator(World.simple()) as emulator:
            configure(tmp_path, emulator.base_url)
            if redirection == "| true":
                redirection = '| true; exit "${PIPESTATUS[0]}"'
            keepalive = (sys.executable, "-m", "keepalive", "once")
            ran = await run(tmp_path, "bash", "-c", f'"$@" {redirection}', "bash", *keepalive)
            heartbeats = [request.script_id for request in emulator.requests]
        assert sorted(name or "" for name in heartbeats) == ["api", "web"]
        assert ran.code == code
        assert len(ran.err.splitlines()) == (1 if code else 0)

    async def test_the_fault_is_not_lost_with_stderr(self, tmp_path: Path) -> None:
        configure(tmp_path)
        (tmp_path / "keepalive.toml").chmod(0o644)
        assert (await redirected(tmp_path, "2>/dev/full", "check", "--offline")).code == 0
        (tmp_path / "keepalive.toml").write_text("[log]\nlevl = 3\n", encoding="utf-8")
        assert (await redirected(tmp_path, "2>/dev/full", "check", "--offline")).code == 78

    async def test_a_warning_that_cannot_be_written_lapses_nobody(self, tmp_path: Path) -> None:
        fleet = Fleet(targets=3, factor=7.5)
        with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123 - a device
            async with Emulator(fleet.world(), time_factor=fleet.factor) as emulator:
                config = fleet.write(tmp_path, emulator.base_url)
                config.chmod(0o644)
                async with started(config, stderr=full.fileno()) as daemon:
                    await until(lambda: len(emulator.requests) > 2 * fleet.targets)
                    code, _ = await daemon.stop()
        assert code == 0

    async def test_a_name_that_is_no_text_can_be_printed(self, tmp_path: Path) -> None:
        configure(tmp_path)
        name = os.fsdecode(b"\xff.toml")
        (tmp_path / "keepalive.toml").rename(tmp_path / name)
        ran = await run(tmp_path, sys.executable, "-m", "keepalive", "check", "--offline", "-c", name)
        assert ran.code == 0
        assert "\\udcff.toml" in ran.out
