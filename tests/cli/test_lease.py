from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Event
from typing import Any

import pytest

from benchmarks.daemon import surroundings
from tests.cli.conftest import Keepalive
from tests.support.answering import Answer, Asked, Script, answering
from tests.support.configured import ACCOUNT_ID, Folder

CROWDED = Answer(
    409, {"schema": 1, "error": "the quota of rate group default holds 3 targets", "hint": "release another"}
)
STOPPING = Answer(503, {"schema": 1, "error": "keepalive is stopping", "hint": "ask the next one"})
NONE = Answer(404, {"schema": 1, "error": "there is no such lease", "hint": "ask for it anew"})


def target(script: str, state: str = "eligible") -> dict[str, Any]:
    return {
        "target": f"{ACCOUNT_ID}/{script}",
        "account_id": ACCOUNT_ID,
        "script_id": script,
        "credential": "prod",
        "state": state,
        "eligible_for_seconds": 40.0,
        "next_beat_in_seconds": 10.0,
        "failures": 0,
        "fault": None,
    }


def leased(name: str = "trial", *targets: dict[str, Any]) -> dict[str, Any]:
    held = list(targets or (target("api"),))
    return {"lease": name, "targets": held, "ends_at": "2026-01-31T12:10:00.000Z", "ends_in_seconds": 599.7}


def granted(asked: Asked) -> Answer:
    return Answer(201, {"schema": 1, **leased(asked.path.rpartition("/")[2])})


def test_a_lease_is_asked_for_as_it_is_written(keepalive: Keepalive, folder: Folder) -> None:
    script = Script({("PUT", "/v1/leases/trial"): granted})
    with answering(folder.path / "k.sock", script):
        ran = keepalive("lease", "add", "api", f"{ACCOUNT_ID}/", "--name", "trial", "--socket", "k.sock")
    assert ran == (0, f"trial  1 target, for 10m\n  eligible  {ACCOUNT_ID}/api (prod)\n", "")
    [asked] = script.asked
    assert json.loads(asked.body) == {"targets": ["api", f"{ACCOUNT_ID}/"], "ttl_seconds": 600.0}


def test_its_time_and_its_credential_can_be_said(keepalive: Keepalive, folder: Folder) -> None:
    script = Script({("PUT", "/v1/leases/trial"): granted})
    with answering(folder.path / "k.sock", script):
        options = ("--name", "trial", "--ttl", "1h30m", "--credential", "prod", "--json")
        ran = keepalive("lease", "add", "api", *options, "--socket", "k.sock")
    assert (ran.code, json.loads(ran.out)) == (0, {"schema": 1, **leased()})
    [asked] = script.asked
    assert json.loads(asked.body) == {"targets": ["api"], "ttl_seconds": 5400.0, "credential": "prod"}


def test_a_name_is_made_up_where_none_is_given(
    keepalive: Keepalive, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda size: "ab" * size)
    with answering(folder.path / "k.sock", Script({("PUT", "/v1/leases/lease-abababab"): granted})):
        ran = keepalive("lease", "add", "api", "--socket", "k.sock")
    assert ran.out.startswith("lease-abababab  ")


def test_a_refusal_is_told_in_the_daemons_words(keepalive: Keepalive, folder: Folder) -> None:
    with answering(folder.path / "k.sock", Script({("PUT", "/v1/leases/trial"): CROWDED})):
        ran = keepalive("lease", "add", "api", "--name", "trial", "--socket", "k.sock")
    said = "keepalive: the quota of rate group default holds 3 targets; release another\n"
    assert ran == (1, "", said)


@pytest.mark.parametrize("arguments", ["add api", "list", "release trial", "add api --hold"])
def test_without_a_daemon_it_exits_3(keepalive: Keepalive, folder: Folder, arguments: str) -> None:
    ran = keepalive("lease", *arguments.split(), "--socket", "gone.sock")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("keepalive: no daemon answers at ")


def test_all_are_listed(keepalive: Keepalive, folder: Folder) -> None:
    pages = {
        "": {"schema": 1, "leases": [leased("one")], "next": "one"},
        "one": {
            "schema": 1,
            "leases": [leased("two", target("a"), target("b\x1b[2J", "denied"))],
            "next": None,
        },
    }
    script = Script(
        {("GET", "/v1/leases"): lambda asked: Answer(200, pages[asked.query.get("after", [""])[0]])}
    )
    with answering(folder.path / "k.sock", script):
        ran = keepalive("lease", "list", "--socket", "k.sock")
        report = json.loads(keepalive("lease", "list", "--socket", "k.sock", "--json").out)
    assert ran.out.splitlines() == [
        "one  1 target, for 10m",
        f"  eligible  {ACCOUNT_ID}/api (prod)",
        "two  2 targets, for 10m",
        f"  eligible  {ACCOUNT_ID}/a (prod)",
        f"  denied    {ACCOUNT_ID}/b\\x1b[2J (prod)",
    ]
    assert report["schema"] == 1
    assert [lease["lease"] for lease in report["leases"]] == ["one", "two"]


