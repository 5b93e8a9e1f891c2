"""`keepalive exec` as a person, a terminal, a supervisor and a container use it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from benchmarks.daemon import started, surroundings, until
from keepalive.emulator import Emulator, Fault, FaultKind, World
from tests.system.commands import ACCOUNT_ID, Ran, keepalive, write_config

WORLD = World.simple(scripts=("api", "web"))

ECHO = """
import signal, sys
heard = {signal.Signals[name] for name in sys.argv[1:]}
signal.pthread_sigmask(signal.SIG_BLOCK, heard)
print("ready", flush=True)
while True:
    print(signal.Signals(signal.sigwait(heard)).name, flush=True)
"""
"""A program that names the signals which reach it; none can slip in between two looks, as with handlers."""

HEARD = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGQUIT", "SIGALRM")


def config(folder: Path, emulator: Emulator, more: str = "") -> Path:
    return write_config(
        folder,
        f'[cloudflare]\nbase_url = "{emulator.base_url}"\n[credentials.prod]\napi_token = "emulated-token"\n'
        f'[[targets]]\naccount_id = "{ACCOUNT_ID}"\nscripts = ["api"]\n[state]\npath = ""\n'
        f'[control]\nsocket = "{folder}/k.sock"\n{more}',
    )


async def run(folder: Path, emulator: Emulator, *arguments: str) -> Ran:
    return await keepalive(folder, "exec", "--config", str(config(folder, emulator)), *arguments)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "exit 255"), 255),
        (("sh", "-c", "kill -TERM $$"), 143),
        (("sh", "-c", "kill -KILL $$"), 137),
        (("/",), 126),
        (("no-such-command-anywhere",), 127),
        (("",), 127),
        (("./nowhere/command",), 127),
    ],
)
async def test_it_ends_as_the_command_does(tmp_path: Path, command: tuple[str, ...], code: int) -> None:
    async with Emulator(WORLD) as emulator:
        ran = await run(tmp_path, emulator, "api", "--", *command)
    assert ran.code == code
    if code in (126, 127):
        [said] = [line for line in ran.err.splitlines() if line.startswith("keepalive: ")]
        assert command[0] in said


async def test_a_script_whose_interpreter_does_not_exist_is_there_and_cannot_be_run(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    async with Emulator(WORLD) as emulator:
        ran = await run(tmp_path, emulator, "api", "--", str(script))
    assert ran.code == 126
    assert f"keepalive: {str(script)!r} cannot be run (its interpreter does not exist)" in ran.err


async def test_the_targets_are_eligible_before_the_command_starts(tmp_path: Path) -> None:
    late = Fault(kind=FaultKind.STATUS, status=503, count=3)
    async with Emulator(WORLD, faults=[late]) as emulator:
        ran = await run(tmp_path, emulator, "api", "web", "--", "date", "+%s.%N")
        assert emulator.eligible(ACCOUNT_ID, "api")
        assert emulator.eligible(ACCOUNT_ID, "web")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    changed = [line for line in lines if line.get("to_state") == "eligible"]
    assert sorted(line["script_id"] for line in changed) == ["api", "web"]
    last = max(datetime.fromisoformat(line["timestamp"]).timestamp() for line in changed)
    assert last - 0.001 <= float(ran.out) < last + 1


async def test_the_environment_is_enough(tmp_path: Path) -> None:
    async with Emulator(WORLD) as emulator:
        environ = {"CLOUDFLARE_API_TOKEN": "emulated-token", "CLOUDFLARE_BASE_URL": emulator.base_url}
        ran = await keepalive(
            tmp_path, "exec", f"{ACCOUNT_ID}/api", "--", "printenv", "CLOUDFLARE_API_TOKEN", environ=environ
        )
        assert emulator.eligible(ACCOUNT_ID, "api")
    assert (ran.code, ran.out) == (0, "emulated-token\n"), "the command's environment is what it was"


async def test_standard_input_and_output_are_the_commands_own(tmp_path: Path) -> None:
    async with Emulator(WORLD) as emulator:
        file, log = config(tmp_path, emulator), tmp_path / "keepalive.log"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keepalive", "exec", "-c", str(file), "api", "--log-file", str(log)),
            *("--", "sh", "-c", "cat; echo oops >&2"),
            env=surroundings(tmp_path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(b"\x00bytes\xff")
    assert (process.returncode, out, err) == (0, b"\x00bytes\xff", b"oops\n")
    assert "eligibility.changed" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert "emulated-token" not in log.read_text()


async def test_an_outage_delays_the_command_and_no_more(tmp_path: Path) -> None:
    async with Emulator(WORLD, faults=[Fault(kind=FaultKind.STATUS, status=503)]) as emulator:
        before = time.monotonic()
        ran = await run(tmp_path, emulator, "api", "--", "sh", "-c", "exit 3")
    assert ran.code == 3
    assert 5 <= time.monotonic() - before < 9
    said = [line for line in ran.err.splitlines() if line.startswith("keepalive: ")]
    assert said[0].startswith(f"keepalive: {ACCOUNT_ID}/api is pending: ")
    assert "503" in said[0]
    assert said[1] == "keepalive: 'sh' starts after 5s all the same; trying on"


async def test_who_insists_gets_no_command_without_its_targets(tmp_path: Path) -> None:
    async with Emulator(WORLD, faults=[Fault(kind=FaultKind.STATUS, status=503)]) as emulator:
        ran = await run(tmp_path, emulator, "api", "--wait", "500ms", "--", "echo", "started")
    assert (ran.code, ran.out) == (125, "")
    assert "keepalive: 'echo' was not started: not every target was eligible within --wait" in ran.err


async def test_what_is_refused_is_told_at_once(tmp_path: Path) -> None:
    async with Emulator(WORLD) as emulator:
        ran = await run(tmp_path, emulator, "api", "nowhere", "--", "echo", "started")
    assert (ran.code, ran.out) == (125, "")
    assert f"keepalive: {ACCOUNT_ID}/nowhere is denied: " in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("api",), 2, "no command to run; write it behind `--`"),
        (("api", "--"), 2, "no command to run"),
        (("--", "true"), 2, "Missing argument"),
        (("a/b/c", "--", "true"), 2, "write the 32"),
        (("api", "--log-file", "no/such/folder/x", "--", "true"), 2, "cannot be written"),
        (("api", "--wait", "soon", "--", "true"), 2, "soon"),
        (("api", "-c", "gone.toml", "--", "true"), 78, "there is no file"),
    ],
)
async def test_a_slip_starts_nothing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    async with Emulator(WORLD) as emulator:
        config(tmp_path, emulator)
        environ = {"KEEPALIVE_CONFIG": str(tmp_path / "keepalive.toml")}
        ran = await keepalive(tmp_path, "exec", *arguments, environ=environ)
        assert list(emulator.requests) == []
    assert ran.code == code
    assert said in ran.err


# --- signals -----------------------------------------------------------------------------------------


@dataclass
class Running:
    """A running `keepalive exec`, and what its command has said."""

    process: subprocess.Popen[bytes]
    out: Path
    terminal: int = -1

    def heard(self) -> list[str]:
        return self.out.read_text().split()

    async def end(self) -> int:
        async with asyncio.timeout(10):
            return await asyncio.to_thread(self.process.wait)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the session that the process began, in whichever group it is by now."""
    subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
    process.wait()


