"""The service: what a daemon does besides its heartbeats. It answers, tells, and looks after tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass

from keepalive._version import __version__
from keepalive.cloudflare.client import CloudflareClient
from keepalive.control.health import Probe
from keepalive.control.parts import About, Parts
from keepalive.control.server import Control
from keepalive.core.events import Sink
from keepalive.engine.clock import BootClock
from keepalive.engine.scheduler import Scheduler
from keepalive.expiry import Expiry
from keepalive.leases import Leases
from keepalive.reload import Reload
from keepalive.sinks.counts import Counts
from keepalive.sinks.history import History
from keepalive.sinks.metrics import Metrics, Sources
from keepalive.sinks.systemd import Manager, Notifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What the service speaks for.

    Attributes:
        scheduler: Beats.
        client: Sends.
        reload: Knows the configuration in force.
        leases: What others asked for at run time.
        clock: Tells the time.
        tell: Gets every event.
        sinks: Where `tell` passes them on; those of the service join them.
        counts: A sink that has counted from the first event on.
        history: A sink that has remembered from the first event on.
        dropped: Log lines that were lost.
        manager: The service manager, where there is one.
        started_at: When it began.
    """

    scheduler: Scheduler
    client: CloudflareClient
    reload: Reload
    leases: Leases
    clock: BootClock
    tell: Sink
    sinks: MutableSequence[Sink]
    counts: Counts
    history: History
    dropped: Callable[[], int]
    manager: Manager | None
    started_at: float


async def serve(daemon: Daemon) -> None:
    """Serve until cancelled."""
    configuration, clock = daemon.reload.configuration, daemon.clock
    scheduler, settings = daemon.scheduler, configuration.settings
    probe = Probe(scheduler, clock.now, lambda: daemon.leases.guests)
    expiry = Expiry(daemon.reload, scheduler, daemon.client, clock, daemon.tell)
    daemon.sinks.append(expiry)
    metrics = Metrics(
        daemon.counts,
        Sources(
            credentials=lambda: daemon.reload.configuration.credentials,
            groups=lambda: scheduler.groups,
            connections_opened=lambda: daemon.client.connections_opened,
            dropped={"log": daemon.dropped},
        ),
        now=clock.now,
        wall_at=clock.wall_at,
    )
    control = Control(
        Parts(
            about=About(__version__, str(configuration.path or "environment"), daemon.started_at),
            heartbeat=lambda: daemon.reload.configuration.settings.heartbeat,
            scheduler=scheduler,
            probe=probe,
            clock=clock,
            metrics=metrics,
            history=daemon.history,
            leases=daemon.leases,
            reload=daemon.reload,
        ),
        socket=settings.control.socket,
        mode=settings.control.mode,
        listen=settings.http.listen,
        tell=daemon.tell,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(control.run(), name="control")
        tasks.create_task(expiry.run(), name="expiry")
        if daemon.manager:
            notifier = Notifier(
                daemon.manager,
                counts=lambda: scheduler.tally.counts,
                budget=lambda: _used(scheduler, clock.now()),
                healthy=lambda: probe.health().ok,
            )
            daemon.sinks.append(notifier)
            tasks.create_task(notifier.run(), name="systemd")


def _used(scheduler: Scheduler, now: float) -> float:
    """The largest part of its share that a rate group has spent."""
    return max((group.standing(now).used for group in scheduler.groups.values()), default=0.0)
