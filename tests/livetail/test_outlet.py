from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from threading import Event as Flag
from threading import Thread

import pytest

from keepalive.core.target import Target
from keepalive.core.telemetry import Event
from keepalive.livetail.backlog import Backlog, Item
from keepalive.livetail.outlet import Outlet
from keepalive.livetail.record import Dropped
from keepalive.livetail.render import json_lines

API = Target("prod", "0123456789abcdef0123456789abcdef", "api")


def event(number: int, width: int = 0) -> Event:
    return Event(f'{{"n":{number},"x":"{"x" * width}"}}', str(number), number, "api")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


class Opened:
    """An outlet with its backlog, opened."""

    def __init__(
        self, descriptor: int, render: Callable[[Item], str] | None = None, *, most_records: int = 1000
    ) -> None:
        self.gone = Flag()
        self.outlet = Outlet(descriptor, render or json_lines(several=False), self.gone.set)
        self.backlog = Backlog(most_records=most_records, bell=self.outlet.ring)
        self.put = self.backlog.inlet(API)
        self.outlet.open(self.backlog)


def read_lines(reader: int, count: int) -> list[str]:
    found = b""
    while found.count(b"\n") < count:
        found += os.read(reader, 1 << 20)
    return found.decode().splitlines()


def test_events_come_out_whole_in_order_and_at_once(pipe: tuple[int, int]) -> None:
    opened = Opened(pipe[1])

    for number in range(3):
        opened.put(event(number))
        assert read_lines(pipe[0], 1) == [event(number).raw]
    for number in range(300):
        opened.put(event(number))

    assert read_lines(pipe[0], 300) == [event(number).raw for number in range(300)]
    assert opened.outlet.close(5)
    assert opened.outlet.fault is None


def test_a_pipe_that_nobody_reads_never_holds_up_who_puts_and_the_loss_is_told_exactly(
    pipe: tuple[int, int],
) -> None:
    opened = Opened(pipe[1], most_records=100)

    started = time.perf_counter()
    for number in range(20_000):
        opened.put(event(number, 1000))
    assert time.perf_counter() - started < 2
    lines: list[str] = []
    reader = Thread(target=lambda: lines.extend(read_all(pipe[0])))
    reader.start()
    while opened.backlog.waiting:
        time.sleep(0.001)
    opened.backlog.settle()
    assert opened.outlet.close(5)
    os.close(pipe[1])
    reader.join(5)

    *events, note = lines
    assert note == f'{{"$keepalive": {{"type": "dropped", "count": {opened.backlog.lost}}}}}'
    assert [event(number, 1000).raw for number in range(len(events))] == events
    assert len(events) + opened.backlog.lost == 20_000


def read_all(reader: int) -> list[str]:
    found = b""
    while chunk := os.read(reader, 1 << 20):
        found += chunk
    return found.decode().splitlines()


def test_a_reader_that_leaves_is_noticed_although_nothing_is_written(pipe: tuple[int, int]) -> None:
    opened = Opened(pipe[1])
    opened.put(event(1))
    read_lines(pipe[0], 1)

    os.close(pipe[0])

    assert opened.gone.wait(5)
    assert opened.outlet.fault is not None
    assert opened.outlet.fault.errno == errno.EPIPE
    assert not opened.outlet.close(5)


def test_a_reader_that_leaves_while_much_is_written_is_noticed_too(pipe: tuple[int, int]) -> None:
    opened = Opened(pipe[1])
    for number in range(100):
        opened.put(event(number, 10_000))

    os.close(pipe[0])

    assert opened.gone.wait(5)
    assert isinstance(opened.outlet.fault, BrokenPipeError)
    assert not opened.outlet.close(5)


def test_a_descriptor_that_cannot_be_written_says_why() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    opened = Opened(descriptor)
    opened.put(event(1))

    assert opened.gone.wait(5)
    assert opened.outlet.fault is not None
    assert opened.outlet.fault.errno == errno.EBADF
    assert not opened.outlet.close(5)
    os.close(descriptor)


def test_a_blocked_pipe_does_not_hold_up_the_end(pipe: tuple[int, int]) -> None:
    opened = Opened(pipe[1])
    for number in range(100):
        opened.put(event(number, 10_000))

    assert not opened.outlet.close(0.01)

    os.close(pipe[0])
    assert opened.gone.wait(5)
    assert not opened.outlet.close(5)


def test_a_descriptor_that_does_not_block_loses_nothing(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    opened = Opened(pipe[1])
    for number in range(100):
        opened.put(event(number, 10_000))

    assert read_lines(pipe[0], 100) == [event(number, 10_000).raw for number in range(100)]
    assert opened.outlet.close(5)


def test_what_waits_is_written_before_the_end(pipe: tuple[int, int]) -> None:
    opened = Opened(pipe[1])
    for number in range(10):
        opened.put(event(number))
    opened.put(Dropped(3))

    assert opened.outlet.close(5)
    lines = read_lines(pipe[0], 11)
    assert lines[:10] == [event(number).raw for number in range(10)]
    assert lines[10:] == ['{"$keepalive": {"type": "dropped", "count": 3}}']


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_renderer_that_breaks_ends_it_instead_of_printing_nothing_for_ever(pipe: tuple[int, int]) -> None:
    def broken(_: Item) -> str:
        raise ValueError

    opened = Opened(pipe[1], broken)
    opened.put(event(1))

    assert opened.gone.wait(5)
    assert not opened.outlet.close(5)
    assert opened.outlet.fault is None
    assert not opened.outlet.finished
