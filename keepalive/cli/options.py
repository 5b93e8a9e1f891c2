"""The options that every command has, after its name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keepalive.errors import ConfigError, ConfigFault
from keepalive.sinks.journal import prioritised, reads

if TYPE_CHECKING:
    from keepalive.config import Configuration
    from keepalive.config.access import Access

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

STDERR = 2


def _named(text: str) -> Path:
    if not text:
        raise typer.BadParameter("an empty text names no file; write one, or leave the option out")
    return Path(text)


@dataclass(frozen=True, slots=True)
class Options:
    """What was given of the options that every command has; the fields are their declaration too."""

    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", parser=_named, metavar="FILE", help="The configuration; else it is looked for."
        ),
    ] = None
    log_format: Annotated[
        LogFormat | None, typer.Option(help="How the log is written; auto is console on a terminal.")
    ] = None
    log_level: Annotated[LogLevel | None, typer.Option(help="The least level that is logged.")] = None
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; $NO_COLOR does the same.")] = False

    @property
    def color(self) -> bool:
        """True unless the command line or `$NO_COLOR` forbids colours."""
        return not (self.no_color or os.environ.get("NO_COLOR"))

    def read(self, environ: Mapping[str, str] | None = None) -> Configuration:
        """Read the configuration; `environ` stands in for the environment of the process.

        Raises:
            ConfigError: It has faults.
        """
        from keepalive.config import load  # noqa: PLC0415 - `keepalive --help` must not wait for pydantic

        given = {"log.format": self.log_format, "log.level": self.log_level}
        overrides = {key: value for key, value in given.items() if value is not None}
        environ = os.environ if environ is None else environ
        named = self.config or Path(environ.get("KEEPALIVE_CONFIG", ""))
        return load(self.config, overrides, environ, working_directory(named))

    def access(self, socket: Path | None = None) -> Access:
        """Find out where a running daemon may answer, whatever else the configuration says.

        Args:
            socket: What `--socket` names, or None.

        Raises:
            ConfigError: `--config` or `$KEEPALIVE_CONFIG` names a file that does not exist.
        """
        from keepalive.config.access import find_access  # noqa: PLC0415 - as above

        try:
            folder = Path.cwd()
        except OSError:  # it was deleted; that must not break a probe
            folder = Path("/")
        return find_access(self.config, os.environ, folder, socket)


SocketOption = Annotated[
    Path | None,
    typer.Option(
        "--socket", parser=_named, metavar="PATH", help="The daemon's Unix socket; else it is looked for."
    ),
]
"""What the commands that ask a running daemon have too."""


def duration(value: str | float) -> float:
    """Read a duration of the command line, for `typer.Option(parser=...)`."""
    from keepalive.config.duration import HINT, parse_duration  # noqa: PLC0415 - as below

    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} {error}; {HINT}") from None


def working_directory(config: Path | None) -> Path:
    """The working directory; where it was deleted, the folder of an absolute `config` stands in for it.

    Raises:
        ConfigError: It was deleted, and `config` says nothing without it.
    """
    try:
        return Path.cwd()
    except OSError as error:
        if config and config.is_absolute():
            return config.parent
        hint = "go to one that exists, or name the configuration by an absolute --config"
        found = f"cannot be found ({error.strerror})"
        raise ConfigError((ConfigFault("the working directory", "", found, hint),)) from None


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options; it gets them as `options` where it has such a parameter.

    A command that has a parameter of the same name keeps its own.
    """
    own = inspect.signature(command, eval_str=True).parameters
    common = inspect.signature(Options, eval_str=True).parameters
    added = [parameter for name, parameter in common.items() if name not in own]

    @wraps(command)
    def run(**values: object) -> None:
        given = {parameter.name: values.pop(parameter.name) for parameter in added}
        if "options" in own:
            values["options"] = Options(**given)  # type: ignore[arg-type] # typer has checked each against Options
        command(**values)

    kept = [parameter for name, parameter in own.items() if name != "options"]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*kept, *added)]
    run.__dict__["__signature__"] = inspect.Signature(parameters, return_annotation=None)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def warn(configuration: Configuration) -> None:
    """Tell on stderr what the configuration does that is allowed and yet unwise."""
    for warning in configuration.warnings:
        complain(f"keepalive: warning: {warning}", "warning")


def complain(text: str, level: LogLevel = "error") -> None:
    """Say on stderr what is wrong. That it cannot be written ends nobody: a full disk lapses no target."""
    with suppress(OSError):
        typer.echo(prioritised(text, level) if reads(STDERR) else text, err=True)
