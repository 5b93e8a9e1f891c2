"""The app: the only module that wires the adapters to the engine."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib import import_module, invalidate_caches
from math import inf
from pathlib import Path
from types import ModuleType

from keepalive._version import __version__
from keepalive.cloudflare.client import CloudflareClient
from keepalive.config import Configuration
from keepalive.core.events import ControlFailed, DaemonReady, DaemonStarted, Event, Level, Sink, StateFailed
from keepalive.core.plan import Plan
from keepalive.engine.clock import BootClock
from keepalive.engine.ports import Client
from keepalive.engine.scheduler import Scheduler
from keepalive.engine.supervisor import Supervisor
from keepalive.errors import StoreError, StoreLockedError
from keepalive.leases import Leases
from keepalive.reload import Reload
from keepalive.sinks.counts import Counts
from keepalive.sinks.history import History
from keepalive.sinks.logs import LogFormat, LogSink, open_log
from keepalive.sinks.systemd import take_manager
from keepalive.store.sqlite import SqliteStore

STDERR = 2

SHORTEST_KEEP = 60.0
"""Seconds that an idle connection is kept at least; always longer than the longest interval."""

OPEN_SECONDS = 3.0
"""Seconds that opening the state may take."""

THREADS = 32
"""Threads for what blocks. A name server that hangs keeps one for half a minute, and each timeout asks anew.

Of asyncio's own number, four and the processors, none would be left for metrics and reloads.
"""

LOAD_AGAIN_SECONDS = 5.0
"""Seconds until the service is loaded again, where that failed."""

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


Share = Callable[[Client], Client]


def _alone(client: Client) -> Client:
    return client


@dataclass(frozen=True, slots=True)
class Engine:
    """The running parts."""

    scheduler: Scheduler
    client: CloudflareClient


@asynccontextmanager
async def engine(  # noqa: PLR0913 - what it holds and tells by, and two choices of the caller's
    configuration: Configuration,
    plan: Plan,
    clock: BootClock,
    tell: Sink,
    *,
    keep_state: bool = False,
    share: Share = _alone,
) -> AsyncIterator[Engine]:
    """A scheduler that holds `plan`, its client open as long as this is entered; sends nothing until run.

    Args:
        configuration: Says how to speak to Cloudflare.
        plan: What is held first.
        clock: Tells the time.
        tell: Gets every event.
        keep_state: Whether a restart shall know what this process did.
        share: Puts what shares the quota with others before the client.

    Raises:
        StoreLockedError: `keep_state`, and another daemon keeps its state at the same place.
    """
    tell(_started(configuration, clock.now()))
    store = await _open_store(configuration, clock, tell) if keep_state else None
    intervals = (group.policy.longest_interval for group in plan.values())
    longest = max((interval for interval in intervals if interval < inf), default=0.0)
    cloudflare = configuration.settings.cloudflare
    async with CloudflareClient(
        configuration.credentials,
        base_url=cloudflare.base_url,
        ca_file=cloudflare.ca_file or None,
        live_tail_hosts=cloudflare.live_tail_hosts,
        keepalive_seconds=max(SHORTEST_KEEP, 2 * longest),
    ) as client:
        limit = cloudflare.max_requests_per_second
        scheduler = Scheduler(
            share(client), clock, tell, chance=random.random, max_requests_per_second=limit, store=store
        )
        if kept := scheduler.kept_leases:
            plan = configuration.plan_with(target for lease in kept for target in lease.targets)
        await scheduler.prepare(plan)
        scheduler.apply(plan)
        yield Engine(scheduler, client)


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
        window_calibrated=heartbeat.window_calibrated,
    )


async def run(  # noqa: PLR0913 - what the process gives: its settings, clock, log, environment and signals
    configuration: Configuration,
    clock: BootClock,
    log: LogSink,
    *,
    load: Callable[[], Configuration],
    environ: MutableMapping[str, str],
    hung_up: Callable[[], bool] = lambda: False,
) -> None:
    """Hold every target eligible until SIGTERM or SIGINT, then drain; SIGHUP reloads.

    Args:
        configuration: What is in force first.
        clock: Tells the time.
        log: Gets every event.
        load: Reads the configuration again.
        environ: Says where a service manager listens; that is taken out of it.
        hung_up: Whether a SIGHUP came before this listens.

    Raises:
        StoreLockedError: Another daemon keeps its state at the same place.
        asyncio.CancelledError: A second signal came before the drain was over.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "keepalive"))
    started_at, manager = clock.now(), take_manager(environ)
    counts, history = Counts(), History(clock.wall_at)
    sinks: list[Sink] = [counts, history, log]
    tell = fan_out(sinks)
    async with engine(configuration, configuration.plan, clock, tell, keep_state=True) as parts:
        gc.freeze()  # the plan stays: to look through 100,000 targets for garbage would delay beats
        scheduler, client = parts.scheduler, parts.client
        kept = scheduler.kept_leases
        reload = Reload(
            configuration,
            load,
            scheduler=scheduler,
            client=client,
            clock=clock,
            tell=tell,
            leased=tuple(target for lease in kept for target in lease.targets),
        )
        leases = Leases(reload, BootClock(), tell, scheduler.keep_leases, kept)

        async def serve() -> None:
            service = await _loaded(clock, tell)
            await service.serve(
                service.Daemon(
                    scheduler=scheduler,
                    client=client,
                    reload=reload,
                    leases=leases,
                    clock=clock,
                    tell=tell,
                    sinks=sinks,
                    counts=counts,
                    history=history,
                    dropped=lambda: log.dropped,
                    manager=manager,
                    started_at=started_at,
                )
            )

        supervisor = Supervisor(scheduler, clock, reload, {"leases": leases.run, "service": serve})
        with supervisor.signals():
            if hung_up():
                supervisor.hang_up()
            await supervisor.run()


