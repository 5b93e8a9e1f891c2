from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from keepalive.config.access import Access
from keepalive.control import quota
from keepalive.control.quota import Lender, SharedQuota
from keepalive.core.outcome import Accepted, Outcome, Throttled
from keepalive.core.target import Target
from tests.support.answering import Answer, Asked, Json, Script, answering

TARGET = Target("prod", "0123456789abcdef0123456789abcdef", "api")
PATH = "/v1/rate_groups/default/calls"
GRANTED = Answer(200, {"schema": 1, "granted": True})
NOT_SHARED = "No daemon answers, so the quota is not shared: these requests are counted nowhere else."


def refused(seconds: float) -> Answer:
    reason = "rate group default: it is silent after a 429"
    return Answer(200, {"schema": 1, "granted": False, "retry_after_seconds": seconds, "reason": reason})


@contextmanager
def lending(folder: Path, answer: Answer | Callable[[Asked], Answer]) -> Iterator[tuple[Lender, Script]]:
    script = Script({("POST", PATH): answer})
    with answering(folder / "k.sock", script):
        yield Lender(Access((folder / "k.sock",))), script


class Sender:
    """Accepts every heartbeat, and notes how long each might take."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []
        self.dropped = 0

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        self.timeouts.append(timeout)
        return Accepted()

    async def drop_connections(self) -> None:
        self.dropped += 1


async def test_each_call_is_charged_before_it_leaves(tmp_path: Path) -> None:
    sender = Sender()
    with lending(tmp_path, GRANTED) as (lender, script):
        client = SharedQuota(sender, lender, {"prod": "default"})
        for _ in range(3):
            assert await client.heartbeat(TARGET, timeout=5) == Accepted()
    assert [asked.path for asked in script.asked] == [PATH] * 3
    assert all(4 < timeout <= 5 for timeout in sender.timeouts)
    assert (lender.counted, lender.alone, lender.shares) == (3, 0, True)
    assert str(lender) == "These requests were counted in the running daemon's quota."


async def test_a_name_is_never_spliced_into_the_path(tmp_path: Path) -> None:
    with lending(tmp_path, GRANTED) as (lender, script):
        await lender.leave("a/../b?c")
    assert [asked.path for asked in script.asked] == ["/v1/rate_groups/a%2F..%2Fb%3Fc/calls"]


async def test_a_call_that_the_daemon_keeps_is_not_sent(tmp_path: Path) -> None:
    sender = Sender()
    with lending(tmp_path, refused(12.4)) as (lender, _):
        outcome = await SharedQuota(sender, lender, {"prod": "default"}).heartbeat(TARGET, timeout=5)
    assert isinstance(outcome, Throttled)
    assert outcome.retry_after == 12.4
    assert outcome.fault.cause == "quota_shared"
    assert outcome.fault.detail == "rate group default: it is silent after a 429"
    assert outcome.fault.hint == "the running daemon goes first; it may have a call left in 12s"
    assert sender.timeouts == []
    assert str(lender) == "No request was sent."


async def test_a_short_wait_is_waited_for(tmp_path: Path) -> None:
    answers = [refused(0.0), refused(0.02), GRANTED]
    with lending(tmp_path, lambda _: answers.pop(0)) as (lender, _):
        assert await lender.leave("default") is None
    assert (lender.counted, answers) == (1, [])


async def test_many_short_waits_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "PATIENCE", 0.05)
    with lending(tmp_path, refused(0.02)) as (lender, script):
        assert isinstance(await lender.leave("default"), Throttled)
    assert 1 < len(script.asked) < 6


async def test_a_group_that_the_daemon_does_not_hold_is_not_shared(tmp_path: Path) -> None:
    body: Json = {"schema": 1, "error": "no such rate group", "hint": ""}
    with lending(tmp_path, Answer(404, body)) as (lender, script):
        assert [await lender.leave("default") for _ in range(3)] == [None] * 3
        assert len(script.asked) == 1
        assert not lender.shares
        assert str(lender).startswith("The running daemon holds no such rate group, so ")
        script.answers["POST", "/v1/rate_groups/other/calls"] = GRANTED
        await lender.leave("other")
    assert str(lender) == "1 of 4 requests were counted in the running daemon's quota."
    assert not lender.shares


async def test_without_a_daemon_it_goes_on_alone(tmp_path: Path) -> None:
    sender, lender = Sender(), Lender(Access((tmp_path / "k.sock",)))
    outcome = await SharedQuota(sender, lender, {"prod": "default"}).heartbeat(TARGET, timeout=5)
    assert outcome == Accepted()
    assert (str(lender), lender.shares) == (NOT_SHARED, False)


async def test_a_daemon_that_hangs_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(tmp_path / "k.sock"))
        stopped.listen()
        lender = Lender(Access((tmp_path / "k.sock",)))
        before = monotonic()
        for _ in range(50):
            assert await lender.leave("default") is None
        assert monotonic() - before < 1
    assert str(lender) == NOT_SHARED


async def test_one_that_will_not_lend_is_asked_once(tmp_path: Path) -> None:
    with lending(tmp_path, Answer(503, {"schema": 1, "error": "draining", "hint": ""})) as (lender, script):
        assert [await lender.leave("default") for _ in range(3)] == [None] * 3
    assert len(script.asked) == 1
    assert str(lender) == NOT_SHARED


async def test_connections_are_dropped_behind_it() -> None:
    sender = Sender()
    await SharedQuota(sender, Lender(Access(())), {}).drop_connections()
    assert sender.dropped == 1
