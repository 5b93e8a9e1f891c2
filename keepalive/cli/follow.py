"""Following: the streams of all targets of one command, merged into what it prints."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from keepalive import app
from keepalive.cli.once import explained
from keepalive.cli.options import STDERR, Options, complain
from keepalive.cloudflare.tls import tls_context
from keepalive.config import Configuration
from keepalive.config.access import Access
from keepalive.core import telemetry
from keepalive.core.events import Event, LeaseLost, LeaseTaken, LeaseUnavailable, Level, Sink, TailChanged
from keepalive.core.target import Target
from keepalive.engine.clock import BootClock
from keepalive.errors import OutputError
from keepalive.keeper.beside import beside
from keepalive.keeper.keeping import keeping
from keepalive.keeper.ports import Keeper
from keepalive.livetail.backlog import Backlog
from keepalive.livetail.connection import Opener
from keepalive.livetail.outlet import Outlet
from keepalive.livetail.overview import Overview
from keepalive.livetail.record import Changed, Record, State
from keepalive.livetail.render import Render, json_lines, pretty
from keepalive.livetail.status import ERASE, StatusLine
from keepalive.livetail.stream import Stream
from keepalive.sinks.console import console
from keepalive.sinks.logs import LogSink
from keepalive.sinks.outlet import Outlet as LogOutlet

STDOUT = 1

REDRAW_SECONDS = 0.5
"""Seconds between two looks of the status line."""

LAST_SECONDS = 1.0
"""Seconds that what waits may take to be written at the end, when nobody reads it."""

UNKNOWN_NAME_WIDTH = 16
"""Characters for the names of an account's scripts, which are not known beforehand."""

_NOBODY_READS = (errno.EPIPE, errno.EIO)
"""A pipe without a reader, and a terminal that was closed."""

_KEEPERS = (LeaseLost, LeaseTaken, LeaseUnavailable)
"""What a terminal is told besides its status line: on whose quota this is."""

_UNEXPLAINED = (State.AT_RISK, State.LAPSED)
"""States whose cause the keeper knows."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What is followed.

    Attributes:
        configuration: Knows the credentials, and how to speak to Cloudflare.
        targets: Whose events.
        access: Where a daemon may be.
        wanted: Which of them.
        since: Seconds that are looked back first, or None.
    """

    configuration: Configuration
    targets: tuple[Target, ...]
    access: Access
    wanted: telemetry.Wanted
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """How it looks.

    Attributes:
        render: Turns a record into a line of stdout.
        clock: Tells the time to log lines, and to the engine.
        log: Writes them.
        tell: Gets every event of the engine, and passes on to the log what belongs there.
        status: The status line, where stderr is a terminal.
        beside: True where it stands below what is printed.
    """

    render: Render
    clock: BootClock
    log: LogSink
    tell: Sink
    status: StatusLine | None
    beside: bool

    @classmethod
    def of(
        cls, options: Options, configuration: Configuration, targets: Sequence[Target], *, as_json: bool
    ) -> Face:
        """Look at the options, and at where stdout and stderr lead."""
        clever = os.environ.get("TERM") != "dumb"
        printed_there, told_there = os.isatty(STDOUT), os.isatty(STDERR) and clever
        colour = options.color and clever
        if as_json:
            render = json_lines(several=len(targets) > 1, terminal=printed_there)
        else:
            render = pretty(colour=colour and printed_there, scripts=_width(targets))
        clock = BootClock()
        if not told_there or options.log_format == "json":
            log = app.open_logs(configuration, clock, colour=options.color)
            return cls(render, clock, log, log, None, beside=False)
        lines = console(colour=colour)
        level = Level(options.log_level or "info")
        log = LogSink(LogOutlet(STDERR), lambda line: ERASE + lines(line), wall_at=clock.wall_at, level=level)
        tell = log if options.log_level else _only_keepers(log)
        return cls(render, clock, log, tell, StatusLine(STDERR), beside=printed_there)


def _width(targets: Sequence[Target]) -> int:
    """Characters of the column with the script's name; 0 where all events are of one script."""
    if len(targets) == 1 and targets[0].script_id is not None:
        return 0
    return max(len(target.script_id) if target.script_id else UNKNOWN_NAME_WIDTH for target in targets)


def _only_keepers(sink: Sink) -> Sink:
    def tell(event: Event) -> None:
        if isinstance(event, _KEEPERS):
            sink(event)

    return tell


