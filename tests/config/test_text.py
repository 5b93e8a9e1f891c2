from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from keepalive.config.text import read_text
from tests.support.configured import TARGETS, Folder


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe that nobody has open."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def writer(pipe: Path) -> Iterator[int]:
    """The pipe's other end."""
    descriptor = os.open(pipe, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_a_file_may_have_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x" * 2048)
    assert read_text(file, 2048) == "x" * 2048
    file.write_text("x" * 2049)
    with pytest.raises(ValueError, match=r"^is larger than 2 KiB$"):
        read_text(file, 2048)


def test_a_file_that_says_it_is_empty_is_read_to_its_end() -> None:
    assert "Name:" in read_text(Path("/proc/self/status"))


def test_a_pipe_that_nobody_writes_to_is_told_and_not_waited_for(pipe: Path) -> None:
    with pytest.raises(ValueError, match=r"^is a pipe that nobody has written to$"):
        read_text(pipe)


def test_a_pipe_whose_writer_is_silent_is_given_up(pipe: Path, writer: int) -> None:
    with pytest.raises(ValueError, match=r"^is a pipe, and its writer said nothing for 0\.02 s$"):
        read_text(pipe, silence=0.02)


def test_a_pipe_without_an_end_is_given_up(pipe: Path, writer: int) -> None:
    os.write(writer, b"x" * 4096)
    with pytest.raises(ValueError, match="larger"):
        read_text(pipe, 1024)


def test_a_pipe_is_read_until_its_writer_leaves() -> None:
    """As the shell hands it over for `-c <(…)`; it holds less than the text, so that the writer waits too."""
    text = "a line\n" * 50_000
    reader, writer = os.pipe()

    def write() -> None:
        with open(writer, "w") as stream:  # noqa: PTH123 - a descriptor
            stream.write(text)

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    assert read_text(Path(f"/dev/fd/{reader}")) == text
    writing.join()
    os.close(reader)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/ptmx"])
def test_a_device_is_refused_before_it_is_opened(device: str) -> None:
    with pytest.raises(ValueError, match=r"^is a device, not a file$"):
        read_text(Path(device))


def test_the_null_device_is_an_empty_text() -> None:
    assert read_text(Path(os.devnull)) == ""


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(ValueError, match=r"^is a socket, not a file$"):
            read_text(tmp_path / "s")


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_what_names_no_file_is_told(name: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a file name$"):
        read_text(Path(name))


def test_a_secret_is_no_film(folder: Folder) -> None:
    folder.write("s", "x" * 70_000)
    fault = folder.fault('[credentials.p]\napi_token_file = "s"\n' + TARGETS)
    assert "the file 's' is larger than 64 KiB; write the secret, and nothing else" in fault


def test_everything_that_is_read_may_be_a_pipe_and_none_of_them_waits(folder: Folder) -> None:
    for name in ("secret", "fleet", "keepalive.toml"):
        os.mkfifo(folder.path / name, 0o600)
    assert folder.fault().startswith("keepalive.toml: the configuration is a pipe that nobody has written to")
    secret, fleet = folder.faults('[credentials.p]\napi_token_file = "secret"\n[[targets]]\nfile = "fleet"\n')
    assert "the file 'secret' is a pipe that nobody has written to; " in secret
    assert "the file 'fleet' is a pipe that nobody has written to; " in fleet
