from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.cli.conftest import Keepalive
from tests.support.configured import TARGETS, Folder

TEXT = """
[credentials.prod]
api_token_file = "prod.token"
rate_group = "ours"
[credentials.legacy]
email = "canary@example.com"
api_key = "canary-key"
[heartbeat]
window = "30s"
""" + TARGETS.replace("[[targets]]", '[[targets]]\ncredential = "prod"')


@pytest.fixture
def configured(folder: Folder) -> Folder:
    folder.write("prod.token", "canary-token")
    folder.write("keepalive.toml", TEXT)
    return folder


def test_it_shows_every_value_and_its_source(keepalive: Keepalive, configured: Folder) -> None:
    ran = keepalive("config", "show")
    assert ran.code == 0
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert all(len(row) == 3 for row in rows)
    shown = {key: (value, source) for key, value, source in rows}
    assert shown["heartbeat.window"] == ("30s", "keepalive.toml:9")
    assert shown["heartbeat.interval"] == ("10s", "default")
    assert shown["log.level"] == ("info", "default")
    assert shown["credentials.prod.rate_group"] == ("ours", "keepalive.toml:4")
    assert shown["targets[0].scripts"] == ('["api", "web"]', "keepalive.toml:14")


def test_secrets_are_named_and_not_shown(keepalive: Keepalive, configured: Folder) -> None:
    for arguments in ([], ["--json"]):
        ran = keepalive("config", "show", *arguments)
        assert f"set, from file {configured.path}/prod.token" in ran.out
        assert "canary" not in ran.out + ran.err


def test_programs_get_one_object(keepalive: Keepalive, configured: Folder) -> None:
    report = json.loads(keepalive("config", "show", "--json").out)
    assert report["schema"] == 1
    assert report["file"] == str(configured.path / "keepalive.toml")
    assert {"key": "log.format", "value": "auto", "source": "default", "secret": False} in report["settings"]


def test_warnings_go_to_stderr(keepalive: Keepalive, configured: Folder) -> None:
    (configured.path / "keepalive.toml").chmod(0o644)
    ran = keepalive("config", "show")
    assert ran.err.startswith(
        "keepalive: warning: keepalive.toml:7: credentials.legacy.api_key: a literal secret"
    )


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_a_table(configured: Folder, no_color: str) -> None:
    text = on_a_terminal(configured, columns=200, NO_COLOR=no_color)
    assert "heartbeat.window" in text
    assert "\t" not in text
    assert "\x1b[3" not in text


@pytest.mark.parametrize("columns", [30, 50, 80, 120, 200])
def test_no_terminal_is_too_narrow_to_show_all(configured: Folder, columns: int) -> None:
    text = "".join(on_a_terminal(configured, columns=columns).split())
    for setting in configured.read(TEXT).explain():
        assert setting.key in text
    assert "…" not in text
    for source in ("keepalive.toml:14", "keepalive.toml:9", "default,from$HOME"):
        assert source in text


def on_a_terminal(configured: Folder, columns: int, **variables: str) -> str:
    """What `config show` prints where lines have so many columns."""
    parent, child = pty.openpty()
    environ = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns)} | variables
    with subprocess.Popen(
        [sys.executable, "-m", "keepalive", "config", "show"], stdout=child, env=environ, cwd=configured.path
    ) as process:
        os.close(child)
        output = b""
        while chunk := _read(parent):
            output += chunk
        assert process.wait() == 0
    os.close(parent)
    return output.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other end is closed
        return b""
