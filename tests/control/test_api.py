"""The API: what is found among many targets, and what it costs the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from time import thread_time

from keepalive.control.client import LARGEST
from keepalive.core.eligibility import Eligibility
from keepalive.core.plan import GroupPlan, Policy, Quota
from keepalive.core.state import GroupState
from keepalive.core.target import Target
from tests.control.stage import Stage, running, staged, until

ACCOUNT = "0123456789abcdef0123456789abcdef"


NAMES = [f"group{number}" for number in range(10)]
BAR = 0.01
"""Seconds of work in a row, the asking side's included; three milliseconds are usual."""


@asynccontextmanager
async def crowded(path: Path, each: int) -> AsyncIterator[Stage]:
    """Ten groups of so many targets, of which one in a thousand was never renewed; nobody beats."""
    quota, scripts = Quota(10_000_000), [f"script-{number}" for number in range(each)]
    plan = {
        name: GroupPlan(name, tuple(Target(name, ACCOUNT, script) for script in scripts), Policy(), quota)
        for name in NAMES
    }
    async with staged(path, beating=False) as stage:
        stage.scheduler.apply(plan)
        now = stage.clock.now()
        for name in NAMES:
            renewed = tuple((target, now) for place, target in enumerate(plan[name].targets) if place % 1000)
            group = stage.scheduler.groups[name]
            group.restore(GroupState(renewed=renewed), now)
            for event in group.announce(now):
                stage.scheduler.tally(event)
        yield stage


class Heart:
    """Beats as often as it can, and knows how long at most others worked in between, in seconds."""

    def __init__(self) -> None:
        self.beats: list[float] = []

    async def beat(self) -> None:
        while True:
            self.beats.append(thread_time())
            await asyncio.sleep(0)

    @property
    def longest(self) -> float:
        return max(after - before for before, after in pairwise(self.beats))


async def read_all(stage: Stage, query: str, name: str = "targets") -> list[str]:
    """Follow the pages to the end."""
    found: list[str] = []
    after = ""
    while True:
        answer = (await stage.ask("GET", f"/v1/{name}?{query}{after}")).json
        found += [f"{each['credential']}/{each['script_id']}" for each in answer["targets"]]
        if answer["next"] is None:
            return found
        after = f"&after={answer['next']}"


async def test_ten_thousand_targets_are_paged_through_in_order(tmp_path: Path) -> None:
    async with crowded(tmp_path, 1000) as stage:
        everybody = await read_all(stage, "limit=1000")
        in_trouble = await read_all(stage, "state=pending&state=lapsed&limit=3")

    assert everybody == [f"{name}/script-{number}" for name in NAMES for number in range(1000)]
    assert in_trouble == [f"{name}/script-0" for name in NAMES]


async def test_no_listing_of_thirty_thousand_holds_the_loop(tmp_path: Path) -> None:
    paths = (
        "/v1/targets?limit=1000",
        "/v1/targets?state=lapsed",
        "/v1/targets?script_id=script-2999&credential=group9",
        "/v1/status",
        "/v1/rate_groups",
    )
    async with crowded(tmp_path, 3_000) as stage:
        for path in paths:
            assert min([await longest_pause(stage, path) for _ in range(2)]) < BAR
        side_by_side = ["/v1/targets?state=lapsed"] * 3
        assert min([await longest_pause(stage, *side_by_side) for _ in range(2)]) < BAR


async def longest_pause(stage: Stage, *paths: str) -> float:
    """Seconds of work in which nobody else got a turn while these were asked side by side."""
    heart = Heart()
    async with running(heart.beat()):
        answers = await asyncio.gather(*(stage.ask("GET", path) for path in paths))
    assert {answer.status for answer in answers} == {200}
    return heart.longest


