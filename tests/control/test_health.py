from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from keepalive.control.health import OVERDUE_SECONDS, Probe, Verdict
from keepalive.core.plan import GroupPlan, Policy, Quota
from keepalive.core.target import Target
from keepalive.engine.scheduler import Scheduler
from tests.support.virtual import Answer, FakeClient, LoopClock, Recorder, accept, hang, refuse

pytestmark = pytest.mark.looptime

ACCOUNT = "0123456789abcdef0123456789abcdef"
API, WEB = Target("prod", ACCOUNT, "api"), Target("prod", ACCOUNT, "web")


@asynccontextmanager
async def probed(
    *targets: Target, answer: Answer = accept, guests: tuple[Target, ...] = (), requests: int = 1200
) -> AsyncIterator[Probe]:
    clock = LoopClock()
    scheduler = Scheduler(FakeClient(answer), clock, Recorder(), chance=lambda: 0.5)
    scheduler.apply({"default": GroupPlan("default", targets, Policy(), Quota(requests))})
    running = asyncio.create_task(scheduler.run())
    yield Probe(scheduler, clock.now, lambda: guests)
    running.cancel()
    await asyncio.wait([running])


async def test_a_scheduler_on_time_is_healthy() -> None:
    async with probed(API) as probe:
        await asyncio.sleep(100)
        assert probe.health() == Verdict(ok=True, reason="the scheduler is on time")


async def test_an_outage_is_no_reason_to_restart() -> None:
    async with probed(API, answer=hang) as probe:
        await asyncio.sleep(300)
        assert probe.health().ok
        assert not probe.readiness().ok


async def test_a_scheduler_that_does_not_turn_is_not_healthy() -> None:
    clock = LoopClock()
    scheduler = Scheduler(FakeClient(), clock, Recorder(), chance=lambda: 0.5)
    scheduler.apply({"default": GroupPlan("default", (API,))})
    probe = Probe(scheduler, clock.now)
    assert probe.health().ok
    await asyncio.sleep(OVERDUE_SECONDS + 1.5)
    assert probe.health() == Verdict(ok=False, reason="the scheduler is 6.5 s late")


async def test_nobody_is_ready_before_the_first_answers() -> None:
    async with probed(API, WEB) as probe:
        assert probe.readiness() == Verdict(ok=False, reason="0 of 2 targets are eligible; 2 pending")


async def test_all_eligible_is_ready() -> None:
    async with probed(API, WEB) as probe:
        await asyncio.sleep(5)
        assert probe.readiness() == Verdict(ok=True, reason="all 2 targets are eligible")


async def test_a_refused_target_is_not_ready() -> None:
    crowd = tuple(Target("prod", ACCOUNT, f"script-{number}") for number in range(5))
    async with probed(*crowd, requests=60) as probe:
        await asyncio.sleep(60)
        assert probe.readiness() == Verdict(ok=False, reason="3 of 5 targets are eligible; 2 refused")


async def test_no_target_is_ready() -> None:
    async with probed() as probe:
        assert probe.readiness() == Verdict(ok=True, reason="no target is configured")


async def test_a_target_that_is_only_leased_makes_nobody_wait() -> None:
    async def only_api(target: Target, timeout: float) -> object:
        return await (accept if target == API else refuse)(target, timeout)

    async with probed(API, WEB, answer=only_api, guests=(WEB,)) as probe:  # type: ignore[arg-type]
        await asyncio.sleep(10)
        assert probe.readiness() == Verdict(ok=True, reason="all 1 targets are eligible")
