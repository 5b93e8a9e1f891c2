"""`keepalive reload`: another configuration in force, or the reasons why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import typer

from keepalive.cli.options import Options, SocketOption, complain
from keepalive.control.answers import Reloaded
from keepalive.control.answers import reload as ask_to_reload
from keepalive.control.client import Daemon

SECONDS = 60.0
"""Seconds that it may take: a secret may come through a pipe whose writer is slow."""


def reload(
    options: Options,
    *,
    socket: SocketOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Have the running daemon read its configuration again, and say what changed.

    As SIGHUP, but it waits for the end. A configuration with faults changes nothing: they are told, and it
    exits 1. Exits 3 when no daemon answers.

    Example: keepalive reload --config /etc/keepalive/keepalive.toml
    """
    said = ask_to_reload(Daemon(options.access(socket), seconds=SECONDS))
    if as_json:
        typer.echo(json.dumps(said.as_json(), ensure_ascii=False, indent=2))
    elif said.reloaded:
        typer.echo("; ".join(_changes(said)))
    else:
        for fault in said.faults:
            complain(f"keepalive: {fault}")
        complain("keepalive: nothing was reloaded; the old configuration stays in force")
    if not said.reloaded:
        raise typer.Exit(1)


def _changes(said: Reloaded) -> Iterator[str]:
    targets = "1 target" if said.targets == 1 else f"{said.targets:,} targets"
    yield f"reloaded: {targets}, {said.added:,} added, {said.removed:,} removed"
    if said.credentials:
        yield f"new secret for {', '.join(said.credentials)}"
    if said.restart_needed:
        count = "counts" if len(said.restart_needed) == 1 else "count"
        yield f"{', '.join(said.restart_needed)} {count} after a restart"
