from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from keepalive.cli.rivals import Rivals
from keepalive.config.access import Access
from tests.support.answering import Answer, Script, answering, rate_group, target

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
OTHER_ACCOUNT_ID = "fedcba9876543210fedcba9876543210"
OURS = "/etc/keepalive/keepalive.toml"


def look(folder: Path, script: Script, *, configuration: str | None = OURS, group: str = "default") -> str:
    rivals = Rivals(
        Access((folder / "k.sock",)), Path(configuration) if configuration else None, group, ACCOUNT_ID
    )
    with answering(folder / "k.sock", script):
        return asyncio.run(rivals.look())


def holding(*targets: dict[str, Any], group: str = "default", config: str = OURS) -> Script:
    script = Script()
    script.holds(*targets, groups=(rate_group(rate_group=group, targets=len(targets)),), config=config)
    return script


def test_a_daemon_of_the_same_configuration_is_one_whatever_it_holds_in_the_group(tmp_path: Path) -> None:
    script = holding(target("web", account_id=OTHER_ACCOUNT_ID), target("api"))
    said = look(tmp_path, script)
    assert said == (
        f"the daemon at {tmp_path}/k.sock sends heartbeats for 2 targets of the rate group 'default'"
    )


def test_both_may_be_configured_by_the_environment(tmp_path: Path) -> None:
    script = holding(target("api", account_id=OTHER_ACCOUNT_ID), config="environment")
    assert "for 1 target of" in look(tmp_path, script, configuration=None)


def test_another_rate_group_is_another_user(tmp_path: Path) -> None:
    assert look(tmp_path, holding(target("api"), group="ops_user")) == ""


def test_a_daemon_that_holds_nothing_is_none(tmp_path: Path) -> None:
    assert look(tmp_path, holding()) == ""


@pytest.mark.parametrize(
    ("account_id", "group", "rival"),
    [(ACCOUNT_ID, "default", True), (OTHER_ACCOUNT_ID, "default", False), (ACCOUNT_ID, "ops", False)],
)
def test_under_another_configuration_it_takes_a_target_of_the_account(
    tmp_path: Path, account_id: str, group: str, *, rival: bool
) -> None:
    script = holding(target("web", account_id=account_id, rate_group=group), config="/home/me/keepalive.toml")
    assert bool(look(tmp_path, script)) is rival


def test_no_daemon_is_none(tmp_path: Path) -> None:
    rivals = Rivals(Access((tmp_path / "k.sock",)), None, "default", ACCOUNT_ID)
    assert asyncio.run(rivals.look()) == ""


def test_one_that_will_not_answer_is_none(tmp_path: Path) -> None:
    refusing = Script({("GET", "/v1/status"): Answer(503, {"schema": 1, "error": "no", "hint": ""})})
    assert look(tmp_path, refusing) == ""
