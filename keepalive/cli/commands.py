"""The commands: each in a file of its own, imported when it is called, and how each of them may end."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Annotated, Any, TextIO, cast

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.main import get_command

from keepalive._version import __version__
from keepalive.cli.options import complain, with_options
from keepalive.errors import ConfigError, KeepaliveError, OutputError

COMMANDS: Mapping[str, str] = {
    "run": "Hold all targets eligible until stopped: the daemon, in the foreground.",
    "once": "Send one heartbeat per target, and say which are eligible.",
    "check": "Say what the configuration means and whether its tokens are good; send no heartbeat.",
    "config": "Explain the configuration.",
    "init": "Write a commented configuration.",
    "status": "Say how the running daemon's targets stand.",
    "health": "Say nothing while the daemon is well; else say why not.",
    "reload": "Have the running daemon read its configuration again, and say what changed.",
    "tail": "Show what Workers log, live, until Ctrl-C.",
    "exec": "Keep targets eligible for as long as a command runs.",
    "lease": "Have the running daemon hold targets for a while.",
    "calibrate": "Measure how long one accepted heartbeat keeps a live tail going.",
    "simulate": "Play hours of heartbeats and faults in virtual time against a model of Cloudflare.",
    "demo": "Play keepalive against a local Cloudflare, with faults on the way.",
    "emulator": "Run a local Cloudflare until Ctrl-C, for tests of other programs.",
}
"""Every command with its line in `--help`; `keepalive.cli.NAME` has a function or a Typer app called NAME."""

LONGEST_REPORT = 200
"""Faults that are told one by one; a fleet file can have a hundred thousand."""

_SOFTWARE_FAULT = 70
"""EX_SOFTWARE of sysexits.h, as 78 is its EX_CONFIG: a bug must not look like a target that lapsed."""

_NOBODY_READS = 141
"""What a shell says of a program that SIGPIPE ended, which Python ignores."""

_CONTEXT = {"help_option_names": ["-h", "--help"]}


class _Commands(TyperGroup):
    """Lists every command by the table, and imports only the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, line in COMMANDS.items():
            self.add_command(TyperCommand(name, short_help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the arguments name; the real one, not its line in the table."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _command(name) if name else command, rest


def _command(name: str) -> Any:
    module = import_module(f"keepalive.cli.{name}")
    entry: Callable[..., None] | typer.Typer = getattr(module, name)
    if isinstance(entry, typer.Typer):
        group = entry
        for command in group.registered_commands:
            if command.callback:
                command.callback = with_options(command.callback)
    else:
        group = typer.Typer(context_settings=_CONTEXT, add_completion=False, rich_markup_mode=None)
        group.command(name, cls=getattr(module, "SHAPE", None))(with_options(entry))
    return _plainly_spoken(get_command(group))


class _Argument(TyperArgument):
    """Is called in `--help` what we call it: typer puts braces, dots and a type of Python's around that."""

    def get_usage_pieces(self, _ctx: Any) -> list[str]:
        return [str(self.metavar)]

    def get_help_record(self, _ctx: Any) -> tuple[str, str] | None:
        return (str(self.metavar), self.help) if self.help else None


def _plainly_spoken(command: Any) -> Any:
    """The same command, with the arguments of it and of those below it named as we name them."""
    for argument in command.params:
        if isinstance(argument, TyperArgument) and argument.metavar:
            argument.__class__ = _Argument
    for below in getattr(command, "commands", {}).values():
        _plainly_spoken(below)
    return command


app = typer.Typer(
    name="keepalive",
    cls=_Commands,
    context_settings=_CONTEXT,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if asked:
        typer.echo(f"keepalive {__version__}")
        raise typer.Exit


@app.callback()
def _keepalive(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold Cloudflare live-tail sessions open.

    Start with `keepalive init`, then `keepalive check`, then `keepalive run`.

    Example: keepalive run --config keepalive.toml
    """


class _Output:
    """Standard output, whose faults end a command as what they are: no bugs of ours."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise OutputError(error) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def command_line(left: Callable[[], bool] = bool) -> None:
    """Run the command that the arguments name. An expected error is one message and an exit code.

    Args:
        left: Says whether a signal has ended the command: what a library then makes of it is no bug.

    Raises:
        SystemExit: Always; a traceback is printed for a bug only.
    """
    try:
        with redirect_stdout(cast("TextIO", _Output(sys.stdout))):
            app(prog_name="keepalive")
    except OutputError as error:
        if error.errno == errno.EPIPE:  # as in `keepalive check | head -1`
            sys.exit(_NOBODY_READS)
        complain(f"keepalive: {error}")
        sys.exit(error.exit_code)
    except KeepaliveError as error:
        _tell(error)
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001 - the last frame of all: whatever comes here is a bug, and is shown as one
        if not left():
            bug = "this is a bug in keepalive; please report the lines above"
            complain(f"{traceback.format_exc()}keepalive: {bug}")
        sys.exit(_SOFTWARE_FAULT)


def _tell(error: KeepaliveError) -> None:
    lines = str(error).splitlines()
    if isinstance(error, ConfigError):
        count = len(error.faults)
        lines = [str(fault) for fault in error.faults[:LONGEST_REPORT]]
        if count > LONGEST_REPORT:
            lines.append(f"… and {count - LONGEST_REPORT:,} more faults")
        lines.append(f"{count:,} {'fault' if count == 1 else 'faults'}; nothing was sent")
    for line in lines:
        complain(f"keepalive: {line}")