@asynccontextmanager
async def running(
    folder: Path, *command: str, terminal: bool = False, prefix: tuple[str, ...] = ()
) -> AsyncIterator[Running]:
    """Start it in a session of its own: with a terminal in its foreground, or with none."""
    out = folder / "out.txt"
    main, side = pty.openpty() if terminal else (-1, -1)

    def own_terminal() -> None:
        if terminal:
            fcntl.ioctl(side, termios.TIOCSCTTY, 0)

    async with Emulator(WORLD) as emulator:
        file = config(folder, emulator)
        with out.open("wb") as file_out, (folder / "err.txt").open("wb") as file_err:
            process = await asyncio.to_thread(
                lambda: subprocess.Popen(
                    [
                        *(*prefix, sys.executable, "-m", "keepalive", "exec", "-c", str(file)),
                        *("api", "--", *command),
                    ],
                    env=surroundings(folder),
                    stdin=side if terminal else subprocess.DEVNULL,
                    stdout=file_out,
                    stderr=file_err,
                    start_new_session=True,
                    preexec_fn=own_terminal,  # noqa: PLW1509 - it takes no lock
                )
            )
        run = Running(process, out, main)
        try:
            await until(lambda: "ready" in run.heard())
            yield run
        finally:
            end_session(process)
            for descriptor in (main, side):
                if descriptor >= 0:
                    os.close(descriptor)


