from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import typer

from keepalive._version import __version__
from keepalive.cli.commands import COMMANDS
from keepalive.errors import ConfigError, ConfigFault, KeepaliveError, UsageError
from tests.cli.conftest import Keepalive
from tests.support.configured import PROD, TARGETS, Folder

PRINT_MODULES = """
import sys
from keepalive.cli.commands import command_line
sys.argv[1:] = ["--help"]
try:
    command_line()
except SystemExit:
    print(*sys.modules)
"""

DEEPER = {"config": ("show",), "lease": ("add",)}
"""Which command of those that have some stands for them."""

WRITTEN = [name for name in COMMANDS if find_spec(f"keepalive.cli.{name}")]


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=os.environ | environ
    )


def docstring(module: ModuleType, name: str) -> str:
    entry = getattr(module, name)
    if isinstance(entry, typer.Typer):
        callback = entry.registered_callback
        assert callback is not None
        entry = callback.callback
    return inspect.getdoc(entry) or ""


@pytest.mark.parametrize("name", WRITTEN)
def test_the_table_says_what_each_command_says_of_itself(name: str) -> None:
    assert docstring(import_module(f"keepalive.cli.{name}"), name).splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_has_an_example_and_the_common_options(keepalive: Keepalive, name: str) -> None:
    deep = [name, *DEEPER.get(name, ())]
    ran = keepalive(*deep, "-h")
    assert ran.code == 0
    assert f"keepalive {' '.join(deep)}" in ran.out.partition("Example: ")[2]
    for option in ("-c, --config", "--log-format", "--log-level", "--no-color", "-h, --help"):
        assert option in ran.out


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        (["tail"], "tail [OPTIONS] [ACCOUNT/]SCRIPT...\n"),
        (["exec"], "exec [OPTIONS] [ACCOUNT/]SCRIPT... -- CMD...\n"),
        (["lease", "release"], "lease release [OPTIONS] NAME...\n"),
        (["simulate"], "simulate [OPTIONS] [PRESET|TRACE.toml]\n"),
    ],
)
def test_help_names_arguments_as_the_documents_do(
    keepalive: Keepalive, command: list[str], usage: str
) -> None:
    ran = keepalive(*command, "--help")
    assert ran.out.startswith(f"Usage: keepalive {usage}")
    assert "<" not in ran.out.partition("Options:")[0].replace("< <=", "")


def test_help_lists_every_command_in_full(keepalive: Keepalive) -> None:
    ran = keepalive("--help")
    assert ran.code == 0
    words = " ".join(ran.out.split())
    assert all(f"{name} {line}" in words for name, line in COMMANDS.items())


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "run"]])
def test_the_version_is_told(keepalive: Keepalive, arguments: list[str]) -> None:
    assert keepalive(*arguments) == (0, f"keepalive {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "Did you mean 'check'?"),
        (["check", "--nope"], "No such option"),
        (["check", "--log-level", "loud"], "loud"),
        (["check", "--config", ""], "an empty text names no file; write one, or leave the option out"),
        (["config"], "Usage: "),
        ([], "Usage: "),
    ],
)
def test_a_slip_on_the_command_line_exits_2(keepalive: Keepalive, arguments: list[str], said: str) -> None:
    ran = keepalive(*arguments)
    assert ran.code == 2
    assert said in ran.out + ran.err


@pytest.mark.parametrize("name", ["check", "config show"])
def test_a_configuration_with_faults_exits_78_and_says_all_of_them(
    keepalive: Keepalive, folder: Folder, name: str
) -> None:
    folder.write("keepalive.toml", "[log]\nlevl = 3\n" + PROD.replace("token-of-prod", "") + TARGETS)
    ran = keepalive(*name.split())
    assert ran.code == 78
    assert ran.out == ""
    first, second, total = ran.err.splitlines()
    assert first == "keepalive: keepalive.toml:2: log.levl: unknown key; did you mean `level`?"
    assert second.startswith("keepalive: keepalive.toml:5: credentials.prod.api_token: the secret is empty; ")
    assert total == "keepalive: 2 faults; nothing was sent"


