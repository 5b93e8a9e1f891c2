"""Clocks that jump, and machines that sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import SuspendDetected
from keepalive.engine.clock import BootClock
from tests.cloudflare.servers import Request, reply, served
from tests.faults.bench import holding
from tests.faults.conftest import Figure
from tests.faults.stage import playing

FAST = Fleet(targets=6, users=1, factor=15.0)
"""A window of 3 s in real time, and an interval of 1 s."""

real_time = time.time


def at_1970() -> float:
    return 3.0


def at_2100() -> float:
    return 4_120_000_000.0


def stepping() -> float:
    """A clock that NTP drags to and fro by an hour, twice a second."""
    now = real_time()
    return now + (3600 if int(now * 2) % 2 else -3600)


@pytest.mark.parametrize("wall_clock", [at_1970, at_2100, stepping])
async def test_a_wall_clock_that_is_wrong_moves_no_heartbeat(
    wall_clock: Callable[[], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    async with playing(tmp_path, FAST, clock=BootClock()) as stage:
        monkeypatch.setattr(time, "time", wall_clock)
        before = len(stage.arrivals)
        await asyncio.sleep(2.0)
        beats = len(stage.arrivals) - before
        assert stage.lapses == 0
        assert not stage.log.became("at_risk")
        told = stage.log.named("heartbeat.accepted")[-1]
        figure("{} heartbeats in 2 s, 12 planned; 0 lapses", beats)
    assert 10 <= beats <= 16
    assert not stage.log.named("attempt.failed")
    until, written = str(told["eligible_until"]), str(told["timestamp"])
    assert wall_clock is stepping or until[:4] == written[:4] == time.strftime(
        "%Y", time.gmtime(wall_clock())
    )


@pytest.mark.looptime
@pytest.mark.parametrize(("seconds", "lapses"), [(20.0, 0), (3600.0, 42)])
async def test_after_a_suspend_everybody_is_renewed_by_new_connections_within_the_budget(
    seconds: float, lapses: int, figure: Figure
) -> None:
    dead: set[asyncio.StreamWriter] = set()
    alive: set[asyncio.StreamWriter] = set()

    async def gone_while_asleep(_: Request, writer: asyncio.StreamWriter) -> None:
        arrived.append(bench.clock.now())
        alive.add(writer)
        await asyncio.sleep(0.1)
        if writer not in dead:
            writer.write(reply())

    arrived: list[float] = []
    async with served(gone_while_asleep) as server, holding(server.url, count=42) as bench:
        await asyncio.sleep(100)
        dead.update(alive)
        bench.clock.suspend(seconds)
        awake_at = bench.clock.now()
        await asyncio.sleep(100)

    [told] = [event for event in bench.told.events if isinstance(event, SuspendDetected)]
    renewed = {event.target: event.at for event in reversed(bench.renewals) if event.at > awake_at}
    after = [at for at in arrived if at >= awake_at]
    crowd = max(sum(at <= one < at + 1 for one in after) for at in after)
    assert told.suspended == seconds
    assert len(renewed) == 42
    assert len(bench.became(Eligibility.LAPSED)) == lapses
    assert "timeout" not in bench.causes
    assert max(renewed.values()) - awake_at < 7
    assert crowd <= 50
    figure(
        "all 42 renewed {} s after it, {} lapsed, at most {} requests in a second",
        max(renewed.values()) - awake_at,
        lapses,
        crowd,
    )
