"""A child: one command as a process of its own, and the signals that reach it through this one.

The command stays in this process group, so it owns the terminal as if keepalive were not there. What the
terminal sends (Ctrl-C, Ctrl-Z, a new size) reaches it by itself and must not reach it twice: a second SIGINT
means more than one. So signals are not handled but read, with who sent them: the kernel's are left to it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from shutil import which
from threading import Thread

from keepalive.errors import CommandNotFoundError, CommandNotRunnableError

_LEFT_ALONE = frozenset(
    number
    for name in (
        *("SIGKILL", "SIGSTOP"),  # nobody can read these
        *("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS"),  # faults of this process
        *("SIGPIPE", "SIGXCPU", "SIGXFSZ", "SIGPROF", "SIGVTALRM"),  # and what it does itself
        *("SIGTTIN", "SIGTTOU"),  # it speaks to the terminal from the background
    )
    if (number := getattr(signal, name, None)) is not None
)

_OF_THE_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH, signal.SIGHUP})

_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores, and other programs want to end them."""


@dataclass(frozen=True, slots=True)
class Caught:
    """A signal that came.

    Attributes:
        number: Which.
        for_all: Whether the kernel sent it to the whole process group, the child included.
    """

    number: int
    for_all: bool


class Signals:
    """What this process can take of signals, blocked, so that they wait for `listen`."""

    def __init__(self) -> None:
        """Block them. What was ignored stays ignored, here and by the child: nohup(1) wants it so."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored nobody learns how a child ended
        ignored = {each for each in signal.valid_signals() if signal.getsignal(each) is signal.SIG_IGN}
        self._taken = signal.valid_signals() - _LEFT_ALONE - ignored
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, self._taken)

    def listen(self, loop: asyncio.AbstractEventLoop, tell: Callable[[Caught], None]) -> None:
        """Read them in a thread for as long as the process lives, and tell each in the loop."""

        def read() -> None:
            with suppress(RuntimeError):  # the loop is closed
                while True:
                    loop.call_soon_threadsafe(tell, _next(self._taken))

        Thread(target=read, name="keepalive-signals", daemon=True).start()

    def restore(self) -> None:
        """Let them through again."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


@contextmanager
def signals() -> Iterator[Signals]:
    """Hold signals back as long as this is entered."""
    held = Signals()
    try:
        yield held
    finally:
        held.restore()


def _next(taken: set[signal.Signals]) -> Caught:
    if not hasattr(signal, "sigwaitinfo"):  # macOS: a signal of the terminal's is known by its kind alone
        number = int(signal.sigwait(taken))
        return Caught(number, number in _OF_THE_TERMINAL and in_foreground())
    found = signal.sigwaitinfo(taken)
    by_kernel = found.si_code > 0  # sigaction(2): what a process sent has a code of 0 or less
    if found.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid():
        by_kernel = False  # a terminal that closes tells the leader of its session alone
    return Caught(found.si_signo, by_kernel)


def in_foreground() -> bool:
    """Whether this process has a terminal and may read from it."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


class Child:
    """A running command.

    Attributes:
        ended: Its exit code, or 128 and the number of the signal that ended it.
    """

    def __init__(self, pid: int) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pid = pid

    @classmethod
    def start(cls, command: list[str], held: Signals) -> Child:
        """Start a command with the standard streams, the environment and the signals that this process got.

        Raises:
            CommandNotFoundError: There is none of that name.
            CommandNotRunnableError: It is there, and cannot be run.
        """
        name = command[0]
        if not name:  # as a shell takes it; Python calls it a wrong argument
            raise CommandNotFoundError(name)
        try:
            pid = os.posix_spawnp(name, command, os.environ, setsigmask=held.before, setsigdef=_RESTORED)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                if which(name):
                    raise CommandNotRunnableError(name, "its interpreter does not exist") from None
                raise CommandNotFoundError(name) from None
            raise CommandNotRunnableError(name, error.strerror or str(error)) from None
        return cls(pid)

    def take(self, caught: Caught) -> None:
        """Pass a signal on, or look after children that changed."""
        if caught.number == signal.SIGCHLD:
            self.reap()
        elif not caught.for_all and not self.ended.done():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, caught.number)

    def reap(self) -> None:
        """Take note of every child that ended: as process 1 of a container this one inherits orphans."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
                if not pid:
                    return
                if pid == self._pid:
                    self._note(status)

    def _note(self, status: int) -> None:
        if os.WIFSTOPPED(status):
            if in_foreground():  # the shell waits for this process, and shall have its terminal back
                os.kill(os.getpid(), signal.SIGSTOP)
            return
        code = os.waitstatus_to_exitcode(status)
        self.ended.set_result(code if code >= 0 else 128 - code)
