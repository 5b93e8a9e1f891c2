from __future__ import annotations

from pathlib import Path

import pytest

from keepalive.config.access import Access
from keepalive.control.quota import CAUSE
from keepalive.core.outcome import Throttled
from keepalive.core.plan import Quota
from keepalive.keeper import quota
from keepalive.keeper.quota import StayingLender
from tests.support.answering import Answer, Script, answering

PATH = "/v1/rate_groups/default/calls"
GRANTED = Answer(200, {"schema": 1, "granted": True})


@pytest.fixture(autouse=True)
def nothing_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "_SPENT", {})


def lender(folder: Path, requests: int = 1200) -> StayingLender:
    return StayingLender(Access((folder / "k.sock",)), {"default": Quota(requests, share=1.0)})


async def test_a_daemon_that_was_away_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = lender(tmp_path)
    assert await alone.leave("default") is None
    with answering(tmp_path / "k.sock", Script({("POST", PATH): GRANTED})):
        assert await alone.leave("default") is None
        assert (alone.counted, alone.alone) == (0, 2), "not at once: one that hangs costs two seconds"
        monkeypatch.setattr(alone, "_again_at", 0.0)
        assert await alone.leave("default") is None
        assert (alone.counted, alone.alone) == (1, 2)


async def test_a_daemon_that_is_known_to_hang_is_not_asked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, script = lender(tmp_path), Script({("POST", PATH): GRANTED})
    with answering(tmp_path / "k.sock", script):
        alone.rest()
        assert await alone.leave("default") is None
        assert script.asked == []
        monkeypatch.setattr(alone, "_again_at", 0.0)
        assert await alone.leave("default") is None
        assert len(script.asked) == 1


async def test_all_engines_of_a_process_share_one_quota(tmp_path: Path) -> None:
    one, other = lender(tmp_path, 3), lender(tmp_path, 3)
    assert [await each.leave("default") for each in (one, other, one)] == [None] * 3
    refused = await other.leave("default")
    assert isinstance(refused, Throttled)
    assert refused.fault.cause == CAUSE
    assert 290 < (refused.retry_after or 0) <= 302


async def test_a_permit_waits_for_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keepalive.control.quota.PATIENCE", 0.0)
    spent = Answer(200, {"schema": 1, "granted": False, "retry_after_seconds": 0.02, "reason": "spent"})
    answers = [spent, spent, GRANTED]
    with answering(tmp_path / "k.sock", Script({("POST", PATH): lambda _: answers.pop(0)})):
        await lender(tmp_path).permit("default")
    assert answers == []
