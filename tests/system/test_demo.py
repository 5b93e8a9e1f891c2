from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

KEEPALIVE = Path(sys.executable).with_name("keepalive")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def started(*options: str) -> subprocess.Popen[str]:
    environ = {
        name: text for name, text in os.environ.items() if name not in ("FORCE_COLOR", "TTY_COMPATIBLE")
    }
    return subprocess.Popen(
        [KEEPALIVE, "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for its end. Its pipes close with the last process that holds them, so nothing is left running."""
    out, err = process.communicate(timeout=30)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    return Ended(process.returncode, out, err)


def sum_of(out: str) -> dict[str, str]:
    return {
        name.strip(): ratio for name, ratio in re.findall(r"^([a-z ]+?) +(\d+\.\d{3}) %", out, re.MULTILINE)
    }


def test_off_a_terminal_it_ends_by_itself_and_says_what_was_measured() -> None:
    demo = ended(started("--for", "5s", "--seed", "3"))
    assert demo.code == 0
    assert "5 s at 5 times the speed of life, 1 fault played (seed 3):" in demo.out
    assert sum_of(demo.out).keys() == {"keepalive", "naive loop"}
    assert sum_of(demo.out)["keepalive"] == "100.000"
    assert "-- half of the requests are reset, for 2.4 s\n-- over: half" in demo.out
    assert "\x1b" not in demo.out + demo.err
    for event in (
        "daemon.started",
        "daemon.ready",
        "attempt.failed",
        "daemon.draining",
        "eligibility.summary",
    ):
        assert event in demo.err
    assert "made-up" not in demo.out + demo.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_closing_words(number: signal.Signals) -> None:
    process = started()
    assert process.stderr is not None
    for line in process.stderr:
        if "daemon.ready" in line:
            break
    process.send_signal(number)
    demo = ended(process)
    assert demo.code == 0
    assert f"cause={number.name}" in demo.err
    assert sum_of(demo.out)["keepalive"] == "100.000"


def test_on_a_terminal_it_moves_on_a_screen_of_its_own_and_leaves_the_words_behind() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = os.environ | {"TERM": "xterm-256color"}
    with subprocess.Popen(
        [KEEPALIVE, "demo", "--for", "3s"], stdout=theirs, stderr=theirs, env=environ
    ) as demo:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # what Linux says once nobody holds the other side any more
            while part := os.read(ours, 65536):
                shown += part
    os.close(ours)
    assert demo.returncode == 0
    before, screen, after = re.split(r"\x1b\[\?1049[hl]", shown.decode())
    assert before == ""
    assert "half of the requests are reset" in screen
    assert len(re.findall(r"keepalive.{0,9} 0:0[0-3]", screen)) > 10
    assert sum_of(after.replace("\r", "")).keys() == {"keepalive", "naive loop"}


def test_log_options_are_those_of_every_command() -> None:
    demo = ended(started("--for", "1s", "--log-format", "json", "--log-level", "info"))
    assert demo.code == 0
    assert all(line.startswith("{") for line in demo.err.splitlines())
    assert "heartbeat.accepted" not in demo.err
