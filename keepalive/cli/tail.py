"""`keepalive tail`: a live tail that does not end."""

from __future__ import annotations

from math import inf
from typing import Annotated

import typer

from keepalive.cli.aim import aim
from keepalive.cli.follow import Aim, Face, Follow
from keepalive.cli.loop import run_loop
from keepalive.cli.options import Options, SocketOption, complain, duration, warn
from keepalive.core.target import Target
from keepalive.livetail.filters import wanted_of


def tail(  # noqa: PLR0913 - one parameter for each option of the command
    options: Options,
    *,
    targets: Annotated[list[str], typer.Argument(metavar="[ACCOUNT/]SCRIPT...", show_default=False)],
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="FILTER", help="Such as 'level = error'; repeat it for more, all to be met."
        ),
    ] = None,
    any_of: Annotated[bool, typer.Option("--any", help="One of the filters is enough.")] = False,
    search: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only events whose message or error includes this text."),
    ] = None,
    filter_json: Annotated[
        str | None, typer.Option("--filter-json", metavar="JSON", help="A filter in the API's own JSON.")
    ] = None,
    since: Annotated[
        float | None,
        typer.Option(parser=duration, metavar="DURATION", help="Begin with what is stored of the last time."),
    ] = None,
    most: Annotated[
        int | None, typer.Option("-n", min=1, metavar="N", help="End after so many events.")
    ] = None,
    length: Annotated[
        float | None, typer.Option("--for", parser=duration, metavar="DURATION", help="End after so long.")
    ] = None,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who speaks for the targets, where several may.")
    ] = None,
    socket: SocketOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each event as it was received, one per line.")
    ] = False,
) -> None:
    """Show what Workers log, live, until Ctrl-C.

    It reconnects by itself, keeps its targets eligible, and fills gaps from what is stored; what cannot be
    had is said in its place. A filter is KEY OPERATION VALUE. Keys with short names: level, message, error,
    trigger, origin, service, outcome, script. Operations: = != > >= < <=, includes, excludes, starts_with,
    ends_with, matches, exists, not exists, in (a, b), not in (a, b).

    Example: keepalive tail api web --filter 'level = error' --since 5m
    """
    wanted = wanted_of(filters or (), any_of=any_of, search=search, as_json=filter_json)
    access = options.access(socket)
    configuration, aimed = aim(options, targets, credential)
    warn(configuration)
    aimed = _apart(aimed)
    follow = Follow(
        Aim(configuration, aimed, access, wanted, since),
        Face.of(options, configuration, aimed, as_json=as_json),
        most=inf if most is None else most,
        seconds=length,
    )
    if not run_loop(follow.run()):
        complain("keepalive: no stream could be opened in the time that --for gives")
        raise typer.Exit(1)


def _apart(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Leave out each script whose whole account is tailed too: its events would come twice."""
    kept = []
    for target in targets:
        if target.script_id is not None and target._replace(script_id=None) in targets:
            complain(
                f"keepalive: warning: {target.label} is tailed as a part of its whole account", "warning"
            )
        else:
            kept.append(target)
    return tuple(kept)