async def test_every_signal_is_passed_on(tmp_path: Path) -> None:
    async with running(tmp_path, sys.executable, "-c", ECHO, *HEARD) as run:
        for count, name in enumerate(HEARD, 2):
            run.process.send_signal(signal.Signals[name])
            await until(lambda count=count: len(run.heard()) >= count)  # type: ignore[misc]
        run.process.send_signal(signal.SIGRTMIN)
        assert await run.end() == 128 + signal.SIGRTMIN
        assert run.heard() == ["ready", *HEARD]


def waits(process: subprocess.Popen[bytes], signum: signal.Signals) -> bool:
    """Whether a signal waits for a process to take it: one more of its kind would be lost."""
    status = Path(f"/proc/{process.pid}/status").read_text().split("ShdPnd:\t")[1]
    return bool(int(status.split()[0], 16) >> (signum - 1) & 1)


async def test_what_the_terminal_sends_reaches_the_command_once(tmp_path: Path) -> None:
    async with running(tmp_path, sys.executable, "-c", ECHO, *HEARD, terminal=True) as run:
        os.write(run.terminal, b"\x03")
        await until(lambda: len(run.heard()) >= 2)
        fcntl.ioctl(run.terminal, termios.TIOCSWINSZ, b"\x20\x00\x20\x00\x00\x00\x00\x00")
        await until(lambda: len(run.heard()) >= 3)
        await until(lambda: not waits(run.process, signal.SIGINT))
        run.process.send_signal(signal.SIGINT)  # by somebody who means keepalive alone
        await until(lambda: len(run.heard()) >= 4)
        run.process.send_signal(signal.SIGUSR1)  # whatever came twice would have come by now
        await until(lambda: "SIGUSR1" in run.heard())
        assert run.heard() == ["ready", "SIGINT", "SIGWINCH", "SIGINT", "SIGUSR1"]


async def test_ctrl_z_gives_the_terminal_back_and_fg_goes_on(tmp_path: Path) -> None:
    shell = ("bash", "--norc", "-i", "-c", '"$@"; echo stopped; fg >&2; echo "ended $?"', "bash")
    command = ("sh", "-c", 'trap "echo on" CONT; echo ready; while :; do sleep 0.05; done')
    async with running(tmp_path, *command, terminal=True, prefix=shell) as run:
        os.write(run.terminal, b"\x1a")
        await until(lambda: "stopped" in run.heard())
        await until(lambda: "on" in run.heard())
        os.write(run.terminal, b"\x03")
        await run.end()
        assert run.heard() == ["ready", "stopped", "on", "ended", str(128 + signal.SIGINT)]


