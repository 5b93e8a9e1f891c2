"""The probe: what `keepalive health` does, without the library of the command line.

A container asks every few seconds, and typer would take four times as long as the rest: it brings pydantic
for every option. So plain arguments are read here, and whatever else is given is left to typer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keepalive.config.access import find_access
from keepalive.control.client import Daemon, json_object, refusal
from keepalive.errors import ConfigError, DaemonUnreachableError

SECONDS = 3.0
"""Seconds that the daemon may take to answer."""

_NAMES = {"-c": "config", "--config": "config", "--socket": "socket"}


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to the daemon.

    Attributes:
        config: The file that `--config` names, or None.
        socket: The socket that `--socket` names, or None.
        ready: Whether every configured target has to be eligible too.
    """

    config: Path | None = None
    socket: Path | None = None
    ready: bool = False

    def ask(self) -> str:
        """Say why the daemon is not well; "" when it is."""
        path, key = ("/readyz", "ready") if self.ready else ("/healthz", "healthy")
        try:
            access = find_access(self.config, os.environ, _folder(), self.socket)
            reply = Daemon(access, seconds=SECONDS, by_tcp=True).ask("GET", path)
        except (ConfigError, DaemonUnreachableError) as error:
            return str(error)
        said = json_object(reply) or {}
        if reply.status == 200 and said.get(key) is True:
            return ""
        reason = said.get("reason")
        return reason if isinstance(reason, str) and reason else str(refusal(reply))


def read_arguments(arguments: Sequence[str]) -> Probe | None:
    """Read what stands behind `health`; None where it is anything but plain, such as `--help` or a slip."""
    paths: dict[str, Path] = {}
    ready = False
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in _NAMES and not (equals and name == "-c"):
            value = value if equals or not rest else rest.pop(0)
            if not value:
                return None
            paths[_NAMES[name]] = Path(value)
        elif name == "--ready" and not equals:
            ready = True
        else:
            return None
    return Probe(paths.get("config"), paths.get("socket"), ready)


def _folder() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was deleted; that must not break a probe
        return Path("/")
