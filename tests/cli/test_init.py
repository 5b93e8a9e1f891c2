from __future__ import annotations

from pathlib import Path

import pytest

from keepalive.cli.init import write_new
from keepalive.errors import KeepaliveError
from tests.cli.conftest import Keepalive
from tests.support.configured import ACCOUNT_ID, Folder

WRANGLER = f'name = "api"\naccount_id = "{ACCOUNT_ID}"\n[env.staging]\n'


def test_what_it_writes_can_be_checked_as_soon_as_there_is_a_token(
    keepalive: Keepalive, folder: Folder
) -> None:
    folder.write("wrangler.toml", WRANGLER)
    ran = keepalive("init")
    assert ran.code == 0
    assert "from wrangler.toml: api, api-staging" in ran.out
    folder.write("keepalive.token", "token")
    checked = keepalive("check", "--offline")
    assert checked.code == 0
    assert f"{ACCOUNT_ID}/api-staging" in checked.out
    assert checked.err == ""


def test_the_link_is_for_the_account_of_the_project(keepalive: Keepalive, folder: Folder) -> None:
    folder.write("wrangler.toml", WRANGLER)
    out = keepalive("init").out
    assert "https://dash.cloudflare.com/profile/api-tokens?permissionGroupKeys=%5B%7B%22key" in out
    assert f"accountId={ACCOUNT_ID}&" in out
    assert "if the form opens without it, pick it there" in " ".join(out.split())


def test_without_a_project_it_asks_for_the_account(keepalive: Keepalive, folder: Folder) -> None:
    assert "Put your account id into it" in keepalive("init").out
    folder.write("keepalive.token", "token")
    checked = keepalive("check", "--offline")
    assert checked.code == 0
    assert "zeros stand for your account" in checked.err


def test_the_account_of_the_environment_is_taken(
    keepalive: Keepalive, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT_ID)
    keepalive("init")
    assert f'account_id = "{ACCOUNT_ID}"\naccount_wide = true' in (folder.path / "keepalive.toml").read_text()


def test_an_account_that_cannot_be_one_is_refused(
    keepalive: Keepalive, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "12")
    assert keepalive("init").code == 78
    assert not (folder.path / "keepalive.toml").exists()


def test_it_never_overwrites_unless_forced(keepalive: Keepalive, folder: Folder) -> None:
    file = folder.write("keepalive.toml", "mine")
    assert keepalive("init") == (1, "", "keepalive: keepalive.toml exists already; --force overwrites it\n")
    assert file.read_text() == "mine"
    assert keepalive("init", "--force").code == 0
    assert "[heartbeat]" in file.read_text()


def test_only_the_owner_can_read_it_and_nothing_else_is_left(keepalive: Keepalive, folder: Folder) -> None:
    keepalive("init", "-c", "own.toml")
    keepalive("init", "-c", "own.toml")
    (file,) = folder.path.iterdir()
    assert file.name == "own.toml"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_place_that_is_not_there_is_told(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive("init", "--config", "none/k.toml")
    assert ran.code == 1
    assert ran.err.startswith("keepalive: none/k.toml: cannot be written (No such file or directory); ")


def test_a_file_that_cannot_be_finished_leaves_the_old_one(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder.write("k.toml", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(KeepaliveError, match="No space left on device"):
        write_new(file, "new", overwrite=True)
    assert [path.name for path in folder.path.iterdir()] == ["k.toml"]
    assert Path(file).read_text() == "old"