async def test_targets_are_found_by_all_that_they_are(tmp_path: Path) -> None:
    text = f"""
[credentials.prod]
api_token = "token-of-prod"
[credentials.legacy]
api_token = "token-of-legacy"
rate_group = "other"
[[targets]]
credential = "prod"
account_id = "{ACCOUNT}"
scripts = ["api", "web"]
[[targets]]
credential = "legacy"
account_id = "fedcba9876543210fedcba9876543210"
scripts = ["api"]
[[targets]]
credential = "legacy"
account_id = "{ACCOUNT}"
account_wide = true
"""
    async with staged(tmp_path, text) as stage:
        await until(lambda: stage.scheduler.tally.counts[Eligibility.ELIGIBLE] == 4)
        assert await read_all(stage, "") == ["prod/api", "prod/web", "legacy/api", "legacy/None"]
        assert await read_all(stage, "credential=legacy") == ["legacy/api", "legacy/None"]
        assert await read_all(stage, "rate_group=default") == ["prod/api", "prod/web"]
        assert await read_all(stage, "rate_group=none") == []
        assert await read_all(stage, "script_id=api") == ["prod/api", "legacy/api"]
        assert await read_all(stage, "script_id=") == ["legacy/None"]
        assert await read_all(stage, f"account_id={ACCOUNT}&script_id=api") == ["prod/api"]
        assert await read_all(stage, "state=lapsed") == []
        assert await read_all(stage, "state=lapsed&state=eligible&limit=1") == await read_all(stage, "")