def test_that_there_are_none_is_said(keepalive: Keepalive, folder: Folder) -> None:
    page = Answer(200, {"schema": 1, "leases": [], "next": None})
    with answering(folder.path / "k.sock", Script({("GET", "/v1/leases"): page})):
        assert keepalive("lease", "list", "--socket", "k.sock") == (0, "no leases\n", "")


def test_several_are_released_whatever_becomes_of_one(keepalive: Keepalive, folder: Folder) -> None:
    script = Script(
        {
            ("DELETE", "/v1/leases/a%2Fb"): NONE,
            ("DELETE", "/v1/leases/trial"): Answer(204, b"HTTP/1.1 204 No Content\r\n\r\n"),
        }
    )
    with answering(folder.path / "k.sock", script):
        ran = keepalive("lease", "release", "a/b", "trial", "--socket", "k.sock")
        assert keepalive("lease", "release", "trial", "--socket", "k.sock") == (0, "", "")
    assert ran == (1, "", "keepalive: a/b: there is no such lease; ask for it anew\n")
    assert [asked.path for asked in script.asked] == ["/v1/leases/a%2Fb", *["/v1/leases/trial"] * 2]


def test_hold_and_ttl_exclude_each_other(keepalive: Keepalive, folder: Folder) -> None:
    ran = keepalive("lease", "add", "api", "--hold", "--ttl", "5m", "--socket", "k.sock")
    assert (ran.code, ran.err) == (2, "keepalive: --ttl and --hold exclude each other; leave one out\n")


HOLD = """
from keepalive.cli import lease, main
lease.RENEW_SECONDS, lease.AGAIN_SECONDS = 0.05, 0.02
main()
"""
"""The command with renewals that follow at once."""


def holding(folder: Path) -> Popen[bytes]:
    arguments = ("lease", "add", "api", "--hold", "--name", "trial", "--socket", "k.sock")
    return Popen(
        [sys.executable, "-c", HOLD, *arguments],
        cwd=folder,
        env=surroundings(folder),
        stdout=PIPE,
        stderr=PIPE,
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_held_lease_is_renewed_and_released_at_the_end(tmp_path: Path, signum: signal.Signals) -> None:
    answers: list[Answer | None] = [None, None, STOPPING, STOPPING]

    def answer(asked: Asked) -> Answer:
        if len(script.asked) == 8:
            os.kill(process.pid, signum)
        return (answers.pop(0) if answers else None) or granted(asked)

    script = Script(
        {
            ("PUT", "/v1/leases/trial"): answer,
            ("DELETE", "/v1/leases/trial"): Answer(204, b"HTTP/1.1 204 No Content\r\n\r\n"),
        }
    )
    with answering(tmp_path / "k.sock", script):
        process = holding(tmp_path)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out.decode() == f"trial  1 target, for 10m\n  eligible  {ACCOUNT_ID}/api (prod)\n"
    assert err.decode().splitlines() == [
        "keepalive: keepalive is stopping; ask the next one; trying on",
        "keepalive: the daemon holds the lease again",
    ]
    assert [asked.method for asked in script.asked][-1] == "DELETE"
    assert {json.loads(asked.body)["ttl_seconds"] for asked in script.asked if asked.body} == {60.0}


def test_a_lease_that_is_granted_while_a_signal_comes_is_released(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Answer:
        os.kill(process.pid, signal.SIGTERM)
        ended.wait(5)
        return granted(asked)

    def release(_: Asked) -> Answer:
        ended.set()
        return Answer(204, b"HTTP/1.1 204 No Content\r\n\r\n")

    ended = Event()
    script = Script({("PUT", "/v1/leases/trial"): answer, ("DELETE", "/v1/leases/trial"): release})
    with answering(tmp_path / "k.sock", script):
        process = holding(tmp_path)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"", b"")
    assert [asked.method for asked in script.asked] == ["PUT", "DELETE"]


def test_a_held_lease_that_is_refused_ends_with_the_reason(tmp_path: Path) -> None:
    answers: list[Answer | None] = [None, CROWDED]
    script = Script({("PUT", "/v1/leases/trial"): lambda asked: answers.pop(0) or granted(asked)})
    with answering(tmp_path / "k.sock", script):
        process = holding(tmp_path)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.decode() == "keepalive: the quota of rate group default holds 3 targets; release another\n"
