"""`keepalive calibrate`: how long one accepted heartbeat really lasts, measured with a live tail."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from keepalive.app import SHORTEST_KEEP
from keepalive.calibration.measurement import Measurement
from keepalive.calibration.result import Ending, Result
from keepalive.cli.aim import aim
from keepalive.cli.finding import as_json as finding_as_json
from keepalive.cli.finding import known, progress, told
from keepalive.cli.loop import run_loop
from keepalive.cli.options import Options, SocketOption, complain, duration, warn
from keepalive.cli.rivals import Rivals
from keepalive.cloudflare.client import CloudflareClient
from keepalive.cloudflare.tls import tls_context
from keepalive.config import Configuration
from keepalive.config.access import Access
from keepalive.config.duration import format_duration
from keepalive.core.target import Target
from keepalive.engine.clock import BootClock
from keepalive.errors import KeepaliveError, UsageError
from keepalive.keeper.own import narrowed
from keepalive.keeper.quota import StayingLender, quotas_of
from keepalive.livetail.connection import Opener

CLOSEST = 0.1
"""Seconds; a network is no better than that."""


def calibrate(  # noqa: PLR0913 - one parameter for each option of the command
    options: Options,
    *,
    target: Annotated[str, typer.Argument(metavar="[ACCOUNT/]SCRIPT", show_default=False)],
    within: Annotated[
        float,
        typer.Option(parser=duration, metavar="DURATION", help="By how much the result may be off."),
    ] = 1.0,
    length: Annotated[
        float, typer.Option("--for", parser=duration, metavar="DURATION", help="Give up after so long.")
    ] = 900.0,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who speaks for the target, where several may.")
    ] = None,
    socket: SocketOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Measure how long one accepted heartbeat keeps a live tail going.

    It opens a live tail, stops its heartbeats, and watches when events stop that the query API still shows;
    then again, until the window is known. Meanwhile live tails of the same Cloudflare user fall silent for a
    while. It takes a few minutes, a Worker with an event a second and Workers Logs, and nobody else who sends
    heartbeats for that user. Exits 1 when the window could not be told; Ctrl-C says what is known by then.

    Example: keepalive calibrate api
    """
    if within < CLOSEST:
        raise UsageError(f"--within is closer than a network can tell; write at least {CLOSEST:g}s")
    access = options.access(socket)
    configuration, (aimed,) = aim(options, [target], credential)
    warn(configuration)
    command = _Calibration(options, configuration, aimed, access, quiet=as_json)
    result, lender = run_loop(command.run(within, length))
    if as_json:
        report = finding_as_json(result, quota_shared=lender.shares)
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        heartbeat = configuration.settings.heartbeat
        interval = heartbeat.interval if "interval" in heartbeat.model_fields_set else None
        typer.echo("\n".join(told(result, interval, datetime.now(UTC).date())))
        complain(f"keepalive: {lender}")
    if command.signum is not None:
        raise typer.Exit(128 + command.signum)
    if result.ending is not Ending.MEASURED:
        raise typer.Exit(1)


class _Calibration:
    """One run of the command.

    Attributes:
        signum: The signal that ended it, or None.
    """

    def __init__(
        self, options: Options, configuration: Configuration, target: Target, access: Access, *, quiet: bool
    ) -> None:
        self.signum: signal.Signals | None = None
        self._options = options
        self._configuration = narrowed(configuration, (target,))
        self._target = target
        self._group = configuration.rate_group_of(target.credential)
        self._rivals = Rivals(access, configuration.path, self._group, target.account_id)
        self._lender = StayingLender(access, quotas_of(self._configuration))
        self._quiet = quiet

    async def run(self, within: float, seconds: float) -> tuple[Result, StayingLender]:
        """Measure, and say what was found and whose quota it was.

        Raises:
            KeepaliveError: A daemon sends heartbeats for the same user.
        """
        if rival := await self._rivals.look():
            raise KeepaliveError(
                f"{rival}: while it does, no silence can be measured; stop it until this has ended"
            )
        boot = BootClock()
        ahead = boot.wall_at(0.0)
        cloudflare = self._configuration.settings.cloudflare
        async with (
            CloudflareClient(
                self._configuration.credentials,
                base_url=cloudflare.base_url,
                ca_file=cloudflare.ca_file or None,
                live_tail_hosts=cloudflare.live_tail_hosts,
                keepalive_seconds=SHORTEST_KEEP,
            ) as client,
            Opener(tls_context(cloudflare.ca_file or None)) as connect,
        ):
            measurement = Measurement(
                self._target,
                api=client,
                connect=connect,
                permit=self._permit,
                undisturbed=self._rivals.look,
                clock=lambda: boot.now() + ahead,
                error=within,
                tell=lambda: self._tell(measurement),
            )
            self._announce(within, seconds)
            with self._shown(measurement, lambda: boot.now() + ahead):
                return await self._until_signal(measurement, seconds), self._lender

    async def _permit(self) -> None:
        await self._lender.permit(self._group)

    async def _until_signal(self, measurement: Measurement, seconds: float) -> Result:
        loop = asyncio.get_running_loop()
        running = asyncio.create_task(measurement.run(seconds), name="calibrate: measure")

        def end(signum: signal.Signals) -> None:
            self.signum = signum
            running.cancel()

        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, end, signum)
        await asyncio.wait([running])
        return measurement.result(Ending.INTERRUPTED) if running.cancelled() else running.result()

    # --- what is told meanwhile --------------------------------------------------------------

    def _announce(self, within: float, seconds: float) -> None:
        complain(
            f"keepalive: measuring the window of {self._target.label} to {format_duration(within)}, for"
            f" {format_duration(seconds)} at most; live tails of the user behind {self._target.credential!r}"
            " fall silent for a while, again and again"
        )

    def _tell(self, measurement: Measurement) -> None:
        """Say in a line of its own what a status line would lose."""
        if measurement.trouble:
            complain(f"keepalive: {measurement.trouble}")
        elif not self._live:
            complain(f"keepalive: {known(measurement)}")

    @property
    def _live(self) -> bool:
        return sys.stderr.isatty() and not self._quiet

    @contextmanager
    def _shown(self, measurement: Measurement, now: Callable[[], float]) -> Iterator[None]:
        """Show on a terminal how it goes, as long as this is entered."""
        if not self._live:
            yield
            return
        from rich.console import Console, Group  # noqa: PLC0415 - only a terminal needs it
        from rich.live import Live  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        def drawn() -> Group:
            first, *rest = progress(measurement, now())
            return Group(Text(first), *(Text(line, "dim") for line in rest))

        console = Console(stderr=True, no_color=not self._options.color)
        with Live(get_renderable=drawn, console=console, refresh_per_second=4, transient=True):
            yield
