"""`keepalive status`: how the running daemon's targets stand, once, until all are eligible, or for ever."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from keepalive.cli.board import WORST_FIRST, Seen, Size, board, plain, title
from keepalive.cli.options import Options, SocketOption
from keepalive.config.access import Access
from keepalive.config.duration import HINT, parse_duration
from keepalive.control.answers import Json, TargetSaid, overview, rate_groups, targets
from keepalive.control.client import SECONDS, Daemon, named
from keepalive.errors import DaemonRefusedError, DaemonUnreachableError, KeepaliveError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

EVERY = 1.0
"""Seconds between two looks of `--watch`."""

BETWEEN_TRIES = 0.2
"""Seconds between two looks of `--wait`: the daemon cannot tell a process that it has not heard of."""


def _duration(value: str | float) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} {error}; {HINT}") from None


def status(  # noqa: PLR0913 - one parameter for each option of the command
    options: Options,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every second, until Ctrl-C; outlives the daemon.")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            parser=_duration, metavar="DURATION", help="Wait until all targets are eligible, at most so long."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List every target, whatever fits on the screen.")
    ] = False,
    socket: SocketOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Say how the running daemon's targets stand.

    Those that are not eligible come first, with the reason and what to do. Exits 0 when all are eligible, 1
    when not, 3 when no daemon answers. With --wait it waits for both; with --watch Ctrl-C ends it with 0.

    Example: keepalive status --wait 30s
    """
    access = options.access(socket)
    if watch:
        if wait is not None:
            raise UsageError("--watch and --wait exclude each other; leave one out")
        _watch(Daemon(access), as_json=as_json, color=options.color)
    daemon = Daemon(access) if wait is None else _awaited(access, wait)
    if as_json:
        well = _print_json(daemon, indent=2)
    else:
        console = _console(color=options.color)
        seen = _look(daemon, None if everything or console is None else console.height)
        _print(seen, console, everything=everything)
        well = seen.overview.targets.all_eligible
    if not well:
        raise typer.Exit(1)


def _awaited(access: Access, seconds: float) -> Daemon:
    """A daemon whose targets are all eligible, or whichever there is when the time is up.

    Raises:
        DaemonUnreachableError: There is none even then.
    """
    deadline = time.monotonic() + seconds
    while True:
        daemon = Daemon(access, seconds=max(BETWEEN_TRIES, min(SECONDS, deadline - time.monotonic())))
        late = time.monotonic() + BETWEEN_TRIES >= deadline
        try:
            if overview(daemon).targets.all_eligible or late:
                return Daemon(access)
        except DaemonUnreachableError:
            if late:
                raise
        time.sleep(BETWEEN_TRIES)


def _look(daemon: Daemon, most: int | None = None) -> Seen:
    """See the whole, at most so many targets, the worst first, and the rate groups."""
    whole = overview(daemon)
    found: dict[tuple[str, str], TargetSaid] = {}
    for state in WORST_FIRST:
        room = None if most is None else most - len(found)
        if getattr(whole.targets, state) and room != 0:
            for target in targets(daemon, [state], room):
                found.setdefault((target.target, target.credential), target)
    return Seen(whole, tuple(found.values()), tuple(rate_groups(daemon)))


# --- once ----------------------------------------------------------------------------------------


def _console(*, color: bool) -> Console | None:
    """The terminal, or None where standard output is none."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    return Console(no_color=not color, markup=False, highlight=False, emoji=False)


def _print(seen: Seen, console: Console | None, *, everything: bool) -> None:
    if console is None:
        typer.echo("\n".join(plain(board(seen, datetime.now(UTC)))))
        return
    from keepalive.cli.screen import drawn  # noqa: PLC0415 - as above

    size = None if everything else Size(console.width, console.height - 1)  # the prompt comes below
    console.print(drawn(board(seen, datetime.now(UTC), size)))


def _print_json(daemon: Daemon, *, indent: int | None) -> bool:
    """Print everything, and say whether all targets are eligible."""
    whole = overview(daemon)
    report: Json = {
        **whole.as_json(),
        "socket": named(daemon.address) if daemon.address else None,
        "target_list": [target.as_json() for target in targets(daemon)],
        "rate_group_list": [group.as_json() for group in rate_groups(daemon)],
    }
    typer.echo(json.dumps(report, ensure_ascii=False, indent=indent))
    return whole.targets.all_eligible


# --- for ever ------------------------------------------------------------------------------------


def _watch(daemon: Daemon, *, as_json: bool, color: bool) -> NoReturn:
    """Look every second until a signal ends it.

    The first look has to find a daemon; later it may go and come.
    """
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _leave)
    console = None if as_json else _console(color=color)
    if as_json:
        _look_on(lambda: _print_json(daemon, indent=None), _print_loss)
    elif console is None:
        _look_on(lambda: _print_title(daemon), lambda error, _: typer.echo(f"{_stamp()} {error}"))
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    from keepalive.cli.screen import drawn, lost  # noqa: PLC0415 - as above

    def show() -> None:
        size = Size(console.width, console.height)
        live.update(drawn(board(_look(daemon, size.height), datetime.now(UTC), size)), refresh=True)

    def miss(error: KeepaliveError, seconds: float) -> None:
        live.update(lost(error, seconds), refresh=True)

    with Live(console=console, auto_refresh=False) as live:
        _look_on(show, miss)


def _look_on(show: Callable[[], object], miss: Callable[[KeepaliveError, float], object]) -> NoReturn:
    """Show again and again; `miss` gets what went wrong after the first time, and the seconds since then."""
    show()
    since = None
    while True:
        time.sleep(EVERY)
        try:
            show()
            since = None
        except (DaemonUnreachableError, DaemonRefusedError) as error:
            now = time.monotonic()
            since = now if since is None else since
            miss(error, now - since)


def _print_title(daemon: Daemon) -> None:
    typer.echo(f"{_stamp()} {title(overview(daemon))}")


def _print_loss(error: KeepaliveError, _: float) -> None:
    typer.echo(json.dumps({"schema": 1, "error": str(error)}, ensure_ascii=False))


def _stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")[:-6] + "Z"


def _leave(_signum: int, _frame: FrameType | None) -> None:
    """End well: a view without an end has no other one."""
    raise SystemExit(0)
