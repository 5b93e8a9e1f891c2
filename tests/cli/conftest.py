from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from keepalive.cli.commands import command_line
from tests.support.configured import Folder


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Keepalive = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The working directory, with an environment that holds nothing of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("KEEPALIVE_CONFIG", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("keepalive.config.file.SYSTEM_FILE", tmp_path / "etc" / "keepalive.toml")
    return Folder(tmp_path)


@pytest.fixture
def keepalive(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Keepalive:
    """Runs the command line in this process."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["keepalive", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            command_line()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        captured = capsys.readouterr()
        return Ran(code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def json_page() -> str:
    """What the documents say of JSON."""
    return (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
