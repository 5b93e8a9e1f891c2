from __future__ import annotations

import os
import pty
import termios
import tty
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from keepalive.livetail.status import ERASE, StatusLine, cut


class Terminal(NamedTuple):
    """A pseudo terminal: what is written to `side` is read back from `screen`."""

    screen: int
    side: int

    def shows(self, text: str) -> bool:
        found = b""
        while len(found) < len(text.encode()):
            found += os.read(self.screen, 65536)
        return found == text.encode()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    screen, side = pty.openpty()
    tty.setraw(side)
    termios.tcsetwinsize(side, (24, 20))
    yield Terminal(screen, side)
    os.close(screen)
    os.close(side)


def test_it_is_redrawn_in_place_and_cut_to_the_terminal(terminal: Terminal) -> None:
    status = StatusLine(terminal.side)

    status.show("api eligible")
    status.show("api eligible for a long time")

    assert terminal.shows(f"{ERASE}api eligible{ERASE}api eligible for a…")


def test_it_makes_room_for_what_is_printed_and_comes_back(terminal: Terminal) -> None:
    status = StatusLine(terminal.side)
    status.show("api eligible")
    with status.lifted():
        os.write(terminal.side, b"an event\n")
    status.end()

    assert terminal.shows(f"{ERASE}api eligible{ERASE}an event\napi eligible{ERASE}")


def test_before_it_is_shown_nothing_is_erased(terminal: Terminal) -> None:
    with StatusLine(terminal.side).lifted():
        os.write(terminal.side, b"an event\n")

    assert terminal.shows("an event\n")


def test_a_terminal_that_is_gone_is_no_fault() -> None:
    screen, side = pty.openpty()
    os.close(screen)
    status = StatusLine(side)

    status.show("api eligible")
    status.end()

    os.close(side)


def test_a_cut_text_says_so() -> None:
    assert (cut("abc", 3), cut("abcd", 3), cut("abcd", 0)) == ("abc", "ab…", "…")
