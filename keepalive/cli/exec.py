"""`keepalive exec`: targets that are eligible for as long as one command runs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from keepalive.app import LOG_SECONDS, STDERR
from keepalive.cli.aim import aim
from keepalive.cli.child import Caught, Child, Signals, signals
from keepalive.cli.loop import run_loop
from keepalive.cli.once import explained
from keepalive.cli.options import Options, SocketOption, complain, duration, warn
from keepalive.config import Configuration
from keepalive.config.access import Access
from keepalive.config.duration import format_duration
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import Level
from keepalive.core.target import Target
from keepalive.engine.clock import BootClock
from keepalive.errors import (
    CommandNotFoundError,
    CommandNotRunnableError,
    ConfigError,
    KeepaliveError,
    NotKeptError,
    UsageError,
)
from keepalive.keeper.keeping import keeping
from keepalive.keeper.ports import Keeper
from keepalive.sinks.logs import LogFormat, LogSink, open_log

WAIT_SECONDS = 5.0
"""Seconds that the command waits for its targets, unless --wait insists on them."""

_COMMAND = "keepalive.command"

_HOPELESS = (Eligibility.DENIED, Eligibility.REFUSED)
"""What waiting does not change: a person has to."""

_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end the wait; once the command runs, it decides what they mean."""