async def _loaded(clock: BootClock, tell: Sink) -> ModuleType:
    """The service, whose imports are a fifth of the start: they wait until the first heartbeats have left.

    A process that has no descriptor, thread or memory for them now may have some later; it beats meanwhile.
    """
    told = False
    while True:
        try:
            return await asyncio.to_thread(import_module, "keepalive.service")
        except (OSError, RuntimeError, MemoryError, ImportError) as error:
            if not told:
                hint = "raise the limits of the process; heartbeats go on, and it is tried again"
                tell(
                    ControlFailed(
                        at=clock.now(), address="everything", cause=f"cannot be loaded: {error}", hint=hint
                    )
                )
            told = True
            invalidate_caches()
            await asyncio.sleep(LOAD_AGAIN_SECONDS)


async def _open_store(configuration: Configuration, clock: BootClock, tell: Sink) -> SqliteStore | None:
    """Open the state, or say why there is none; a disk that does not answer must not hold up the start."""
    path = configuration.settings.state.path
    if not path:
        return None
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            return await asyncio.to_thread(SqliteStore, Path(path), clock.boot_id, clock.now())
    except StoreLockedError:
        raise
    except StoreError as error:
        failed = error
    except TimeoutError:
        hint = "look at the disk; until a restart nothing is kept"
        failed = StoreError(path, f"did not open within {OPEN_SECONDS:g} s", hint)
    tell(StateFailed(at=clock.now(), path=failed.path, cause=failed.found, hint=failed.hint))
    return None


async def once(configuration: Configuration, clock: BootClock, *sinks: Sink, share: Share = _alone) -> None:
    """Send each target one heartbeat, with its retries, for as long as a lease would last.

    SIGTERM or SIGINT drains.

    Args:
        configuration: Names the targets.
        clock: Tells the time.
        sinks: Get every event.
        share: Puts what shares the quota with others before the client.

    Raises:
        asyncio.CancelledError: A second signal came before the drain was over.
    """

    def stop_when_known(event: Event) -> None:
        if isinstance(event, DaemonReady):
            scheduler.drain("done")

    plan = one_beat_each(configuration.plan)
    tell = fan_out((*sinks, stop_when_known))
    async with engine(configuration, plan, clock, tell, share=share) as parts:
        scheduler = parts.scheduler
        supervisor = Supervisor(scheduler, clock)
        window = configuration.settings.heartbeat.window
        deadline = asyncio.get_running_loop().call_later(window, scheduler.drain, "out of time")
        try:
            with supervisor.signals():
                await supervisor.run()
        finally:
            deadline.cancel()


def fan_out(sinks: Sequence[Sink]) -> Sink:
    """One sink that passes each event on to all of them, and to those that join them later."""

    def tell(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return tell


def one_beat_each(plan: Plan) -> Plan:
    """The same plan without a second heartbeat: its interval never ends."""
    return {name: replace(group, policy=replace(group.policy, interval=inf)) for name, group in plan.items()}
