"""The app: the only module that wires the adapters to the engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf

from keepalive._version import __version__
from keepalive.cloudflare.client import CloudflareClient
from keepalive.config import Configuration
from keepalive.core.events import DaemonReady, DaemonStarted, Event, Level, Sink
from keepalive.core.plan import Plan
from keepalive.engine.clock import BootClock
from keepalive.engine.scheduler import Scheduler
from keepalive.engine.supervisor import Supervisor
from keepalive.sinks.logs import LogFormat, LogSink, open_log

STDERR = 2

SHORTEST_KEEP = 60.0
"""Seconds that an idle connection is kept at least; always longer than the longest interval."""

LOG_SECONDS = 0.5
"""Seconds that the last log lines may take to be written, when nobody reads them."""


def open_logs(configuration: Configuration, clock: BootClock, *, colour: bool) -> LogSink:
    """Open the log on stderr as the configuration says."""
    settings = configuration.settings.log
    return open_log(
        STDERR,
        wall_at=clock.wall_at,
        level=Level(settings.level),
        style=LogFormat(settings.format),
        colour=colour,
    )


@asynccontextmanager
async def engine(
    configuration: Configuration, plan: Plan, clock: BootClock, *sinks: Sink
) -> AsyncIterator[Scheduler]:
    """A scheduler that holds `plan`, its client open as long as this is entered; sends nothing until run."""
    intervals = (group.policy.longest_interval for group in plan.values())
    longest = max((interval for interval in intervals if interval < inf), default=0.0)
    cloudflare = configuration.settings.cloudflare

    def tell(event: Event) -> None:
        for sink in sinks:
            sink(event)

    async with CloudflareClient(
        configuration.credentials,
        base_url=cloudflare.base_url,
        ca_file=cloudflare.ca_file or None,
        keepalive_seconds=max(SHORTEST_KEEP, 2 * longest),
    ) as client:
        limit = cloudflare.max_requests_per_second
        scheduler = Scheduler(client, clock, tell, chance=random.random, max_requests_per_second=limit)
        scheduler.tell(_started(configuration, clock.now()))
        scheduler.apply(plan)
        yield scheduler


def _started(configuration: Configuration, now: float) -> DaemonStarted:
    heartbeat, plan = configuration.settings.heartbeat, configuration.plan
    return DaemonStarted(
        at=now,
        version=__version__,
        config=str(configuration.path or "environment"),
        targets=sum(len(group.targets) for group in plan.values()),
        rate_groups=len(plan),
        window=heartbeat.window,
        interval=heartbeat.interval,
    )


async def run(configuration: Configuration, clock: BootClock, *sinks: Sink) -> None:
    """Hold every target eligible until SIGTERM or SIGINT, then drain.

    Raises:
        asyncio.CancelledError: A second signal came before the drain was over.
    """
    async with engine(configuration, configuration.plan, clock, *sinks) as scheduler:
        supervisor = Supervisor(scheduler, clock)
        with supervisor.signals():
            await supervisor.run()


async def once(configuration: Configuration, clock: BootClock, *sinks: Sink) -> None:
    """Send each target one heartbeat, with its retries, for as long as a lease would last."""

    def stop_when_known(event: Event) -> None:
        if isinstance(event, DaemonReady):
            scheduler.drain("done")

    plan = one_beat_each(configuration.plan)
    async with engine(configuration, plan, clock, *sinks, stop_when_known) as scheduler:
        window = configuration.settings.heartbeat.window
        deadline = asyncio.get_running_loop().call_later(window, scheduler.drain, "out of time")
        try:
            await scheduler.run()
        finally:
            deadline.cancel()


def one_beat_each(plan: Plan) -> Plan:
    """The same plan without a second heartbeat: its interval never ends."""
    return {name: replace(group, policy=replace(group.policy, interval=inf)) for name, group in plan.items()}
