"""An outlet: writes what a tail yields to standard output, from a thread of its own."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from keepalive.livetail.backlog import Backlog, Item
from keepalive.livetail.status import StatusLine

BATCH = 512
"""Records that are written at once."""


class Outlet:
    """Writes a backlog to a file descriptor: a pipe that nobody reads holds up this thread and nothing else.

    The descriptor is written to directly: a buffered stream would hold its lock while a pipe is full, and the
    interpreter could then not end.

    Attributes:
        fault: Why nothing can be written any more, or None; EPIPE when nobody reads.
        finished: True once all was written after it was closed.

    Args:
        descriptor: Usually 1.
        render: Turns a record into a line, without the newline at its end.
        gone: Called from the thread, once, when it ends: nothing is written any more.
        status: A line below all others, where both stand in one terminal.
    """

    def __init__(
        self,
        descriptor: int,
        render: Callable[[Item], str],
        gone: Callable[[], object],
        *,
        status: StatusLine | None = None,
    ) -> None:
        self.fault: OSError | None = None
        self.finished = False
        self._descriptor = descriptor
        self._render = render
        self._gone = gone
        self._status = status
        self._closing = False
        self._watched = True
        self._thread: Thread | None = None

    @property
    def broke(self) -> bool:
        """True where it ended by a bug, which was shown as one."""
        return self._closing and self._thread is None and self.fault is None and not self.finished

    def ring(self) -> None:
        """Wake the thread; the bell of its backlog."""
        if self._thread is not None:
            with suppress(BlockingIOError):  # it has been rung often enough
                os.write(self._wake_writer, b"\0")

    def open(self, backlog: Backlog) -> None:
        """Begin to write what is in a backlog."""
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._thread = Thread(target=self._run, args=(backlog,), name="keepalive-tail-outlet", daemon=True)
        self._thread.start()

    def close(self, timeout: float) -> bool:
        """Write what waits, for `timeout` seconds at most, and say whether all of it was written."""
        self._closing = True
        self.ring()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return False
            self._thread = None
            os.close(self._wake_reader)
            os.close(self._wake_writer)
        return self.finished

    def _run(self, backlog: Backlog) -> None:
        try:
            while self._wait(backlog):
                while items := backlog.take(BATCH):
                    self._write("".join([self._render(item) + "\n" for item in items]))
                    backlog.release(items)
            self.finished = True
        except OSError as error:  # a closed pipe or a full disk
            self.fault = error
        finally:
            self._gone()

    def _wait(self, backlog: Backlog) -> bool:
        """Sleep until something comes; False when nothing will. A reader that leaves meanwhile is noticed.

        Raises:
            OSError: Nobody reads the descriptor any more.
        """
        while backlog.sleep():
            if self._closing:
                return False
            poll = select.poll()
            poll.register(self._wake_reader, select.POLLIN)
            if self._watched:
                poll.register(self._descriptor, 0)  # the end of a pipe is told without being asked for
            for descriptor, what in poll.poll():
                if descriptor == self._wake_reader:
                    os.read(self._wake_reader, 4096)
                elif what & select.POLLNVAL:
                    self._watched = False  # a kind of file that cannot be polled; a write will tell
                else:
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return True

    def _write(self, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        if self._status is None:
            self._pour(data)
        else:
            with self._status.lifted():
                self._pour(data)

    def _pour(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # a terminal that another program has made non-blocking
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()
