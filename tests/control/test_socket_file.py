from __future__ import annotations

import errno
import socket
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from keepalive.control.socket_file import LONGEST_PATH, SocketFile, _alone_in
from keepalive.errors import ControlError


@contextmanager
def bound(path: Path, *, alive: bool) -> Iterator[None]:
    """The socket of another daemon, which answers or is dead."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        if alive:
            other.listen()
            yield
            return
    yield


def refused(path: Path) -> str:
    with pytest.raises(ControlError) as raised:
        SocketFile(path, 0o600)
    assert raised.value.address == str(path)
    assert raised.value.hint
    return raised.value.found


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_socket_has_the_mode_that_was_asked_for(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k.sock"

    with closing(SocketFile(path, mode)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert stat.S_ISSOCK(path.stat().st_mode)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
        assert list(tmp_path.iterdir()) == [path]


def test_it_is_gone_with_the_daemon(tmp_path: Path) -> None:
    SocketFile(tmp_path / "k.sock", 0o600).close()

    assert list(tmp_path.iterdir()) == []


def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    with bound(path, alive=False), closing(SocketFile(path, 0o600)), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))


def test_a_living_daemons_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    with bound(path, alive=True):
        assert refused(path) == "is another daemon's, which answers there"
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))


def test_a_daemon_with_no_room_for_callers_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    with closing(SocketFile(path, 0o600)) as file:
        file.socket.listen(0)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            assert refused(path) == "is another daemon's, which answers there"


def test_a_socket_that_another_daemon_took_over_stays_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    first = SocketFile(path, 0o600)
    first.socket.close()
    with closing(SocketFile(path, 0o600)):
        first.close()
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    path.write_text("precious")

    assert refused(path) == "is no socket"
    assert path.read_text() == "precious"


def test_a_link_is_left_alone(tmp_path: Path) -> None:
    path, precious = tmp_path / "k.sock", tmp_path / "precious"
    precious.write_text("precious")
    path.symlink_to(precious)

    assert refused(path) == "is no socket"
    assert precious.read_text() == "precious"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "none"

    assert refused(folder / "k.sock") == f"lies in no folder: {folder} does not exist"


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    assert refused(file / "k.sock") == f"lies in no folder: {file} does not exist"


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    assert "longer than the 107 bytes" in refused(tmp_path / ("k" * LONGEST_PATH))
    assert list(tmp_path.iterdir()) == []


def test_a_path_with_a_null_byte_is_none(tmp_path: Path) -> None:
    assert refused(tmp_path / "k\0.sock") == "is no path: a null byte is in it"
    assert refused(tmp_path / "\0" / "k.sock") == "is no path: a null byte is in it"


def test_a_process_without_descriptors_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)

    assert refused(tmp_path / "k.sock") == "cannot be made: Too many open files"


def test_a_folder_in_which_another_daemon_looks_for_its_place_is_left_for_later(tmp_path: Path) -> None:
    with _alone_in(tmp_path):
        assert refused(tmp_path / "k.sock") == "is being taken by another daemon"


def test_nothing_is_left_open_by_a_refusal(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    refused(tmp_path / "none" / "k.sock")

    assert len(list(Path("/proc/self/fd").iterdir())) == before
