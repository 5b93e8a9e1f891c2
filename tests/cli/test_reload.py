from __future__ import annotations

import json
from typing import Any

from keepalive.control.answers import Reloaded
from tests.cli.conftest import Keepalive
from tests.support.answering import Answer, Script, answering
from tests.support.configured import Folder

REFUSED = {"schema": 1, "reloaded": False, "faults": ["k.toml:3: log.levl: unknown key", "k.toml:9: x"]}


def reloaded(**changes: Any) -> dict[str, Any]:
    said = {"schema": 1, "reloaded": True, "targets": 42, "added": 2, "removed": 1}
    return {**said, "credentials": [], "restart_needed": [], **changes}


def reload(keepalive: Keepalive, folder: Folder, answer: Answer, *arguments: str) -> tuple[int, str, str]:
    script = Script({("POST", "/v1/reload"): answer})
    with answering(folder.path / "k.sock", script):
        ran = keepalive("reload", "--socket", "k.sock", *arguments)
    assert [(asked.method, asked.path, asked.body) for asked in script.asked] == [("POST", "/v1/reload", b"")]
    return ran


def test_it_says_what_changed(keepalive: Keepalive, folder: Folder) -> None:
    said = "reloaded: 42 targets, 2 added, 1 removed"
    assert reload(keepalive, folder, Answer(200, reloaded())) == (0, f"{said}\n", "")
    answer = Answer(200, reloaded(credentials=["prod", "ops"], restart_needed=["log.level"]))
    ran = reload(keepalive, folder, answer)
    assert ran == (0, f"{said}; new secret for prod, ops; log.level counts after a restart\n", "")
    both = Answer(200, reloaded(restart_needed=["log.level", "state.path"]))
    assert reload(keepalive, folder, both)[1].endswith("; log.level, state.path count after a restart\n")


def test_one_target_is_no_crowd(keepalive: Keepalive, folder: Folder) -> None:
    assert reload(keepalive, folder, Answer(200, reloaded(targets=1)))[1].startswith("reloaded: 1 target, ")


def test_a_refused_one_says_every_fault(keepalive: Keepalive, folder: Folder) -> None:
    code, out, err = reload(keepalive, folder, Answer(422, REFUSED))
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "keepalive: k.toml:3: log.levl: unknown key",
        "keepalive: k.toml:9: x",
        "keepalive: nothing was reloaded; the old configuration stays in force",
    ]


def test_programs_get_one_object(keepalive: Keepalive, folder: Folder) -> None:
    code, out, err = reload(keepalive, folder, Answer(422, REFUSED), "--json")
    assert (code, err) == (1, "")
    report = json.loads(out)
    assert {key: report[key] for key in REFUSED} == REFUSED
    code, out, _ = reload(keepalive, folder, Answer(200, reloaded(new_key=3)), "--json")
    assert (code, json.loads(out)) == (0, reloaded(new_key=3, faults=[]))


def test_a_daemon_that_will_not_says_so_in_its_own_words(keepalive: Keepalive, folder: Folder) -> None:
    answer = Answer(503, {"schema": 1, "error": "the daemon drains", "hint": "wait"})
    assert reload(keepalive, folder, answer) == (1, "", "keepalive: the daemon drains; wait\n")


def test_what_is_no_daemon_of_ours_is_told(keepalive: Keepalive, folder: Folder) -> None:
    for body in (reloaded(schema=2), reloaded(targets="42"), b"HTTP/1.0 200 OK\r\n\r\nhello"):
        code, out, err = reload(keepalive, folder, Answer(200, body))
        assert (code, out) == (3, "")
        assert "k.sock answered what this version does not understand (" in err


def test_no_daemon_is_3(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive("reload", "--socket", "k.sock")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(f"keepalive: no daemon answers at {folder.path}/k.sock (there is none); ")


def test_every_key_is_documented(json_page: str) -> None:
    section = json_page.partition("## keepalive reload --json")[2].partition("\n## ")[0]
    assert [
        key for key in Reloaded.model_fields if key != "version_of_schema" and f"`{key}`" not in section
    ] == []