async def test_it_ends_the_moment_the_command_does(tmp_path: Path) -> None:
    async with running(tmp_path, "sh", "-c", "echo ready; exec sleep 60") as run:
        before = time.monotonic()
        run.process.send_signal(signal.SIGTERM)
        assert await run.end() == 143
        assert time.monotonic() - before < 1.5


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_while_it_waits_ends_it(tmp_path: Path, signum: signal.Signals) -> None:
    async with Emulator(WORLD, faults=[Fault(kind=FaultKind.HANG)]) as emulator:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keepalive", "exec", "-c", str(config(tmp_path, emulator)), "api"),
            *("--wait", "20s", "--", "echo", "started"),
            env=surroundings(tmp_path),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await until(lambda: len(emulator.requests) > 0)
        process.send_signal(signum)
        out, _ = await process.communicate()
    assert (process.returncode, out) == (128 + signum, b"")


async def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    status = "grep SigIgn /proc/self/status; grep SigBlk /proc/self/status; grep SigCgt /proc/self/status"
    async with Emulator(WORLD) as emulator:
        file = config(tmp_path, emulator)
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'trap "" HUP INT; exec "$@"', "sh"),
            *(sys.executable, "-m", "keepalive", "exec", "-c", str(file), "api", "--", "sh", "-c", status),
            env=surroundings(tmp_path),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate()
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in out.decode().splitlines()}
    assert masks["SigIgn"] & 0x7FFFFFFF == 1 << (signal.SIGHUP - 1) | 1 << (signal.SIGINT - 1)
    assert masks["SigBlk"] == 0


ADOPTER = """
import ctypes, os, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes a process inherit orphans as process 1 of a container does, which any user may."""


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


async def test_orphans_that_it_inherits_are_reaped_and_signals_reach_it_as_process_1_too(
    tmp_path: Path,
) -> None:
    orphans = 'for i in 1 2 3; do (sleep 60 & echo $! >> "$0"); done; echo ready; exec sleep 60'
    listing = tmp_path / "orphans.txt"
    async with running(
        tmp_path, "sh", "-c", orphans, str(listing), prefix=(sys.executable, "-c", ADOPTER)
    ) as run:
        pids = [int(pid) for pid in listing.read_text().split()]
        await until(lambda: {int(status(pid)["PPid"]) for pid in pids} == {run.process.pid})
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))

        # To process 1 the kernel delivers what is handled or blocked there, and nothing else.
        assert int(status(run.process.pid)["SigBlk"], 16) & 1 << signal.SIGTERM - 1
        run.process.send_signal(signal.SIGTERM)
        assert await run.end() == 143


# --- with a daemon -----------------------------------------------------------------------------------


@pytest.mark.timeout(120)
async def test_a_daemon_holds_the_targets_and_is_stood_in_for(tmp_path: Path) -> None:
    """Window 6 s: the daemon dies, stays away for longer than that, and comes back."""
    world = World.simple(scripts=("api", "web"), window=6.0)
    async with Emulator(world) as emulator:
        file = config(tmp_path, emulator, '[heartbeat]\nwindow = "6s"\n')
        log = tmp_path / "exec.log"

        def told(name: str) -> int:
            return sum(json.loads(line)["event"] == name for line in log.read_text().splitlines())

        async with started(file) as daemon:
            await until((tmp_path / "k.sock").exists)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "keepalive", "exec", "-c", str(file), "web"),
                *("--log-file", str(log), "--", "sleep", "60"),
                env=surroundings(tmp_path),
            )
            await until(lambda: log.exists() and told("lease.taken") == 1)
            ran = await keepalive(tmp_path, "lease", "list", "-c", str(file))
            assert ran.out.startswith("exec-")
            assert f"{ACCOUNT_ID}/web" in ran.out
            daemon.send(signal.SIGKILL)
            await daemon.exit_code(5)
        await until(lambda: told("lease.lost") == 1)
        await asyncio.sleep(7)
        async with started(file):
            await until(lambda: told("lease.taken") == 2)
            await asyncio.sleep(1)
            process.terminate()
            assert await process.wait() == 143
            assert (await keepalive(tmp_path, "lease", "list", "-c", str(file))).out == "no leases\n"
        [web] = [tally for place, tally in emulator.tallies().items() if place.script_id == "web"]
        assert web.lapses == 0
