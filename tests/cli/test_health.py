from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keepalive.cli.probe import Probe, read_arguments
from tests.cli.conftest import Keepalive
from tests.support.answering import Answer, Script, answering
from tests.support.configured import Folder

WELL = Answer(200, {"schema": 1, "healthy": True, "reason": "on time"})
LATE = Answer(503, {"schema": 1, "healthy": False, "reason": "late by 7 s"})


@pytest.fixture(autouse=True)
def _nowhere(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket of this machine is found."""
    monkeypatch.setattr("keepalive.config.access.SYSTEM_FOLDER", folder.path / "run")
    monkeypatch.setattr("keepalive.config.access.SYSTEM_FILE", folder.path / "etc.toml")
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def health(keepalive: Keepalive, folder: Folder, answer: Answer, *arguments: str) -> tuple[int, str, str]:
    path = "/readyz" if "--ready" in arguments else "/healthz"
    with answering(folder.path / "k.sock", Script({("GET", path): answer})):
        return keepalive("health", "--socket", "k.sock", *arguments)


def test_a_daemon_that_is_well_is_no_news(keepalive: Keepalive, folder: Folder) -> None:
    assert health(keepalive, folder, WELL) == (0, "", "")
    ready = Answer(200, {"schema": 1, "ready": True, "reason": "all are eligible"})
    assert health(keepalive, folder, ready, "--ready") == (0, "", "")


def test_one_that_is_not_says_why(keepalive: Keepalive, folder: Folder) -> None:
    assert health(keepalive, folder, LATE) == (1, "late by 7 s\n", "")
    ready = Answer(503, {"schema": 1, "ready": False, "reason": "2 targets lapsed"})
    assert health(keepalive, folder, ready, "--ready") == (1, "2 targets lapsed\n", "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(200, {"schema": 1, "ready": True}), "the daemon answered with HTTP status 200"),
        (Answer(200, {"schema": 1, "healthy": "yes"}), "the daemon answered with HTTP status 200"),
        (Answer(404, {"schema": 1, "error": "no such page", "hint": "look"}), "no such page; look"),
        (Answer(200, b"HTTP/1.0 200 OK\r\n\r\nhello"), "the daemon answered with HTTP status 200"),
    ],
)
def test_only_a_daemon_can_be_well(keepalive: Keepalive, folder: Folder, answer: Answer, said: str) -> None:
    assert health(keepalive, folder, answer) == (1, f"{said}\n", "")


def test_no_daemon_is_not_well(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive("health", "--socket", "k.sock")
    hint = "start it with `keepalive run`, or name its socket with --socket"
    assert ran == (1, f"no daemon answers at {folder.path}/k.sock (there is none); {hint}\n", "")


def test_a_configuration_that_is_not_there_is_not_well_either(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive("health", "--config", "none.toml")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith("--config: there is no file 'none.toml'; ")


def test_it_asks_by_tcp_where_no_socket_answers(keepalive: Keepalive, folder: Folder) -> None:
    with answering(("127.0.0.1", 0), Script({("GET", "/healthz"): LATE})) as address:
        folder.write("keepalive.toml", f'[http]\nlisten = "127.0.0.1:{address[1]}"\n')
        assert keepalive("health") == (1, "late by 7 s\n", "")
        with answering(folder.path / "k.sock", Script({("GET", "/healthz"): WELL})):
            folder.write(
                "keepalive.toml", f'[http]\nlisten = "127.0.0.1:{address[1]}"\n[control]\nsocket = "k.sock"\n'
            )
            assert keepalive("health").code == 0


def test_a_daemon_that_hangs_is_not_asked_elsewhere(
    keepalive: Keepalive, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepalive.cli.probe.SECONDS", 0.1)
    with (
        socket.socket(socket.AF_UNIX) as stopped,
        answering(("127.0.0.1", 0), Script({("GET", "/healthz"): WELL})) as address,
    ):
        stopped.bind("k.sock")
        stopped.listen()
        folder.write(
            "keepalive.toml", f'[http]\nlisten = "127.0.0.1:{address[1]}"\n[control]\nsocket = "k.sock"\n'
        )
        ran = keepalive("health")
    assert ran.code == 1
    assert "k.sock did not answer within 0.1 s" in ran.out


def test_a_broken_edit_of_the_rest_changes_nothing(keepalive: Keepalive, folder: Folder) -> None:
    folder.write("keepalive.toml", '[control]\nsocket = "k.sock"\n[[targets]]\nscripts = [\n')
    with answering(folder.path / "k.sock", Script({("GET", "/healthz"): WELL})):
        assert keepalive("health") == (0, "", "")


def test_a_working_directory_that_is_gone_breaks_no_probe(
    keepalive: Keepalive, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = folder.path / "deleted"
    deleted.mkdir()
    monkeypatch.chdir(deleted)
    deleted.rmdir()
    with answering(folder.path / "k.sock", Script({("GET", "/healthz"): WELL})):
        assert keepalive("health", "--socket", f"{folder.path}/k.sock").code == 0


def test_it_is_quick() -> None:
    def seconds(*arguments: str) -> float:
        def once() -> float:
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
            return time.perf_counter() - started

        return min(once() for _ in range(5))

    # 45 ms where an empty Python takes 10; the bound moves with the machine, and with what else it does.
    assert seconds("-m", "keepalive", "health", "--socket", "/none") < max(0.12, 8 * seconds("-c", "pass"))


@pytest.mark.parametrize("redirection", ["", ">/dev/full", ">&-"])
def test_the_exit_code_does_not_depend_on_who_reads(folder: Folder, redirection: str) -> None:
    command = f'"{sys.executable}" -m keepalive health --socket none.sock {redirection}'
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert ("(there is none)" in ran.stdout) is (redirection == "")


@pytest.mark.parametrize(
    ("arguments", "probe"),
    [
        ([], Probe()),
        (["--ready"], Probe(ready=True)),
        (["--socket", "a", "--ready", "-c", "b"], Probe(Path("b"), Path("a"), ready=True)),
        (["--socket=a=b", "--config=c"], Probe(Path("c"), Path("a=b"))),
        (["--socket", "--ready"], Probe(socket=Path("--ready"))),
    ],
)
def test_plain_arguments_are_read_without_the_command_line(arguments: list[str], probe: Probe) -> None:
    assert read_arguments(arguments) == probe


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "-h",
        "--socket",
        "--socket=",
        "--ready=1",
        "-c=a",
        "-ca",
        "x",
        "--log-level debug",
        "--no-color",
    ],
)
def test_whatever_else_is_given_needs_the_command_line(line: str) -> None:
    assert read_arguments(line.split()) is None
