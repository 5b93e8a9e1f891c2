from __future__ import annotations

import asyncio

import pytest

from keepalive.core.events import EligibilitySummary
from keepalive.core.plan import GroupPlan
from keepalive.core.target import Target
from keepalive.engine.scheduler import Scheduler
from keepalive.engine.supervisor import SUMMARY_SECONDS, Supervisor
from tests.support.virtual import FakeClient, LoopClock, Recorder, hang

pytestmark = pytest.mark.looptime

TARGET = Target("prod", "0123456789abcdef0123456789abcdef", "api")


def supervised(client: FakeClient, told: Recorder) -> Supervisor:
    clock = LoopClock()
    scheduler = Scheduler(client, clock, told, chance=lambda: 0.5)
    scheduler.apply({"default": GroupPlan("default", (TARGET,))})
    return Supervisor(scheduler, clock)


async def test_a_summary_is_told_every_minute_and_at_the_end() -> None:
    told = Recorder()
    supervisor = supervised(FakeClient(), told)
    running = asyncio.create_task(supervisor.run())
    await asyncio.sleep(3 * SUMMARY_SECONDS + 1)
    supervisor.stop("SIGTERM")
    await running
    summaries = [event for event in told.events if isinstance(event, EligibilitySummary)]
    assert [summary.final for summary in summaries] == [False, False, False, True]
    assert summaries[-1].eligible == 1
    assert summaries[-1].eligible_ratio > 0.99
    assert summaries[-1].heartbeats == len(told.named("heartbeat.accepted"))


async def test_a_second_stop_gives_up_what_is_in_flight() -> None:
    supervisor = supervised(FakeClient(hang), Recorder())
    running = asyncio.create_task(supervisor.run())
    await asyncio.sleep(1)
    supervisor.stop("SIGINT")
    await asyncio.sleep(0.1)
    supervisor.stop("SIGINT")
    with pytest.raises(asyncio.CancelledError):
        await running
