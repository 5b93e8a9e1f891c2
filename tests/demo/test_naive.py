from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from keepalive.demo import stage
from keepalive.demo.naive import NaiveLoop
from keepalive.emulator import Emulator, Fault, FaultKind

PLACES = (*stage.places(stage.NAIVE),)[-4:]
INTERVAL = 0.04


@asynccontextmanager
async def beating(*faults: Fault) -> AsyncIterator[tuple[Emulator, NaiveLoop]]:
    async with Emulator(stage.world(), faults=faults) as emulator:
        loop = NaiveLoop(emulator.base_url, stage.NAIVE_TOKEN, PLACES, INTERVAL)
        task = asyncio.create_task(loop.run())
        try:
            yield emulator, loop
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def attempted(loop: NaiveLoop, attempts: int) -> None:
    async with asyncio.timeout(5):
        while loop.attempts < attempts:  # noqa: ASYNC110 - the loop tells nobody of its attempts  # noqa: ASYNC110 - the loop tells nobody what it sends
            await asyncio.sleep(0.005)


async def test_it_keeps_every_target_eligible_while_all_is_well() -> None:
    async with beating() as (emulator, loop):
        await attempted(loop, 9)
        tallies = emulator.tallies()
        assert set(tallies) == set(PLACES)
        assert loop.errors == 0


@pytest.mark.parametrize(
    "fault",
    [Fault(kind=FaultKind.RESET), Fault(kind=FaultKind.STATUS, status=503), Fault(kind=FaultKind.OUTAGE)],
    ids=["reset", "503", "outage"],
)
async def test_a_failed_request_is_an_error_and_never_retried(fault: Fault) -> None:
    async with beating(fault) as (emulator, loop):
        await attempted(loop, 8)
        assert 6 <= loop.errors <= loop.attempts
        assert not emulator.tallies()


async def test_a_request_that_hangs_holds_up_no_other() -> None:
    async with beating(Fault(kind=FaultKind.HANG)) as (emulator, loop):
        await attempted(loop, 8)
        assert loop.errors == 0
        assert len(emulator.requests) >= 7
