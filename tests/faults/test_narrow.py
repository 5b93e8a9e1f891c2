"""Faults of one user, one account or one script: how far they reach, and whom they must not touch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from keepalive.emulator import Fault, FaultKind
from tests.faults.conftest import Figure
from tests.faults.stage import Stage, playing

pytestmark = pytest.mark.looptime

TWO_USERS = Fleet(targets=24, users=2)


def ill(stage: Stage, scripts: frozenset[str]) -> int:
    """Lapses of these."""
    return sum(
        tally.lapses for place, tally in stage.emulator.tallies().items() if place.script_id in scripts
    )


def touched(stage: Stage, scripts: frozenset[str]) -> int:
    """Failed attempts of these."""
    return sum(line["script_id"] in scripts for line in stage.log.named("attempt.failed"))


@pytest.mark.parametrize(
    ("status", "told"), [(401, "denied"), (403, "denied"), (429, "lapsed"), (503, "lapsed")]
)
async def test_what_one_user_suffers_the_other_never_notices(
    status: int, told: str, tmp_path: Path, figure: Figure
) -> None:
    async with playing(tmp_path, TWO_USERS) as stage:
        mine = frozenset(TWO_USERS.scripts("user0"))
        others = frozenset(TWO_USERS.scripts("user1"))
        stage.emulator.faults.add(Fault(kind=FaultKind.STATUS, status=status, user="user0"))
        await asyncio.sleep(300)
        assert {line["script_id"] for line in stage.log.became(told)} == mine
        figure(
            "{} lapses and {} failed attempts of the other user", ill(stage, others), touched(stage, others)
        )
        assert (ill(stage, others), touched(stage, others)) == (0, 0)


@pytest.mark.parametrize(("count", "status"), [(2, 503), (10, 503), (10, 404)])
async def test_scripts_that_always_fail_cost_the_others_no_lease(
    count: int, status: int, tmp_path: Path, figure: Figure
) -> None:
    fleet = Fleet(targets=42, users=1)
    async with playing(tmp_path, fleet) as stage:
        broken = frozenset(stage.scripts[:count])
        for script in broken:
            stage.emulator.faults.add(Fault(kind=FaultKind.STATUS, status=status, script=script))
        await asyncio.sleep(360)
        others = frozenset(stage.scripts) - broken
        worst = max(sum(at <= each.at < at + 300 for each in stage.arrivals) for at in range(0, 70, 10))
        figure(
            "{} lapses among {} others, {} requests in the worst 300 s",
            ill(stage, others),
            len(others),
            worst,
        )
        assert (ill(stage, others), touched(stage, others)) == (0, 0)
        assert worst <= 1080
        stage.emulator.faults.clear()
