"""A bench: the real scheduler and the real client on real sockets, in virtual time (the `looptime` marker).

Client and server share one loop, so what one sends is there before the time moves on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from keepalive.cloudflare.auth import ApiToken
from keepalive.cloudflare.client import CloudflareClient
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import AttemptFailed, EligibilityChanged, Event, HeartbeatAccepted
from keepalive.core.plan import GroupPlan, Policy
from keepalive.core.target import Target
from keepalive.engine.ports import Store
from keepalive.engine.scheduler import Scheduler
from tests.support.virtual import LoopClock, Recorder

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"


def targets(count: int) -> tuple[Target, ...]:
    return tuple(Target("prod", ACCOUNT_ID, f"script-{number}") for number in range(count))


class Told(Recorder):
    """A sink that keeps what it is told, and wakes who waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.more = asyncio.Event()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        self.more.set()


class SuspendableClock(LoopClock):
    """The loop's time and, on top of it, the time for which the machine slept."""

    def __init__(self) -> None:
        super().__init__()
        self._slept = 0.0
        self._alarm = asyncio.Event()

    def now(self) -> float:
        return super().now() + self._slept

    async def wait(self, wake: asyncio.Event, until: float) -> float:
        self._alarm = wake
        return await super().wait(wake, until)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: nothing of this process runs, and the alarm has rung when it wakes."""
        self._slept += seconds
        self.suspended += seconds
        self._alarm.set()


@dataclass
class Bench:
    """What holds the targets, and all that it told."""

    scheduler: Scheduler
    client: CloudflareClient
    clock: SuspendableClock
    told: Told

    @property
    def renewals(self) -> list[HeartbeatAccepted]:
        return [event for event in self.told.events if isinstance(event, HeartbeatAccepted)]

    @property
    def failures(self) -> list[AttemptFailed]:
        return [event for event in self.told.events if isinstance(event, AttemptFailed)]

    @property
    def causes(self) -> set[str]:
        return {event.fault.cause for event in self.failures}

    def became(self, *states: Eligibility) -> list[EligibilityChanged]:
        changes = (event for event in self.told.events if isinstance(event, EligibilityChanged))
        return [event for event in changes if event.to_state in states]

    async def until(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Wait until what was told fulfils a condition."""
        async with asyncio.timeout(timeout):
            while not condition():
                self.told.more.clear()
                await self.told.more.wait()

    async def renewed(self, times: int = 1) -> None:
        """Wait until so many heartbeats were accepted from now on."""
        wanted = len(self.renewals) + times
        await self.until(lambda: len(self.renewals) >= wanted, timeout=60.0 * times)

    async def failed(self, times: int = 1) -> None:
        """Wait until so many attempts have failed since the start."""
        await self.until(lambda: len(self.failures) >= times)

    def outlived(self) -> tuple[str, float]:
        """Seconds between the two renewals around the first failure, as a figure."""
        told = self.told.events
        first = told.index(self.failures[0])
        before = [event.at for event in told[:first] if isinstance(event, HeartbeatAccepted)]
        after = [event.at for event in told[first:] if isinstance(event, HeartbeatAccepted)]
        return "renewed after {} of 45 s", after[0] - before[-1]


@asynccontextmanager
async def holding(
    base_url: str,
    *,
    count: int = 1,
    policy: Policy | None = None,
    ca_file: str | None = None,
    store: Store | None = None,
) -> AsyncIterator[Bench]:
    """Hold so many targets, by default for 45 s every 15 s, for as long as this is entered."""
    told, clock = Told(), SuspendableClock()
    credentials = {"prod": ApiToken(SecretStr("token-of-prod"))}
    async with CloudflareClient(credentials, base_url=base_url, ca_file=ca_file) as client:
        chance = random.Random(1)
        scheduler = Scheduler(client, clock, told, chance=chance.random, store=store)
        scheduler.apply({"default": GroupPlan("default", targets(count), policy or Policy())})
        running = asyncio.create_task(scheduler.run())
        try:
            yield Bench(scheduler, client, clock, told)
        finally:
            scheduler.drain("the end of the test")
            await running
