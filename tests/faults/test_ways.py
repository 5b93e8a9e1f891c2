"""The way to Cloudflare: names, addresses, certificates, proxies, and connections that a NAT forgets."""

from __future__ import annotations

import asyncio

import pytest

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import HeartbeatAccepted
from tests.cloudflare.servers import Request, reply, served
from tests.faults.bench import Bench, holding
from tests.faults.conftest import Figure

pytestmark = pytest.mark.looptime

FULL_HOUSE = 42


def oldest_lease(bench: Bench) -> float:
    """The longest time between two renewals of one target, in seconds."""
    renewed_at: dict[str, float] = {}
    longest = 0.0
    for event in bench.told.events:
        if isinstance(event, HeartbeatAccepted):
            longest = max(longest, event.at - renewed_at.get(event.target.label, event.at))
            renewed_at[event.target.label] = event.at
    return longest


async def test_a_full_pool_that_a_nat_forgets_is_given_up_after_one_timeout(figure: Figure) -> None:
    """Each connection by itself would cost a timeout: without giving all of them up, this took 33 s."""
    seen: set[asyncio.StreamWriter] = set()
    forgotten: set[asyncio.StreamWriter] = set()
    latency = 2.0  # slow at first, so that everybody gets a connection

    async def behind_nat(_: Request, writer: asyncio.StreamWriter) -> None:
        seen.add(writer)
        await asyncio.sleep(latency)
        if writer not in forgotten:
            writer.write(reply())

    async with served(behind_nat) as server, holding(server.url, count=FULL_HOUSE) as bench:
        await asyncio.sleep(20)
        latency = 0.1
        await asyncio.sleep(25)
        assert len(seen) == FULL_HOUSE
        forgotten.update(seen)
        await asyncio.sleep(60)

    assert bench.causes == {"timeout"}
    assert bench.became(Eligibility.LAPSED) == []
    assert oldest_lease(bench) < 25
    figure("42 dead connections: the oldest lease reached {} of 45 s", oldest_lease(bench))
