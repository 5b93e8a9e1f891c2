from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import pytest

from keepalive.cli import status
from tests.cli.conftest import Keepalive, Ran
from tests.support.answering import Answer, Script, answering, overview, rate_group, target
from tests.support.configured import Folder

ASK = ("status", "--socket", "k.sock")
LAPSED = target("web", "lapsed", eligible_for_seconds=0)


def held(*targets: dict[str, Any], **changes: Any) -> Script:
    script = Script()
    script.holds(*targets, groups=(rate_group(),), **changes)
    return script


def ran_with(keepalive: Keepalive, folder: Folder, script: Script, *arguments: str) -> Ran:
    with answering(folder.path / "k.sock", script):
        return keepalive(*ASK, *arguments)


def test_all_eligible_is_0_and_at_risk_still_is(keepalive: Keepalive, folder: Folder) -> None:
    ran = ran_with(keepalive, folder, held(target(), target("web", "at_risk")))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("1 eligible, 1 at risk · budget 71 % used · up 3h12m\n")


@pytest.mark.parametrize("state", ["pending", "lapsed", "denied", "refused"])
def test_not_all_eligible_is_1(keepalive: Keepalive, folder: Folder, state: str) -> None:
    assert ran_with(keepalive, folder, held(target(), target("web", state))).code == 1


def test_those_that_are_not_eligible_come_first(keepalive: Keepalive, folder: Folder) -> None:
    states = ("eligible", "pending", "at_risk", "denied", "refused", "lapsed")
    ran = ran_with(keepalive, folder, held(*[target(f"s{n}", state) for n, state in enumerate(states)]))
    rows = re.findall(r"^(\w+(?: risk)?) +s\d", ran.out, re.MULTILINE)
    assert rows == ["lapsed", "denied", "refused", "at risk", "pending", "eligible"]


def test_a_pipe_gets_all_of_them_page_by_page(keepalive: Keepalive, folder: Folder) -> None:
    script = held(*[target(f"s{number}") for number in range(2500)])
    ran = ran_with(keepalive, folder, script)
    assert ran.out.count("eligible  s") == 2500
    assert len([asked for asked in script.asked if asked.path == "/v1/targets"]) == 3


def test_a_target_that_changes_meanwhile_is_listed_once(keepalive: Keepalive, folder: Folder) -> None:
    script = held(target(), LAPSED)
    page = {"schema": 1, "targets": [LAPSED], "next": None}
    script.answers["GET", "/v1/targets"] = Answer(200, page)
    assert ran_with(keepalive, folder, script).out.count("web") == 1


def test_no_daemon_is_3(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive(*ASK)
    assert (ran.code, ran.out) == (3, "")
    hint = "start it with `keepalive run`, or name its socket with --socket"
    assert ran.err == f"keepalive: no daemon answers at {folder.path}/k.sock (there is none); {hint}\n"


def test_a_configuration_that_is_not_there_is_78(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive("status", "-c", "none.toml")
    assert (ran.code, ran.out) == (78, "")
    assert "there is no file 'none.toml'" in ran.err


@pytest.mark.parametrize(
    "body",
    [
        overview(schema=2),
        overview(targets={}),
        overview(uptime_seconds="1"),
        {},
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
    ],
)
def test_what_is_no_daemon_of_this_version_is_3(keepalive: Keepalive, folder: Folder, body: Any) -> None:
    ran = ran_with(keepalive, folder, Script({("GET", "/v1/status"): Answer(200, body)}))
    assert (ran.code, ran.out) == (3, "")
    assert "answered what this version does not understand (" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_daemon_that_will_not_answer_is_1(keepalive: Keepalive, folder: Folder) -> None:
    ran = ran_with(keepalive, folder, Script())
    assert ran == (1, "", "keepalive: no such page\n")


class TestJson:
    def test_programs_get_one_object_with_everything(self, keepalive: Keepalive, folder: Folder) -> None:
        everybody = [target(f"s{number}") for number in range(1200)]
        ran = ran_with(keepalive, folder, held(*everybody, LAPSED), "--json")
        report = json.loads(ran.out)
        assert ran.code == 1
        assert report["schema"] == 1
        assert report["socket"] == f"{folder.path}/k.sock"
        assert report["targets"]["lapsed"] == 1
        assert report["target_list"] == [*everybody, LAPSED]
        assert report["rate_group_list"] == [rate_group()]

    def test_what_a_newer_daemon_says_beyond_is_passed_on(self, keepalive: Keepalive, folder: Folder) -> None:
        script = held(target(new_key={"a": 1}), newer="yes")
        report = json.loads(ran_with(keepalive, folder, script, "--json").out)
        assert (report["newer"], report["target_list"][0]["new_key"]) == ("yes", {"a": 1})

    def test_every_key_is_documented(self, keepalive: Keepalive, folder: Folder, json_page: str) -> None:
        breaker: dict[str, Any] = {
            "scope": "origin",
            "key": {},
            "cause": "x",
            "detail": None,
            "hint": None,
            "since": "?",
        }
        script = Script()
        script.holds(target(), groups=(rate_group(breakers=[breaker]),))
        report = json.loads(ran_with(keepalive, folder, script, "--json").out)
        [one], [group] = report["target_list"], report["rate_group_list"]
        explained = json_page.partition("## A target")[2].partition("\n## ")[0]
        explained += json_page.partition("## keepalive status --json")[2].partition("\n## ")[0]
        keys = {*report, *report["targets"], *one, *group, *group["breakers"][0]}
        assert {key for key in keys if f"`{key}`" not in explained} == set()


class TestWait:
    def test_it_waits_for_a_daemon_that_starts_and_for_its_targets(
        self, keepalive: Keepalive, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(status, "BETWEEN_TRIES", 0.01)
        script = held(target("web", "pending"))
        stop = threading.Event()

        def start() -> None:
            with answering(folder.path / "k.sock", script):
                while len(script.asked) < 3:
                    stop.wait(0.005)
                script.holds(target("web"))
                stop.wait(20)

        thread = threading.Timer(0.03, start)
        thread.start()
        try:
            ran = keepalive(*ASK, "--wait", "20s")
        finally:
            stop.set()
            thread.join()
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("1 eligible")

    def test_when_the_time_is_up_it_says_how_they_stand(
        self, keepalive: Keepalive, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(status, "BETWEEN_TRIES", 4.0)  # so long does one look take at most
        before = time.monotonic()
        ran = ran_with(keepalive, folder, held(target(), LAPSED), "--wait", "50ms", "--json")
        assert time.monotonic() - before < 5
        assert (ran.code, json.loads(ran.out)["targets"]["lapsed"]) == (1, 1)

    def test_when_there_is_no_daemon_even_then_it_is_3(self, keepalive: Keepalive, folder: Folder) -> None:
        ran = keepalive(*ASK, "--wait", "50ms")
        assert (ran.code, ran.out) == (3, "")
        assert "(there is none)" in ran.err

    @pytest.mark.parametrize("text", ["soon", "-1s", "0", "25h"])
    def test_what_is_no_time_is_a_slip(self, keepalive: Keepalive, text: str) -> None:
        ran = keepalive(*ASK, f"--wait={text}")
        assert ran.code == 2
        assert repr(text) in ran.err

    def test_it_cannot_watch_meanwhile(self, keepalive: Keepalive) -> None:
        ran = keepalive(*ASK, "--wait", "1s", "--watch")
        assert ran == (2, "", "keepalive: --watch and --wait exclude each other; leave one out\n")
