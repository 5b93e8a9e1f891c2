from __future__ import annotations

import os
import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from keepalive.sinks.outlet import Outlet


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def read_all(reader: int) -> bytes:
    os.set_blocking(reader, False)
    found = b""
    while True:
        try:
            chunk = os.read(reader, 1 << 20)
        except BlockingIOError:
            return found
        if not chunk:
            return found
        found += chunk


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1])
    lines = [f"line {number} ä" for number in range(1000)]

    for line in lines:
        outlet.write(line)

    assert outlet.close(5)
    assert read_all(pipe[0]).decode().splitlines() == lines
    assert outlet.dropped == 0


def test_a_pipe_that_nobody_reads_never_blocks_the_caller_and_what_is_lost_is_counted(
    pipe: tuple[int, int],
) -> None:
    outlet = Outlet(pipe[1], capacity=10)
    line = "x" * 100_000  # more than a pipe holds

    started = time.perf_counter()
    for _ in range(1000):
        outlet.write(line)
    spent = time.perf_counter() - started

    assert spent < 1
    assert 900 <= outlet.dropped < 1000
    assert not outlet.close(0.01)
    os.close(pipe[0])
    assert not outlet.close(5)  # the writer has ended before its descriptor's number is given away again


def test_writing_goes_on_once_the_pipe_is_read_again(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1], capacity=2)
    for _ in range(10):
        outlet.write("x" * 100_000)
    seen, last = bytearray(), Event()

    def read() -> None:
        while not seen.endswith(b"last\n"):
            seen.extend(os.read(pipe[0], 1 << 20))
        last.set()

    reader = Thread(target=read, daemon=True)
    reader.start()
    while not outlet.room:
        time.sleep(0.001)
    outlet.write("last")

    assert outlet.close(5)
    assert last.wait(5)
    reader.join(5)
    assert seen.count(b"\n") == 11 - outlet.dropped


def test_a_descriptor_that_does_not_block_loses_nothing(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    outlet = Outlet(pipe[1])
    outlet.write("x" * 300_000)
    seen = bytearray()

    while len(seen) < 300_001:
        seen.extend(os.read(pipe[0], 1 << 20))

    assert outlet.close(5)
    assert seen == b"x" * 300_000 + b"\n"


def test_a_broken_pipe_ends_the_writing_quietly(
    pipe: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    os.close(pipe[0])
    outlet = Outlet(pipe[1])
    outlet.write("nobody reads this")
    assert not outlet.close(5)

    outlet.write("nor this")

    assert outlet.dropped == 1
    assert capfd.readouterr() == ("", "")


def test_a_descriptor_that_is_closed_is_no_fault_of_the_caller() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    outlet = Outlet(writer)
    outlet.write("nowhere")

    assert not outlet.close(5)


def test_text_that_no_encoding_carries_is_escaped(pipe: tuple[int, int]) -> None:
    outlet = Outlet(pipe[1])
    outlet.write("\ud800")
    outlet.close(5)

    assert read_all(pipe[0]) == b"\\ud800\n"