@pytest.fixture
def gone(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder with a configuration, and a working directory that was deleted."""
    folder.write("keepalive.toml", PROD + TARGETS)
    deleted = folder.path / "deleted"
    deleted.mkdir()
    monkeypatch.chdir(deleted)
    deleted.rmdir()
    return folder


@pytest.mark.parametrize("arguments", ["check --offline", "config show -c k.toml", "init"])
def test_a_working_directory_that_is_gone_is_told(keepalive: Keepalive, gone: Folder, arguments: str) -> None:
    ran = keepalive(*arguments.split())
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.splitlines()[0] == (
        "keepalive: the working directory: cannot be found (No such file or directory); "
        "go to one that exists, or name the configuration by an absolute --config"
    )


def test_an_absolute_configuration_needs_no_working_directory(
    keepalive: Keepalive, gone: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keepalive("check", "--offline", "-c", f"{gone.path}/keepalive.toml").code == 0
    assert keepalive("init", "-c", f"{gone.path}/new.toml").code == 0
    monkeypatch.setenv("KEEPALIVE_CONFIG", f"{gone.path}/keepalive.toml")
    assert "keepalive.toml:7" in keepalive("config", "show").out


def test_options_reach_the_configuration(keepalive: Keepalive, folder: Folder) -> None:
    folder.write("other.toml", PROD + TARGETS)
    ran = keepalive("config", "show", "-c", "other.toml", "--log-level", "debug", "--log-format", "json")
    assert "log.level\tdebug\t--log-level\n" in ran.out
    assert "log.format\tjson\t--log-format\n" in ran.out
    assert "other.toml:3" in ran.out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeepaliveError("it is full"), 1, "keepalive: it is full\n"),
        (UsageError("what?"), 2, "keepalive: what?\n"),
        (
            ConfigError((ConfigFault("a:1", "k", "x", "y"),)),
            78,
            "keepalive: a:1: k: x; y\nkeepalive: 1 fault; nothing was sent\n",
        ),
    ],
)
def test_an_expected_error_is_a_message_and_a_code(
    keepalive: Keepalive, monkeypatch: pytest.MonkeyPatch, error: KeepaliveError, code: int, said: str
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("keepalive.cli.init.find_project", fail)
    assert keepalive("init") == (code, "", said)


def test_a_report_without_end_is_cut(keepalive: Keepalive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ConfigError(tuple(ConfigFault(f"a:{line}", "", "x", "") for line in range(1500)))

    monkeypatch.setattr("keepalive.cli.init.find_project", fail)
    lines = keepalive("init").err.splitlines()
    assert lines[-2:] == ["keepalive: … and 1,300 more faults", "keepalive: 1,500 faults; nothing was sent"]
    assert len(lines) == 202


def test_a_bug_is_shown_as_one_and_without_local_variables(
    keepalive: Keepalive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("keepalive.cli.init.find_project", fail)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "canary")
    ran = keepalive("init", "-c", "canary.toml")
    assert ran.code == 70
    assert "RuntimeError: a bug" in ran.err
    assert "please report" in ran.err
    assert "canary" not in ran.err


def test_control_c_exits_130(keepalive: Keepalive, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keepalive.cli.init.find_project", interrupted)
    assert keepalive("init") == (130, "", "")


def test_help_imports_nothing_heavy() -> None:
    ran = python("-c", PRINT_MODULES)
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & {
        "aiohttp",
        "pydantic",
        "structlog",
        "rich",
        "asyncio",
        "keepalive.config",
        "keepalive.cli.check",
    }


def test_help_is_quick() -> None:
    def seconds(*arguments: str) -> float:
        def once() -> float:
            started = time.perf_counter()
            python(*arguments)
            return time.perf_counter() - started

        return min(once() for _ in range(5))

    # 150 ms where an empty Python takes 10; the bound moves with the machine, and with what else it does.
    assert seconds("-m", "keepalive", "--help") < max(0.15, 15 * seconds("-c", "pass"))


def test_python_m_is_the_same_command() -> None:
    ran = python("-m", "keepalive", "--version")
    assert (ran.returncode, ran.stdout) == (0, f"keepalive {__version__}\n")


def test_shells_complete_commands_and_their_options() -> None:
    def completed(words: str, count: int) -> set[str]:
        environ = {"_KEEPALIVE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        return set(python("-m", "keepalive", **environ).stdout.split())

    assert completed("keepalive ch", 1) == {"check"}
    assert {"--offline", "--config", "--json"} <= completed("keepalive check --", 2)
    assert completed("keepalive config ", 2) == {"show"}


def test_faults_reach_the_journal_as_errors_and_warnings_as_warnings(tmp_path: Path) -> None:
    config = tmp_path / "k.toml"
    config.write_text('[credentials.prod]\napi_token = "t"\n[heartbeat]\nintervall = 1\n')
    config.chmod(0o600)
    written = tmp_path / "journal"
    with written.open("w") as stream:
        found = os.fstat(stream.fileno())
        environ = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        command = [sys.executable, "-m", "keepalive", "check", "--offline", "--config", str(config)]
        ended = subprocess.run(command, stderr=stream, env=environ, check=False, timeout=30)

    assert ended.returncode == 78
    assert [line[:3] for line in written.read_text().splitlines()] == ["<3>"] * 3
