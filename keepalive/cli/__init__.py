"""The command line as a process: its standard streams, its signals, and its end."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

ENDLESS = frozenset({"run", "tail", "demo", "emulator"})
"""Commands that a signal ends as it should; and so does it `status --watch` and `lease add --hold`."""

_ENDLESS_WITH = {"status": "--watch", "lease": "--hold"}


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    _open_standard_streams()
    leave = _Leave(0 if _endless(sys.argv[1:]) else None)
    code: str | int | None = 0
    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            # What a background job of a script ignores, the command of `exec` shall ignore too.
            if sys.argv[1:2] != ["exec"] or signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, leave)
        if sys.argv[1:2] == ["run"]:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the file is still to be read
        code = _probe() if sys.argv[1:2] == ["health"] else None
        if code is None:
            from keepalive.cli.commands import command_line  # noqa: PLC0415 - a signal may come meanwhile

            command_line(lambda: leave.code is not None)
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:  # after a command that listened by itself, asyncio puts Python's own way back
        code = 128 + signal.SIGINT
    if leave.code is not None:
        code = leave.code
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # what cannot be written was told already
            stream.flush()
    # A name server that hangs holds a thread of asyncio's, and the interpreter would wait for it.
    os._exit(code if isinstance(code, int) else bool(code))


def _probe() -> int | None:
    """Answer a plain `health` at once; None where its arguments need the whole command line."""
    from keepalive.cli.probe import read_arguments  # noqa: PLC0415 - only this command needs it

    if (probe := read_arguments(sys.argv[2:])) is None:
        return None
    reason = probe.ask()
    with suppress(OSError):  # the exit code says it too
        print(reason, end="\n" if reason else "", flush=True)  # noqa: T201 - typer would be waited for
    return 1 if reason else 0


def _endless(arguments: list[str]) -> bool:
    """Whether a signal is how this command ends."""
    name, *rest = arguments or [""]
    return name in ENDLESS or _ENDLESS_WITH.get(name) in rest


class _Leave:
    """What SIGINT and SIGTERM do until a command listens by itself: end it without a word.

    Attributes:
        code: The exit code, once a signal came.
    """

    def __init__(self, code: int | None) -> None:
        """Say how it shall end; None stands for 128 and the signal's number."""
        self.code: int | None = None
        self._code = code

    def __call__(self, signum: int, _frame: FrameType | None) -> None:
        """End at once, but for what has to be cleaned up; the second time without that."""
        if self.code is not None:
            os._exit(self.code)
        self.code = 128 + signum if self._code is None else self._code
        sys.exit(self.code)


def _open_standard_streams() -> None:
    """Open what was closed of stdin, stdout and stderr: else the next socket would get its number.

    The log goes nowhere then. What is written to stdout fails, as it should for who asked for it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
