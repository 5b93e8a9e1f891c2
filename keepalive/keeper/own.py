"""The keeper that beats by itself: an engine in this process, charged to the ledger of a running daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from keepalive.app import Engine, engine
from keepalive.cloudflare.client import CloudflareClient
from keepalive.config.configuration import Configuration
from keepalive.control.quota import SharedQuota
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged, Event, Sink
from keepalive.core.outcome import Fault
from keepalive.core.target import Target
from keepalive.engine.clock import BootClock
from keepalive.engine.ports import Client
from keepalive.keeper.bell import Bell
from keepalive.keeper.beside import beside
from keepalive.keeper.quota import StayingLender
from keepalive.reload import Reload

NO_ROOM = Fault(
    "quota",
    "the quota cannot hold it beside those before it",
    hint="name fewer targets, or raise requests of its rate group if Cloudflare allows more",
)


class Own:
    """Keeps targets eligible by heartbeats of this process."""

    shared = False

    def __init__(
        self, parts: Engine, configuration: Configuration, clock: BootClock, bell: Bell, lender: StayingLender
    ) -> None:
        self._scheduler = parts.scheduler
        self._client = parts.client
        self._configuration = configuration
        self._clock = clock
        self._bell = bell
        self._lender = lender

    @property
    def client(self) -> CloudflareClient:
        """What the heartbeats are sent by."""
        return self._client

    def state(self, target: Target) -> Eligibility:
        """Say what a target is now."""
        group = self._scheduler.group_of(target)
        standing = group.standing_of(target, self._clock.now()) if group else None
        return standing.state if standing else Eligibility.PENDING

    def fault(self, target: Target) -> Fault | None:
        """Say why a target is not renewed."""
        group = self._scheduler.group_of(target)
        standing = group.standing_of(target, self._clock.now()) if group else None
        if standing is None or standing.state is not Eligibility.REFUSED:
            return standing.fault if standing else None
        return NO_ROOM

    async def changed(self) -> None:
        """Wait until the state of some target changes."""
        await self._bell.rung()

    async def permit(self, credential: str) -> None:
        """Wait until both this ledger and a running daemon's lend one call."""
        group = self._configuration.rate_group_of(credential)
        while True:
            wait = self._scheduler.lend(group)
            if not wait:
                break
            await asyncio.sleep(wait)
        await self._lender.permit(group)


def narrowed(configuration: Configuration, targets: Iterable[Target]) -> Configuration:
    """The same configuration with these targets and no others."""
    nobody = replace(configuration, plan={})
    return replace(nobody, plan=nobody.plan_with(targets))


@asynccontextmanager
async def own(  # noqa: PLR0913 - what it holds, and the parts that another keeper shares with it
    configuration: Configuration,
    targets: Iterable[Target],
    *,
    clock: BootClock,
    tell: Sink,
    bell: Bell,
    lender: StayingLender,
) -> AsyncIterator[Own]:
    """Beat for these targets as long as this is entered. It ends at once: nobody needs a last heartbeat.

    Args:
        configuration: Knows the credentials, and how to speak to Cloudflare.
        targets: What is held; whatever the configuration names besides is not.
        clock: Tells the time; nobody else waits on it.
        tell: Gets every event.
        bell: Rung when a state changes.
        lender: Has every call charged to a running daemon.
    """
    ours = narrowed(configuration, targets)
    groups = {name: each.rate_group for name, each in ours.settings.credentials.items()}

    def share(client: Client) -> Client:
        return SharedQuota(client, lender, groups)

    def note(event: Event) -> None:
        tell(event)
        if isinstance(event, EligibilityChanged):
            bell.ring()

    async with engine(ours, ours.plan, clock, note, share=share) as parts:
        reload = Reload(
            ours, lambda: ours, scheduler=parts.scheduler, client=parts.client, clock=clock, tell=tell
        )
        async with beside({"heartbeats": parts.scheduler.run(), "secrets": reload.watch()}):
            yield Own(parts, ours, clock, bell, lender)
