from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Keepalive
from tests.support.configured import PROD, TARGETS, Folder


def test_it_says_how_many_one_user_can_hold(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive("simulate", "--targets", "400", "--hours", "0.05")
    assert ran.code == 1
    assert "held          63 targets, every 22.5s, stretched from 15s to fit the quota" in ran.out
    assert "refused       337 targets: the quota cannot hold them" in ran.out
    assert "lapses        none" in ran.out
    assert "the share is 1,080 of 1,200" in ran.out


def test_a_fleet_that_can_live_exits_0_with_a_histogram_of_what_was_left(
    keepalive: Keepalive, folder: Folder
) -> None:
    ran = keepalive("simulate", "healthy", "--targets", "40", "--hours", "0.05")
    assert (ran.code, ran.err) == (0, "")
    assert "eligible      100.000000% of the time" in ran.out
    assert "left of the window at renewal" in ran.out
    assert "█" in ran.out


def test_a_lapse_is_told_with_its_cause_and_makes_the_exit_code_1(
    keepalive: Keepalive, folder: Folder
) -> None:
    folder.write("dark.toml", '[[spells]]\nkind = "outage"\nstart = "20s"\n')
    ran = keepalive("simulate", "dark.toml", "--targets", "7", "--hours", "0.05")
    assert ran.code == 1
    assert "lapses        7 (7 by outage.black_hole), the longest" in ran.out
    assert "last attempts: timeout" in ran.out
    assert "… and 2 more" in ran.out


def test_for_programs_it_is_one_object_with_every_run(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive("simulate", "outage", "--targets", "5", "--hours", "0.1", "--seeds", "2", "--json")
    report = json.loads(ran.out)
    assert report["schema"] == 1
    assert [run["seed"] for run in report["runs"]] == [0, 1]
    for run in report["runs"]:
        assert run["well"] is True
        assert run["duration_seconds"] == 360
        assert run["rate_groups"][0]["held"] == 5
        assert run["rate_groups"][0]["worst_period"] <= run["rate_groups"][0]["allowed"] == 1080
        assert run["lapses"] == []
        assert sum(run["remaining_seconds"]) > 50
    assert report["runs"][0]["remaining_seconds"] != report["runs"][1]["remaining_seconds"]


def test_the_same_seed_gives_the_same_run(keepalive: Keepalive, folder: Folder) -> None:
    def played() -> object:
        run = json.loads(keepalive("simulate", "--targets", "9", "--hours", "0.05", "--json").out)["runs"][0]
        return {key: value for key, value in run.items() if key != "took_seconds"}

    assert played() == played()


def test_it_plays_the_targets_of_a_configuration(keepalive: Keepalive, folder: Folder) -> None:
    folder.write("k.toml", PROD + TARGETS + '[heartbeat]\nwindow = "30s"\n')
    ran = keepalive("simulate", "healthy", "-c", "k.toml", "--hours", "0.05")
    assert ran.code == 0
    assert "held          2 targets, every 10s" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("outge",), "no preset 'outge'; did you mean `outage`?"),
        (("nonsense",), "there are healthy, outage-26-refused"),
        (("--interval", "30s"), "--interval is over half the window; write at most 22.5s"),
        (("--window", "soon"), "is not a length of time"),
    ],
)
def test_what_cannot_be_played_is_a_usage_error(
    keepalive: Keepalive, folder: Folder, arguments: tuple[str, ...], said: str
) -> None:
    ran = keepalive("simulate", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_ctrl_c_ends_it_quietly(
    keepalive: Keepalive, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keepalive.cli.simulate.Simulation.play", interrupted)
    ran = keepalive("simulate")
    assert (ran.code, ran.out, ran.err) == (130, "", "")
