from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import keepalive.emulator
from keepalive.cli.emulator import emulator
from keepalive.emulator import Emulator, World, run_alone
from keepalive.errors import ConfigError

APP = typer.Typer()
APP.command()(emulator)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command, and end it by SIGTERM once it has said where it listens."""

    def stopped_at_once(local: Emulator, announce: Callable[[], None]) -> None:
        def announced() -> None:
            announce()
            signal.raise_signal(signal.SIGTERM)

        run_alone(local, announced)

    monkeypatch.setattr(keepalive.emulator, "run_alone", stopped_at_once)
    return lambda *options: CliRunner().invoke(APP, options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_a_signal_and_returns(number: signal.Signals) -> None:
    local, listened = Emulator(World.simple()), []

    def announce() -> None:
        listened.append(local.base_url)
        signal.raise_signal(number)

    run_alone(local, announce)
    assert listened[0].startswith("http://127.0.0.1:")


def test_it_prints_the_environment_that_points_keepalive_at_it(command: Callable[..., Result]) -> None:
    result = command("--script", "api", "--script", "my app", "--token", "made-up")
    assert result.exit_code == 0
    comment, *lines = result.stdout.splitlines()
    url = lines[0].removeprefix("export CLOUDFLARE_BASE_URL=")
    assert url in comment
    assert lines[1:] == [
        "export CLOUDFLARE_API_TOKEN=made-up",
        "export CLOUDFLARE_ACCOUNT_ID=0123456789abcdef0123456789abcdef",
        "export KEEPALIVE_SCRIPTS='api,my app'",
    ]


def test_it_prints_one_object_for_programs(command: Callable[..., Result]) -> None:
    result = command("--json")
    printed = json.loads(result.stdout)
    assert (result.exit_code, printed["schema"]) == (0, 1)
    assert printed["environment"] == {
        "CLOUDFLARE_BASE_URL": printed["base_url"],
        "CLOUDFLARE_API_TOKEN": "emulated-token",
        "CLOUDFLARE_ACCOUNT_ID": "0123456789abcdef0123456789abcdef",
        "KEEPALIVE_SCRIPTS": "api,web",
    }


def test_a_broken_fault_script_is_refused_before_it_listens(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('[[faults]]\nkind = "rest"\n')
    result = command("--faults", str(script))
    assert isinstance(result.exception, ConfigError)
    assert result.stdout == ""


@pytest.mark.parametrize(
    "options",
    [
        ("--account", "ABC"),
        ("--script", "a/b"),
        ("--script", "a,b"),
        ("--script", ""),
        ("--script", "a\nb"),
        ("--token", "two words"),
        ("--window", "soon"),
        ("--time-factor", "0"),
        ("--port", "70000"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(
    command: Callable[..., Result], options: tuple[str, str]
) -> None:
    result = command(*options)
    assert result.exit_code == 2
    assert options[0] in result.output
