"""A status line: redrawn in place at the foot of a terminal, never mixed into what is printed above it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

ERASE = "\r\x1b[K"
"""Empties the line that the cursor is in."""


class StatusLine:
    """One line of a terminal. Any thread may draw it, and waits as long as the terminal does.

    A terminal that is gone is no fault.

    Args:
        descriptor: Usually 2.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = Lock()
        self._text = ""

    def show(self, text: str) -> None:
        """Put another text there, cut to the terminal's width."""
        with self._lock:
            self._text = cut(text, self._columns() - 1)
            self._put(ERASE + self._text)

    def end(self) -> None:
        """Take it away for good."""
        self.show("")

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Take it away while something is printed in its place."""
        with self._lock:
            if self._text:
                self._put(ERASE)
            yield
            if self._text:
                self._put(self._text)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._descriptor).columns or 80
        except OSError:
            return 80

    def _put(self, text: str) -> None:
        with suppress(OSError):
            os.write(self._descriptor, text.encode(errors="backslashreplace"))


def cut(text: str, most: int) -> str:
    """Cut a text to so many characters, and say so."""
    return text if len(text) <= most else f"{text[: max(0, most - 1)]}…"