class Follow:
    """One run.

    Args:
        aim: What is followed.
        face: How it looks.
        most: Events after which it ends; may be infinite.
        seconds: How long it goes on, or None for ever.
    """

    def __init__(self, aim: Aim, face: Face, *, most: float, seconds: float | None) -> None:
        self._aim = aim
        self._face = face
        self._most = most
        self._seconds = seconds

    async def run(self) -> bool:
        """Go on until a signal, the end that was asked for, or nobody reads any more.

        Returns:
            False when the time was over and no stream had been open.

        Raises:
            ConfigError: The CA file, the proxy's address or a secret cannot be used.
            OutputError: What comes cannot be written.
        """
        loop = asyncio.get_running_loop()

        def from_thread(call: Callable[[], None]) -> None:
            with suppress(RuntimeError):  # the loop is over, and so is this command
                loop.call_soon_threadsafe(call)

        self._ended = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._leave)
        outlet = Outlet(
            STDOUT,
            self._face.render,
            lambda: from_thread(self._ended.set),
            status=self._face.status if self._face.beside else None,
        )
        # Rung once a turn of the loop: it may bring hundreds of events, and each ring costs a switch.
        self._backlog = Backlog(
            most_events=self._most,
            bell=lambda: loop.call_soon(outlet.ring),
            room=lambda: from_thread(self._backlog.settle),
            completed=self._ended.set,
        )
        outlet.open(self._backlog)
        self._keeper: Keeper | None = None
        self._overview = Overview(self._aim.targets, self._reason, loop.time)
        following = asyncio.create_task(self._follow(), name="follow")
        ending = asyncio.create_task(self._ended.wait(), name="end")
        done, _ = await asyncio.wait(
            (following, ending), timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in (following, ending):
            task.cancel()
        await asyncio.wait((following, ending))
        await self._close(outlet)
        if not following.cancelled():
            following.result()
        if outlet.fault is not None and outlet.fault.errno not in _NOBODY_READS:
            raise OutputError(outlet.fault)
        if outlet.broke:
            raise RuntimeError("what came could not be rendered")
        return bool(done) or self._overview.connected

    def _leave(self) -> None:
        if self._ended.is_set():
            os._exit(0)  # a second signal: what is unwritten stays so
        self._ended.set()

    async def _follow(self) -> None:
        """Keep the targets eligible and their streams going, for ever."""
        aim = self._aim
        tls = tls_context(aim.configuration.settings.cloudflare.ca_file or None)
        async with (
            keeping(
                aim.configuration,
                aim.targets,
                aim.access,
                tell=self._face.tell,
                clock=self._face.clock,
                prefix="tail",
            ) as keeper,
            Opener(tls) as connect,
        ):
            self._keeper = keeper
            clock = self._face.clock
            since_ms = None if aim.since is None else round(clock.wall_at(clock.now() - aim.since) * 1000)
            errands: dict[str, Coroutine[None, None, None]] = {}
            if self._face.status is not None:
                errands["draw the status line"] = self._draw(self._face.status)
            for target in aim.targets:
                stream = Stream(
                    target,
                    aim.wanted,
                    self._inlet(target),
                    api=keeper.client,
                    keeper=keeper,
                    connect=connect,
                )
                errands[f"tail {target.label}"] = stream.run(since_ms)
            async with beside(errands):
                await asyncio.Event().wait()

    def _inlet(self, target: Target) -> Callable[[Record], None]:
        put, note = self._backlog.inlet(target), self._overview.note

        def deliver(record: Record) -> None:
            if not isinstance(record, telemetry.Event):
                if isinstance(record, Changed):
                    record = self._explained(target, record)
                note(target, record)
            put(record)

        return deliver

    def _explained(self, target: Target, change: Changed) -> Changed:
        """Tell the log of a change, and its cause where only the keeper knows that."""
        if not change.cause and change.state in _UNEXPLAINED:
            change = replace(change, cause=self._reason(target))
        now = self._face.clock.now()
        self._face.tell(TailChanged(at=now, target=target, state=change.state, cause=change.cause))
        return change

    def _reason(self, target: Target) -> str:
        fault = self._keeper.fault(target) if self._keeper else None
        return explained(fault) if fault else ""

    async def _draw(self, status: StatusLine) -> None:
        while True:
            await asyncio.to_thread(status.show, self._overview.text(self._backlog))
            await asyncio.sleep(REDRAW_SECONDS)

    async def _close(self, outlet: Outlet) -> None:
        """Write what waits, as far as somebody reads it; then the last log lines, without a status line."""
        self._backlog.settle(at_last=True)
        written = await asyncio.to_thread(outlet.close, LAST_SECONDS)
        if self._face.status is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await asyncio.to_thread(self._face.status.end)
        self._face.log.close(app.LOG_SECONDS)
        if not written and outlet.fault is None and not outlet.broke:
            complain(f"keepalive: {self._backlog.waiting:,} lines were not written: nobody reads them")
