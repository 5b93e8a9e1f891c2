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


def test_targets_that_never_become_eligible_make_the_exit_code_1(
    keepalive: Keepalive, folder: Folder
) -> None:
    folder.write("two.toml", '[[spells]]\nkind = "broken"\ntargets = 2\n')
    ran = keepalive("simulate", "two.toml", "--targets", "7", "--hours", "0.05")
    assert ran.code == 1
    assert "never eligible  2 targets" in ran.out
    assert "lapses        none" in ran.out

    ran = keepalive("simulate", "two.toml", "--targets", "7", "--hours", "0.05", "--json")
    (run,) = json.loads(ran.out)["runs"]
    assert (ran.code, run["well"], run["never_accepted"], run["faults"]) == (1, False, 2, 1)


@pytest.mark.parametrize(
    ("what", "hours", "said"),
    [
        ("late.toml", "0.05", "none played: the first begins at 10h, after the end"),
        ("some.toml", "0.05", "2 played, 1 not: the first of those begins at 10h, after the end"),
        ("healthy", "0.05", "none"),
        ("flaky", "0.05", "1 played"),
        ("outage", "0.01", "none played: the first begins at 2m7s, after the end"),
        ("outage", "0.04", "none played: the first begins at 2m7s, too close to the end"),
        ("suspend", "0.01", "none played: the first begins at 1m27s, after the end"),
    ],
)
def test_it_says_how_many_faults_were_played(
    keepalive: Keepalive, folder: Folder, what: str, hours: str, said: str
) -> None:
    late = '[[spells]]\nkind = "outage"\nstart = "10h"\n'
    folder.write("late.toml", late)
    brief = '[[spells]]\nkind = "outage"\nstart = "{}s"\nlength = "3s"\n'
    folder.write("some.toml", brief.format(60) + late + brief.format(90))
    ran = keepalive("simulate", what, "--hours", hours)
    assert ran.code == 0
    assert f"  faults        {said}\n" in ran.out

    (run,) = json.loads(keepalive("simulate", what, "--hours", hours, "--json").out)["runs"]
    assert run["faults"] == (int(said[0]) if said[0].isdigit() else 0)


def test_a_fault_for_rate_groups_that_are_not_played_is_a_usage_error(
    keepalive: Keepalive, folder: Folder
) -> None:
    folder.write("one.toml", '[[spells]]\nkind = "slow"\nseconds = "4s"\ngroups = ["group1"]\n')
    ran = keepalive("simulate", "one.toml", "--groups", "1", "--hours", "0.05")
    assert (ran.code, ran.out) == (2, "")
    assert (
        "scenario one.toml: the slow at 0 s touches nobody: no rate group is called 'group1';"
        " there are 'group0'\n" in ran.err
    )

    folder.write("many.toml", '[[spells]]\nkind = "outage"\ngroups = ["other"]\n')
    ran = keepalive("simulate", "many.toml", "--groups", "12", "--targets", "1")
    assert ran.code == 2
    assert "'group8', 'group9', … and 2 more\n" in ran.err

    assert keepalive("simulate", "one.toml", "--groups", "2", "--targets", "3", "--hours", "0.05").code == 0


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
        (("--period", "1ms"), "is too short for a quota; write at least 1s"),
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
