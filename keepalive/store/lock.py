"""A lock: one state belongs to one daemon."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from keepalive.errors import StoreLockedError


class Lock:
    """Held for as long as the process lives, however it ends; the file names the process that has it."""

    def __init__(self, path: Path, state: Path) -> None:
        """Take it.

        Raises:
            StoreLockedError: Another process has it.
            OSError: The file cannot be written.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._descriptor, 20).decode(errors="replace").strip()
            os.close(self._descriptor)
            found = f"is in use by another keepalive, process {owner if owner.isdecimal() else '(unknown)'}"
            hint = "stop that one, or give this one a [state] path of its own"
            raise StoreLockedError(str(state), found, hint) from None
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            os.close(self._descriptor)
            raise

    def holds(self) -> bool:
        """Whether its file is still where the next process would look for it."""
        ours = os.fstat(self._descriptor)
        try:
            found = self._path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)
