"""The socket's file: where commands find a running daemon. It is one daemon's at a time."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from keepalive.errors import ControlError

LONGEST_PATH = 107
"""Bytes of a path that `sockaddr_un` of unix(7) has room for, its final zero aside; macOS has four less."""


class SocketFile:
    """A listening Unix socket at a path, with the mode that was asked for from its first moment on.

    Every call takes some system calls in a folder of the machine's own memory, as a rule: not worth a thread.
    """

    def __init__(self, path: Path, mode: int) -> None:
        """Take the path over from a daemon that is dead.

        Raises:
            ControlError: It is somebody else's, or cannot be made; whatever is there is untouched.
        """
        self.path = path
        try:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise ControlError(str(path), *_explain(path, error)) from None
        self.socket.setblocking(False)
        try:
            self._inode = self._take(mode)
        except (OSError, ValueError) as error:
            self.socket.close()
            raise ControlError(str(path), *_explain(path, error)) from None
        except ControlError:
            self.socket.close()
            raise

    def _take(self, mode: int) -> tuple[int, int]:
        with _alone_in(self.path.parent), TemporaryDirectory(prefix=".", dir=self.path.parent) as private:
            # Nobody else can enter the folder: there is no moment at which a wrong mode lets anybody in.
            new = Path(private, "s")
            if max(len(os.fsencode(each)) for each in (self.path, new)) > LONGEST_PATH:
                found = f"is longer than the {LONGEST_PATH} bytes that a socket's path may have"
                raise ControlError(str(self.path), found, "write a shorter path, such as /run/keepalive.sock")
            self._check_free()
            self.socket.bind(str(new))
            new.chmod(mode)
            self.socket.listen()
            inode = _inode(new)
            new.rename(self.path)
            return inode

    def _check_free(self) -> None:
        """Make sure that nobody answers at the path."""
        try:
            kind = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(kind):
            found, hint = "is no socket", "move it away, or write another path into [control] socket"
            raise ControlError(str(self.path), found, hint)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.setblocking(False)
            try:
                caller.connect(str(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                return  # whoever bound it is dead
            except BlockingIOError:
                pass  # it has more callers than it can take
        hint = "stop that one, or give this one a [control] socket of its own"
        raise ControlError(str(self.path), "is another daemon's, which answers there", hint)

    def is_gone(self) -> bool:
        """Whether nobody finds this socket any more: its file was removed, or is another one."""
        try:
            return _inode(self.path) != self._inode
        except OSError as error:
            return isinstance(error, FileNotFoundError | NotADirectoryError)

    def close(self) -> None:
        """Close it, and remove the file unless another daemon has taken it over."""
        self.socket.close()
        with suppress(OSError):
            if _inode(self.path) == self._inode:
                self.path.unlink()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other daemons from taking a path in this folder: two would both find it free.

    Raises:
        OSError: The folder cannot be read, or another daemon is at it right now.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _explain(path: Path, error: OSError | ValueError) -> tuple[str, str]:
    """What is wrong with a path, and what to do about it."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return (
                f"lies in no folder: {path.parent} does not exist",
                "make it, or write another [control] socket",
            )
        case PermissionError():
            hint = f"let keepalive's user write to {path.parent}, or write another [control] socket"
            return "cannot be made: permission denied", hint
        case BlockingIOError():
            return "is being taken by another daemon", "give this one a [control] socket of its own"
        case ValueError():
            return "is no path: a null byte is in it", "write another path into [control] socket"
        case _:
            return f"cannot be made: {error.strerror}", "write another path into [control] socket"