class Split(TyperCommand):
    """Keeps what stands behind `--` for the command, whatever it looks like."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments before `--`."""
        ours = args[: args.index("--")] if "--" in args else args
        ctx.meta[_COMMAND] = args[len(ours) + 1 :]
        return super().parse_args(ctx, ours)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name the command too."""
        return [*super().collect_usage_pieces(ctx), "-- CMD..."]


SHAPE = Split
"""What kind of command it is."""


def exec(  # noqa: A001, PLR0913 - named as the command is; one parameter for each option of it
    ctx: typer.Context,
    options: Options,
    *,
    targets: Annotated[list[str], typer.Argument(metavar="[ACCOUNT/]SCRIPT...", show_default=False)],
    wait: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="Insist on eligible targets: after so long without, exit 125 and start nothing.",
        ),
    ] = None,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who speaks for the targets, where several may.")
    ] = None,
    log_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append the log to a file instead of stderr.")
    ] = None,
    socket: SocketOption = None,
) -> None:
    """Keep targets eligible for as long as a command runs.

    A running daemon with the same configuration holds them by a lease; else keepalive beats by itself. The
    command starts once all are eligible. If they are not within 5 s, as in an outage, the reason is told and
    it starts all the same; with --wait, or where they are refused, it does not start. Signals are passed on.

    Exits as the command does: with 128 + N when signal N ended it, 126 when it cannot be run, 127 when there
    is none; with 125 when it was not started because of its targets.

    Example: keepalive exec api web -- node server.js
    """
    command = ctx.meta.get(_COMMAND, [])
    if not command:
        raise UsageError("no command to run; write it behind `--`, as in `keepalive exec api -- sleep 60`")
    access = options.access(socket)
    configuration, aimed = aim(options, targets, credential)
    warn(configuration)
    descriptor = _opened(log_file)

    async def main(held: Signals) -> int:
        clock = BootClock()
        settings = configuration.settings.log
        log = open_log(
            descriptor,
            wall_at=clock.wall_at,
            level=Level(settings.level),
            style=LogFormat(settings.format),
            colour=options.color,
        )
        try:
            return await _Sidecar(command, held, wait).run(_Aim(configuration, aimed, access), log, clock)
        finally:
            log.close(LOG_SECONDS)

    with signals() as held:
        try:
            code = run_loop(main(held))
        except (ConfigError, NotKeptError, CommandNotFoundError, CommandNotRunnableError):
            raise
        except KeepaliveError as error:
            raise NotKeptError(str(error)) from None
    raise typer.Exit(code)


def _opened(log_file: Path | None) -> int:
    if log_file is None:
        return STDERR
    try:
        return os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file name"
        raise UsageError(f"--log-file {str(log_file)!r} cannot be written ({reason}); name another") from None


@dataclass(frozen=True, slots=True)
class _Aim:
    """What is to be kept eligible, and where a daemon may be."""

    configuration: Configuration
    targets: tuple[Target, ...]
    access: Access


class _Sidecar:
    """One run of a command."""

    def __init__(self, command: list[str], held: Signals, wait: float | None) -> None:
        self._command = command
        self._held = held
        self._wait = wait
        self._child: Child | None = None
        loop = asyncio.get_running_loop()
        self._ended_by: asyncio.Future[int] = loop.create_future()
        self._keeper: asyncio.Future[Keeper] = loop.create_future()

    async def run(self, at: _Aim, log: LogSink, clock: BootClock) -> int:
        """Run it, and give the exit code."""
        self._held.listen(asyncio.get_running_loop(), self._take)
        keeping = asyncio.create_task(self._keep(at, log, clock), name="keeper")
        try:
            if (signum := await self._await_targets(at.targets)) is not None:
                return 128 + signum
            self._child = Child.start(self._command, self._held)
            self._child.reap()
            return await self._child.ended
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _keep(self, at: _Aim, log: LogSink, clock: BootClock) -> None:
        """Keep the targets eligible until cancelled. If that breaks, the command goes on without."""
        try:
            async with keeping(
                at.configuration, at.targets, at.access, tell=log, clock=clock, prefix="exec"
            ) as keeper:
                self._keeper.set_result(keeper)
                await asyncio.Event().wait()
        except Exception as error:  # whatever it is must not take the command along
            if not self._keeper.done():
                self._keeper.set_exception(error)
                return
            complain(f"keepalive: heartbeats have ended ({type(error).__name__}); please report it")
            raise

    async def _await_targets(self, targets: Sequence[Target]) -> int | None:
        """Wait until all targets are eligible; a signal ends it, which is returned.

        Raises:
            NotKeptError: They are not, and the command shall not start.
        """
        watching = asyncio.create_task(self._watch(targets), name="targets")
        seconds = WAIT_SECONDS if self._wait is None else self._wait
        done, _ = await asyncio.wait(
            (watching, self._ended_by), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        watching.cancel()
        if self._ended_by in done:
            return self._ended_by.result()
        missing = watching.result() if watching in done else self._missing(targets)
        if not missing:
            return None
        hopeless = any(self._state(target) in _HOPELESS for target in missing)
        for target in missing:
            complain(f"keepalive: {self._said(target)}")
        name = self._command[0]
        if hopeless:
            raise NotKeptError(
                f"{name!r} was not started: what is refused does not become eligible by waiting"
            )
        if self._wait is not None:
            raise NotKeptError(f"{name!r} was not started: not every target was eligible within --wait")
        complain(f"keepalive: {name!r} starts after {format_duration(seconds)} all the same; trying on")
        return None

    async def _watch(self, targets: Sequence[Target]) -> list[Target]:
        """Wait until all are eligible, or some will not be: these are returned."""
        keeper = await self._keeper
        while True:
            missing = self._missing(targets)
            if not missing:
                return []
            if hopeless := [target for target in missing if keeper.state(target) in _HOPELESS]:
                return hopeless
            await keeper.changed()

    def _missing(self, targets: Sequence[Target]) -> list[Target]:
        return [target for target in targets if not self._state(target).holds]

    def _state(self, target: Target) -> Eligibility:
        return self._keeper.result().state(target) if self._keeper.done() else Eligibility.PENDING

    def _said(self, target: Target) -> str:
        fault = self._keeper.result().fault(target) if self._keeper.done() else None
        why = explained(fault) if fault else "no answer yet"
        return f"{target.label} is {self._state(target)}: {why}"

    def _take(self, caught: Caught) -> None:
        """Look at a signal that came."""
        if self._child is not None:
            self._child.take(caught)
        elif caught.number in _ENDS and not self._ended_by.done():
            self._ended_by.set_result(caught.number)
        elif caught.number == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)
