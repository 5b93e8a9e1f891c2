"""The units: what they start has to exist, and what they promise has to fit what the daemon does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from keepalive.cli.commands import COMMANDS, app
from keepalive.config import load
from keepalive.core.plan import Policy
from keepalive.engine.scheduler import DRAIN_SECONDS
from keepalive.errors import ConfigError

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
ONE, MANY, USER = (
    UNITS / "keepalive.service",
    UNITS / "keepalive@.service",
    UNITS / "user" / "keepalive.service",
)
BACKOFF = UNITS / "backoff.conf"
PAGE = (ROOT / "docs" / "operations" / "systemd.md").read_text(encoding="utf-8")

Unit = Mapping[str, tuple[str, ...]]

OF_AN_INSTANCE = {
    "Description",
    "ExecStart",
    "ExecReload",
    "LoadCredential",
    "LoadCredentialEncrypted",
    "User",
    "StateDirectory",
    "RuntimeDirectory",
}
"""Where instances may differ from the one daemon."""


def read(file: Path) -> Unit:
    """The settings of a unit, whatever their section; a key that is repeated has several values."""
    found: dict[str, tuple[str, ...]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found[key] = (*found.get(key, ()), value)
    return found


def seconds(unit: Unit, key: str) -> float:
    [text] = unit[key]
    assert text.endswith("s")
    return float(text.removesuffix("s"))


def named(file: Path) -> str:
    return str(file.relative_to(UNITS))


units = pytest.mark.parametrize("file", [ONE, MANY, USER], ids=named)


@units
@pytest.mark.parametrize("key", ["ExecStart", "ExecReload"])
def test_what_is_started_is_a_command_with_these_options(file: Path, key: str) -> None:
    [line] = read(file)[key]
    program, command, *rest = line.split()
    ran = CliRunner().invoke(app, [command, "--help"])

    assert program in {"/usr/local/bin/keepalive", "%h/.local/bin/keepalive"}
    assert command in COMMANDS
    assert {word for word in rest if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", ran.output))


@units
def test_start_and_reload_read_the_same_file(file: Path) -> None:
    unit = read(file)

    assert unit["ExecStart"][0].split()[2:] == unit["ExecReload"][0].split()[2:]


@units
def test_a_configuration_fault_is_the_one_end_that_is_final(file: Path) -> None:
    unit = read(file)

    assert unit["RestartPreventExitStatus"] == (str(ConfigError.exit_code),)
    assert unit["Restart"] == ("always",)
    assert unit["StartLimitIntervalSec"] == ("0",)


@units
def test_a_stop_has_time_for_a_drain(file: Path) -> None:
    assert seconds(read(file), "TimeoutStopSec") > DRAIN_SECONDS + 1


@units
def test_a_daemon_that_hangs_is_replaced_before_a_lease_ends_even_after_many_restarts(file: Path) -> None:
    unit, policy = read(file), Policy()
    longest_wait = max(seconds(unit, "RestartSec"), seconds(read(BACKOFF), "RestartMaxDelaySec"))

    gone = seconds(unit, "WatchdogSec") + seconds(unit, "TimeoutAbortSec") + longest_wait

    assert gone < policy.window - policy.longest_interval


@units
def test_no_core_dump_holds_a_token(file: Path) -> None:
    assert read(file)["LimitCORE"] == ("0",)


def test_the_directories_of_the_unit_are_where_the_daemon_looks(tmp_path: Path) -> None:
    unit = read(ONE)
    [credential], [state], [runtime] = (
        unit["LoadCredential"],
        unit["StateDirectory"],
        unit["RuntimeDirectory"],
    )
    [example] = re.findall(r"^ *```toml\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "keepalive.toml").write_text(dedent(example), encoding="utf-8")
    (tmp_path / credential).write_text("made-up-token\n", encoding="utf-8")
    given_by_systemd = {
        "STATE_DIRECTORY": f"/var/lib/{state}",
        "RUNTIME_DIRECTORY": f"/run/{runtime}",
        "CREDENTIALS_DIRECTORY": str(tmp_path),
    }

    configuration = load(tmp_path / "keepalive.toml", {}, given_by_systemd, tmp_path)

    assert configuration.warnings == ()
    assert configuration.settings.state.path == "/var/lib/keepalive/state.db"
    assert configuration.settings.control.socket == "/run/keepalive/keepalive.sock"
    assert list(configuration.credentials) == ["prod"]


def test_the_port_that_may_be_opened_is_the_one_of_the_page() -> None:
    assert read(ONE)["SocketBindAllow"] == ("tcp:9786",)
    assert "9786" in PAGE


def test_an_instance_is_sealed_like_the_one_daemon_and_shares_nothing_with_it() -> None:
    one, many = read(ONE), read(MANY)

    assert {key: many[key] for key in many.keys() - OF_AN_INSTANCE} == {
        key: one[key] for key in one.keys() - OF_AN_INSTANCE
    }
    assert all("%i" in value for key in OF_AN_INSTANCE for value in many[key])


def test_the_unit_of_a_user_promises_nothing_that_the_one_daemon_does_not() -> None:
    one, user = read(ONE), read(USER)
    of_a_user = {"ExecStart", "ExecReload", "WantedBy"}

    assert {key: user[key] for key in user.keys() - of_a_user} == {
        key: one[key] for key in user.keys() - of_a_user
    }


def test_every_unit_and_drop_in_stands_in_the_page() -> None:
    files = {named(file) for file in UNITS.rglob("*") if file.is_file()}

    assert {file for file in files if f"deploy/systemd/{file}" not in PAGE} == set()


def test_every_credential_of_the_unit_stands_in_the_page() -> None:
    unit = read(ONE)

    assert all(f"/etc/credstore/{name}" in PAGE for name in unit["LoadCredential"])
    assert all(f"/etc/credstore.encrypted/{name}" in PAGE for name in unit["LoadCredentialEncrypted"])
