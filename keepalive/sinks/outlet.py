"""An outlet: writes lines to a file descriptor from a thread of its own, so that nobody waits for a pipe."""

from __future__ import annotations

import os
import select
from queue import Empty, SimpleQueue
from threading import Thread

CAPACITY = 8192
"""Lines that may wait; about three megabytes."""

_BATCH = 64


class Outlet:
    """Takes lines from one thread and writes them in another; what does not fit is counted.

    The descriptor is written to directly: a buffered stream would hold its lock while a pipe is full,
    and the interpreter could then not end.

    Attributes:
        dropped: Lines that were lost, because too many waited or the descriptor is broken.
    """

    def __init__(self, descriptor: int, *, capacity: int = CAPACITY) -> None:
        self._descriptor = descriptor
        self._capacity = capacity
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._broken = False
        self.dropped = 0
        self._writer = Thread(target=self._write_all, name="keepalive-outlet", daemon=True)
        self._writer.start()

    @property
    def room(self) -> int:
        """Lines that fit now."""
        return 0 if self._broken else self._capacity - self._lines.qsize()

    def write(self, line: str) -> None:
        """Queue a line, without the newline at its end. Never blocks."""
        if self.room > 0:
            self._lines.put(line)
        else:
            self.dropped += 1

    def close(self, timeout: float) -> bool:
        """Write what waits, for `timeout` seconds at most, and say whether all of it was written."""
        self._lines.put(None)
        self._writer.join(timeout)
        return not (self._broken or self._writer.is_alive())

    def _write_all(self) -> None:
        """The thread: take lines in batches and write them until the end or the first error."""
        more = True
        try:
            while more:
                lines, more = self._batch()
                self._write("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
        except OSError:
            self._broken = True  # a closed pipe or a full disk: there is nobody left to tell

    def _batch(self) -> tuple[list[str], bool]:
        """Wait for a line and take what else is there; False after the last one."""
        line, lines = self._lines.get(), []
        while line is not None:
            lines.append(line)
            if len(lines) == _BATCH:
                return lines, True
            try:
                line = self._lines.get_nowait()
            except Empty:
                return lines, True
        return lines, False

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # a terminal that another program has made non-blocking
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()
