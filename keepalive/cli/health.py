"""`keepalive health`: whether the daemon is well, for probes."""

from __future__ import annotations

from typing import Annotated

import typer

from keepalive.cli.options import Options, SocketOption
from keepalive.cli.probe import Probe


def health(
    options: Options,
    *,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether every configured target is eligible too.")
    ] = False,
    socket: SocketOption = None,
) -> None:
    """Say nothing while the daemon is well; else say why not.

    It asks by the daemon's socket, else by [http] listen. Well is a daemon that is on time with its
    heartbeats, whatever Cloudflare answers. Exits 1 when it is not, or when no daemon answers within 3 s.

    Example: keepalive health --ready
    """
    if reason := Probe(options.config, socket, ready).ask():
        typer.echo(reason)
        raise typer.Exit(1)