async def test_the_status_says_what_the_daemon_is(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await until(lambda: stage.scheduler.tally.counts[Eligibility.ELIGIBLE] == 2)
        status = (await stage.ask("GET", "/v1/status")).json

        assert status["pid"] == os.getpid()
        assert status["targets"] == dict.fromkeys(Eligibility, 0) | {"total": 2, "eligible": 2}
        assert (status["healthy"], status["ready"], status["draining"]) == (True, True, False)
        assert status["reason"] == "all 2 targets are eligible"
        assert status["heartbeats"] == status["attempts"] == 2
        assert status["budget_used"] == round(2 / 1080, 4)
        [first, second] = (await stage.ask("GET", "/v1/targets")).json["targets"]
        assert status["nearest_deadline"] == min(first["eligible_until"], second["eligible_until"])
        assert 44 < first["eligible_for_seconds"] <= 45


async def test_a_reload_can_say_that_the_window_was_measured(tmp_path: Path) -> None:
    async with staged(tmp_path, beating=False) as stage:
        before = (await stage.ask("GET", "/v1/status")).json
        stage.text += '[heartbeat]\nwindow = "44s"\nwindow_calibrated = true\n'
        await stage.ask("POST", "/v1/reload")
        after = (await stage.ask("GET", "/v1/status")).json

    assert (before["window_seconds"], before["window_calibrated"]) == (45.0, False)
    assert (after["window_seconds"], after["window_calibrated"]) == (44.0, True)


async def test_nobody_is_near_a_deadline_before_the_first_answer(tmp_path: Path) -> None:
    async with staged(tmp_path, beating=False) as stage:
        status = (await stage.ask("GET", "/v1/status")).json

    assert status["nearest_deadline"] is None
    assert status["reason"] == "0 of 2 targets are eligible; 2 pending"


async def test_a_granted_call_is_charged_and_a_refused_one_is_not(tmp_path: Path) -> None:
    async with staged(tmp_path, beating=False) as stage:
        ledger = stage.scheduler.groups["default"].budget.ledger
        calls = "/v1/rate_groups/default/calls"
        assert (await stage.ask("POST", calls)).json == {"schema": 1, "granted": True}
        assert ledger.count(stage.clock.now()) == 1
        ledger.charge(stage.clock.now(), 1079)
        answer = (await stage.ask("POST", calls)).json
        assert ledger.count(stage.clock.now()) == 1080

    assert answer.pop("retry_after_seconds") > 0
    assert answer == {
        "schema": 1,
        "granted": False,
        "reason": "rate group default: its quota is kept for the heartbeats",
    }


async def test_a_lease_is_granted_renewed_listed_and_released(tmp_path: Path) -> None:
    wish = {"targets": ["cron", f"{ACCOUNT}/api"], "ttl_seconds": 60}
    async with staged(tmp_path) as stage:
        granted = await stage.ask("PUT", "/v1/leases/ci", wish)
        renewed = await stage.ask("PUT", "/v1/leases/ci", wish | {"ttl_seconds": 120})
        assert (granted.status, renewed.status) == (201, 200)
        assert 119 < renewed.json["ends_in_seconds"] <= 120
        assert [each["script_id"] for each in renewed.json["targets"]] == ["cron", "api"]
        [listed] = (await stage.ask("GET", "/v1/leases")).json["leases"]
        assert listed["lease"] == "ci"
        targets = (await stage.ask("GET", "/v1/targets")).json["targets"]
        assert {each["script_id"]: each["leases"] for each in targets} == {
            "api": ["ci"],
            "web": [],
            "cron": ["ci"],
        }

        assert (await stage.ask("DELETE", "/v1/leases/ci")).status == 204
        assert [each["script_id"] for each in (await stage.ask("GET", "/v1/targets")).json["targets"]] == [
            "api",
            "web",
        ]


async def test_leases_are_paged_and_a_page_of_large_ones_ends_early(tmp_path: Path) -> None:
    large = {"targets": [f"s{number}" for number in range(400)], "ttl_seconds": 60}
    async with staged(tmp_path, beating=False) as stage:
        stage.text += "[rate_groups.default]\nrequests = 1_000_000\n"
        assert (await stage.ask("POST", "/v1/reload")).json["reloaded"]
        for name in ("a", "b", "c", "d"):
            assert (await stage.ask("PUT", f"/v1/leases/{name}", large)).status == 201
        first = (await stage.ask("GET", "/v1/leases")).json
        second = (await stage.ask("GET", f"/v1/leases?after={first['next']}")).json

    assert [lease["lease"] for lease in first["leases"]] == ["a", "b", "c"]
    assert [len(lease["targets"]) for lease in second["leases"]] == [400]
    assert second["next"] is None


async def test_leases_of_one_target_are_listed_in_a_page_that_a_command_takes(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path, beating=False) as stage:
        names = [f"{number:0128}" for number in range(1, 301)]
        for name in names:
            await stage.leases.put(name, ("cron",), None, 600)
        page = await stage.ask("GET", "/v1/leases?limit=1000")

    listed = page.json["leases"]
    assert [lease["lease"] for lease in listed] == names
    assert listed[-1]["targets"][0]["leases"] == names[:10]
    assert len(page.text) < LARGEST / 8, "uncut it is longer than a command reads"


async def test_a_group_that_a_reload_took_away_is_shown_while_its_calls_count(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await until(lambda: stage.scheduler.tally.counts[Eligibility.ELIGIBLE] == 2)
        stage.text = stage.text.replace(
            'api_token = "token-of-prod"', 'api_token = "token-of-prod"\nrate_group = "new"'
        )
        assert (await stage.ask("POST", "/v1/reload")).json["reloaded"]
        groups = (await stage.ask("GET", "/v1/rate_groups")).json["rate_groups"]

    assert {each["rate_group"]: each["targets"] for each in groups} == {"default": 0, "new": 2}


async def test_transitions_are_the_newest_first(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await until(lambda: stage.scheduler.tally.counts[Eligibility.ELIGIBLE] == 2)
        all_of_them = (await stage.ask("GET", "/v1/transitions")).json["transitions"]
        newest = (await stage.ask("GET", "/v1/transitions?limit=1")).json["transitions"]

    assert [each["to_state"] for each in all_of_them] == ["eligible", "eligible", "pending", "pending"]
    assert newest == all_of_them[:1]
