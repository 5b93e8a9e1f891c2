"""`keepalive once`: one heartbeat per target, and what became of it."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

import typer

from keepalive import app
from keepalive.cli.loop import run_loop
from keepalive.cli.options import Options, complain, warn
from keepalive.control.quota import Lender, SharedQuota
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import (
    AttemptFailed,
    BreakerOpened,
    DaemonDraining,
    EligibilityChanged,
    Event,
    HeartbeatAccepted,
    Level,
)
from keepalive.core.outcome import Fault
from keepalive.core.target import Target
from keepalive.engine.clock import BootClock
from keepalive.engine.ports import Client
from keepalive.errors import OutputError


@dataclass(slots=True)
class Standing:
    """What became of one target."""

    target: Target
    state: Eligibility = Eligibility.PENDING
    attempts: int = 0
    latency: float | None = None
    fault: Fault | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        label = f"{self.state:9} {self.target.label} ({self.target.credential})"
        tries = f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        if self.state is Eligibility.ELIGIBLE and self.latency is not None:
            return f"{label}  {tries}, answered in {self.latency * 1000:.0f} ms"
        if self.state is Eligibility.REFUSED:
            return f"{label}  the quota cannot hold it beside the targets before it"
        if self.fault is None:
            return f"{label}  {tries}, no answer yet"
        return f"{label}  {tries}: {explained(self.fault)}"

    def to_json(self) -> dict[str, str | int | float | None]:
        """The same for programs."""
        seen = self.fault if self.fault and self.state is not Eligibility.ELIGIBLE else None
        return {
            "target": self.target.label,
            "account_id": self.target.account_id,
            "script_id": self.target.script_id,
            "credential": self.target.credential,
            "state": self.state,
            "attempts": self.attempts,
            "latency_ms": None if self.latency is None else round(self.latency * 1000, 1),
            "cause": seen.cause if seen else None,
            "http_status": seen.http_status if seen else None,
            "error_code": seen.error_code if seen else None,
            "cf_ray": seen.cf_ray if seen else None,
            "hint": (seen.hint or None) if seen else None,
        }


def explained(fault: Fault) -> str:
    """Say in one line what was seen, by which codes, and what to do."""
    codes = f"HTTP {fault.http_status}" if fault.http_status else ""
    codes += f", code {fault.error_code}" if fault.error_code else ""
    seen = f"{fault.detail or fault.cause} ({codes})" if codes else fault.detail or fault.cause
    return f"{seen}; {fault.hint}" if fault.hint else seen


@dataclass(slots=True)
class Standings:
    """A sink that follows every target, and prints each when it is known unless it is told to be quiet.

    Attributes:
        of: What became of each target.
        told: True when it was said on stderr that something fails, or the log says it.
        signum: The signal that ended it before everything was known.
        unwritten: Why it could not be printed.
    """

    quiet: bool
    told: bool
    of: dict[Target, Standing] = field(default_factory=dict)
    signum: signal.Signals | None = None
    unwritten: OutputError | None = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case HeartbeatAccepted():
                standing = self._standing(event.target)
                standing.attempts, standing.latency = event.attempt, event.latency
                self._print(standing)
            case AttemptFailed():
                standing = self._standing(event.target)
                standing.attempts, standing.fault = max(standing.attempts, event.attempt), event.fault
                if event.level is Level.WARNING:
                    self._tell(event.fault)
            case BreakerOpened():
                self._tell(event.fault)
            case EligibilityChanged() if event.to_state is not None:
                standing = self._standing(event.target)
                if standing.state is Eligibility.ELIGIBLE:
                    return  # it had its heartbeat; that its renewal runs down is nobody's fault
                standing.state = event.to_state
                if event.to_state in (Eligibility.DENIED, Eligibility.REFUSED):
                    standing.fault = event.fault or standing.fault
                    self._print(standing)
            case DaemonDraining() if event.cause in signal.Signals.__members__:
                self.signum = signal.Signals[event.cause]
            case _:
                pass

    def print_rest(self) -> None:
        """Print those of whom nothing became known."""
        for standing in self.of.values():
            if standing.state is Eligibility.PENDING:
                self._print(standing)

    def say(self, text: str) -> None:
        """Print; when nobody takes it any more, the targets still get their heartbeats."""
        if self.unwritten:
            return
        try:
            typer.echo(text)
        except OutputError as error:
            self.unwritten = error

    def _standing(self, target: Target) -> Standing:
        return self.of.setdefault(target, Standing(target))

    def _tell(self, fault: Fault) -> None:
        """Say once what fails: without a network nothing else would be said for the whole of a window."""
        if not self.told:
            self.told = True
            complain(f"keepalive: {explained(fault)}; trying on, Ctrl-C ends it")

    def _print(self, standing: Standing) -> None:
        if not self.quiet:
            self.say(str(standing))


def once(
    options: Options,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Send one heartbeat per target, and say which are eligible.

    Passing faults are retried for as long as a renewal would last. Exits 1 unless every target is eligible.
    Each request is charged to a running daemon first, where one holds the same rate group.
    SIGTERM or Ctrl-C gives what is unanswered 4 s, and says what is known then.

    Example: keepalive once --config keepalive.toml
    """
    configuration = options.read()
    warn(configuration)
    lender = Lender(options.access())
    groups = {name: each.rate_group for name, each in configuration.settings.credentials.items()}
    standings = Standings(quiet=as_json, told=options.log_level is not None)

    def share(client: Client) -> Client:
        return SharedQuota(client, lender, groups)

    async def main() -> None:
        clock = BootClock()
        if options.log_level is None:  # the lines on stdout say it all
            await app.once(configuration, clock, standings, share=share)
            return
        log = app.open_logs(configuration, clock, colour=options.color)
        try:
            await app.once(configuration, clock, standings, log, share=share)
        finally:
            log.close(app.LOG_SECONDS)

    with suppress(asyncio.CancelledError):  # a second signal
        run_loop(main())
    standings.print_rest()
    eligible = sum(standing.state is Eligibility.ELIGIBLE for standing in standings.of.values())
    total = len(standings.of)
    if as_json:
        targets = [standing.to_json() for standing in standings.of.values()]
        report = {
            "schema": 1,
            "eligible": eligible,
            "total": total,
            "targets": targets,
            "quota_shared": lender.shares,
        }
        standings.say(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        standings.say(f"{eligible:,} of {total:,} targets are eligible. {lender}")
    if standings.unwritten and standings.unwritten.errno != errno.EPIPE:
        raise standings.unwritten
    if standings.signum:
        raise typer.Exit(128 + standings.signum)
    if eligible < total:
        raise typer.Exit(1)
