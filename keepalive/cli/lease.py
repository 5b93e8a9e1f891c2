"""`keepalive lease`: targets that a running daemon holds for somebody, each for as long as it is asked to."""

from __future__ import annotations

import json
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Annotated, NoReturn

import typer

from keepalive.cli.options import Options, SocketOption, complain, duration
from keepalive.config.access import Access
from keepalive.config.duration import format_duration
from keepalive.control.answers import LeaseFields, LeaseSaid, leases, release_lease, take_lease
from keepalive.control.client import Daemon, printable
from keepalive.errors import DaemonRefusedError, DaemonUnreachableError, UsageError

TTL_SECONDS = 600.0
"""Seconds that a lease lasts where nothing else is said."""

HELD_SECONDS = 60.0
"""Seconds that a lease outlives the process that holds it, if that is killed."""

RENEW_SECONDS = 20.0
"""Seconds between two renewals: two may fail, and a daemon may restart."""

AGAIN_SECONDS = 1.0
"""Seconds until a daemon that does not answer is asked again."""

RELEASE_SECONDS = 2.0
"""Seconds that the release may take: whoever sent the signal waits for it."""

_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")]

lease = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@lease.callback()
def _lease() -> None:
    """Have the running daemon hold targets for a while.

    Example: keepalive lease add api --ttl 10m
    """


@lease.command("add")
def add(  # noqa: PLR0913 - one parameter for each option of the command
    options: Options,
    *,
    targets: Annotated[list[str], typer.Argument(metavar="[ACCOUNT/]SCRIPT...", show_default=False)],
    ttl: Annotated[
        float | None,
        typer.Option(parser=duration, metavar="DURATION", help="How long it lasts: 10m unless it is said."),
    ] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Renew it until Ctrl-C or SIGTERM, and release it then.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What it is called; adding it again renews it.")
    ] = None,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who speaks for the targets, where several may.")
    ] = None,
    socket: SocketOption = None,
    as_json: _JsonOption = False,
) -> None:
    """Have the daemon hold targets behind its own, until the lease ends.

    It outlives a restart of the daemon. Exits 1 with the reason when the daemon refuses, such as for want of
    quota, and 3 when none answers.

    Example: keepalive lease add api --ttl 10m --name trial
    """
    if hold and ttl is not None:
        raise UsageError("--ttl and --hold exclude each other; leave one out")
    name = name or f"lease-{secrets.token_hex(4)}"
    seconds = HELD_SECONDS if hold else TTL_SECONDS if ttl is None else ttl
    access = options.access(socket)
    daemon = Daemon(access)

    def take() -> LeaseSaid:
        return take_lease(daemon, name, targets, credential, seconds)

    if hold:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as under nohup(1)
                signal.signal(signum, _leave)
    try:
        said = take()
    except SystemExit:  # by a signal: the daemon may have granted it all the same
        _release(access, name)
        raise
    try:
        if as_json:
            typer.echo(json.dumps(said.as_json(), ensure_ascii=False, indent=None if hold else 2))
        else:
            typer.echo("\n".join(_lines([said])))
        sys.stdout.flush()
        if hold:
            _hold(take)
    finally:
        if hold:
            _release(access, name)


@lease.command("list")
def list_leases(options: Options, *, socket: SocketOption = None, as_json: _JsonOption = False) -> None:
    """List the leases of the daemon, with how their targets stand.

    Exits 3 when no daemon answers.

    Example: keepalive lease list
    """
    found = list(leases(Daemon(options.access(socket))))
    if as_json:
        report = {"schema": 1, "leases": [each.as_json() for each in found]}
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        typer.echo("\n".join(_lines(found)) if found else "no leases")


@lease.command("release")
def release(
    options: Options,
    *,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", show_default=False)],
    socket: SocketOption = None,
) -> None:
    """End leases before their time.

    Exits 1 when there is none of a name, and 3 when no daemon answers.

    Example: keepalive lease release trial
    """
    daemon, missed = Daemon(options.access(socket)), False
    for name in names:
        try:
            release_lease(daemon, name)
        except DaemonRefusedError as error:
            complain(f"keepalive: {name}: {error}")
            missed = True
    if missed:
        raise typer.Exit(1)


def _lines(found: Sequence[LeaseFields]) -> list[str]:
    lines = []
    for each in found:
        ends_in = format_duration(max(1, round(each.ends_in_seconds)))
        count = "1 target" if len(each.targets) == 1 else f"{len(each.targets):,} targets"
        lines.append(f"{each.lease}  {count}, for {ends_in}")
        lines += [
            f"  {target.state:9} {printable(target.target)} ({target.credential})" for target in each.targets
        ]
    return lines


def _hold(take: Callable[[], LeaseSaid]) -> NoReturn:
    """Renew until a signal comes. A daemon may be away for a while; one that refuses ends it."""
    lost = False
    while True:
        time.sleep(AGAIN_SECONDS if lost else RENEW_SECONDS)
        try:
            take()
        except (DaemonUnreachableError, DaemonRefusedError) as error:
            if isinstance(error, DaemonRefusedError) and not error.passing:
                raise
            if not lost:
                complain(f"keepalive: {error}; trying on")
            lost = True
        else:
            if lost:
                complain("keepalive: the daemon holds the lease again")
            lost = False


def _release(access: Access, name: str) -> None:
    """Release a lease that is not needed any more; one that cannot be ends by itself within a minute."""
    with suppress(DaemonUnreachableError, DaemonRefusedError):
        release_lease(Daemon(access, seconds=RELEASE_SECONDS), name)


def _leave(_signum: int, _frame: FrameType | None) -> None:
    """End well: a lease that is held has no other end."""
    raise SystemExit(0)
