"""A text: read from whatever a path names, within a size and, where it is a pipe, within a time."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

LARGEST = 16 * 1024 * 1024
"""Bytes of a configuration: a hundred thousand targets written out take three million."""

SILENCE = 30.0
"""Seconds that a pipe's writer may say nothing: it may be asking a person for a passphrase."""

_CHUNK = 1024 * 1024
_UNREADABLE = {stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def read_text(path: Path, largest: int = LARGEST, silence: float = SILENCE) -> str:
    """Read UTF-8 text, with or without a byte order mark.

    A pipe, such as /dev/stdin or what a shell makes of `<(…)`, is read until its writers have left; it gives
    its text only once. The null device is an empty text; no other device is opened.

    Args:
        path: A file, a pipe or the null device.
        largest: Bytes that it may have.
        silence: Seconds that a pipe's writer may say nothing.

    Raises:
        ValueError: It cannot be read; the message says why, in words that follow the file's name.
    """
    try:
        return _read(path, largest, silence).decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError("does not exist") from None
    except PermissionError:
        raise ValueError("may not be read by this user") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 text (line {line})") from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def _read(path: Path, largest: int, silence: float) -> bytes:
    try:
        found = path.stat()
    except ValueError:
        raise ValueError("is not a file name") from None
    _check_kind(found)  # before it is opened: a device may do something then
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # else a pipe waits for a writer
    try:
        found = os.fstat(descriptor)
        _check_kind(found)
        data = _drain(descriptor, largest, silence)
    finally:
        os.close(descriptor)
    if len(data) > largest:
        raise ValueError(f"is larger than {largest // 1024:,} KiB")
    if not data and stat.S_ISFIFO(found.st_mode):
        raise ValueError("is a pipe that nobody has written to")
    return data


def _check_kind(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ValueError("is a directory, not a file")
    kind = _UNREADABLE.get(stat.S_IFMT(found.st_mode))
    if kind and found.st_rdev != Path(os.devnull).stat().st_rdev:
        raise ValueError(f"is {kind}, not a file")


def _drain(descriptor: int, largest: int, silence: float) -> bytes:
    """Read to the end, or a little more than `largest` bytes."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    data = bytearray()
    while len(data) <= largest:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:  # a pipe that somebody has open for writing
            if not ready.poll(silence * 1000):
                raise ValueError(f"is a pipe, and its writer said nothing for {silence:g} s") from None
            continue
        if not chunk:
            break
        data += chunk
    return bytes(data)
