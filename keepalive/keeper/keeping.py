"""Keeping: a daemon's lease where one runs, else heartbeats of this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import random

from keepalive.app import SHORTEST_KEEP
from keepalive.cloudflare.client import CloudflareClient
from keepalive.config.access import Access
from keepalive.config.configuration import Configuration
from keepalive.core.events import LeaseUnavailable, Sink
from keepalive.core.target import Target
from keepalive.engine.clock import BootClock
from keepalive.engine.scheduler import Scheduler
from keepalive.errors import DaemonRefusedError, DaemonUnreachableError
from keepalive.keeper.bell import Bell
from keepalive.keeper.beside import beside
from keepalive.keeper.leased import Leased, leased
from keepalive.keeper.own import Own, narrowed, own
from keepalive.keeper.ports import Keeper
from keepalive.keeper.quota import StayingLender, quotas_of
from keepalive.keeper.tenancy import find_tenancy
from keepalive.reload import Reload


@asynccontextmanager
async def keeping(  # noqa: PLR0913 - what is kept by which rules, and where it is told
    configuration: Configuration,
    targets: Sequence[Target],
    access: Access,
    *,
    tell: Sink,
    clock: BootClock,
    prefix: str,
    lean: bool = True,
) -> AsyncIterator[Keeper]:
    """Keep targets eligible as long as this is entered.

    Args:
        configuration: Knows the credentials, and how to speak to Cloudflare.
        targets: What is held.
        access: Where a daemon may be.
        tell: Gets every event, and who keeps the targets eligible.
        clock: Tells the time; nobody else waits on it.
        prefix: What a lease's name begins with, such as `exec`.
        lean: False where only this process knows the credential: no daemon can speak for it.

    Raises:
        ConfigError: On entering: the CA file, the proxy's address or a secret cannot be used.
    """
    bell, lender = Bell(), StayingLender(access, quotas_of(narrowed(configuration, targets)))

    def begin() -> AbstractAsyncContextManager[Own]:
        return own(configuration, targets, clock=clock, tell=tell, bell=bell, lender=lender)

    async with AsyncExitStack() as stack:
        if not lean:
            yield await stack.enter_async_context(begin())
            return
        try:
            tenancy = await find_tenancy(configuration, targets, access, prefix)
            client = await stack.enter_async_context(_client(configuration))
            leaning = Leased(
                tenancy,
                tuple(targets),
                window=configuration.settings.heartbeat.window,
                begin=begin,
                rate_group_of=configuration.rate_group_of,
                client=client,
                clock=clock,
                tell=tell,
                bell=bell,
                lender=lender,
            )
            keeper: Keeper = await stack.enter_async_context(leased(leaning))
            # Whoever speaks by this client needs the secrets as they are now; the scheduler beats for nobody.
            idle = Scheduler(client, clock, tell, chance=random)
            reload = Reload(
                configuration, lambda: configuration, scheduler=idle, client=client, clock=clock, tell=tell
            )
            await stack.enter_async_context(beside({"secrets": reload.watch()}))
        except (DaemonUnreachableError, DaemonRefusedError) as error:
            if alone := isinstance(error, DaemonUnreachableError):
                lender.rest()
            cause = f"{error.found}, so the quota is not shared" if alone else error.found
            tell(LeaseUnavailable(at=clock.now(), cause=cause, hint=error.hint))
            keeper = await stack.enter_async_context(begin())
        yield keeper


def _client(configuration: Configuration) -> CloudflareClient:
    cloudflare = configuration.settings.cloudflare
    return CloudflareClient(
        configuration.credentials,
        base_url=cloudflare.base_url,
        ca_file=cloudflare.ca_file or None,
        keepalive_seconds=SHORTEST_KEEP,
        live_tail_hosts=cloudflare.live_tail_hosts,
    )
