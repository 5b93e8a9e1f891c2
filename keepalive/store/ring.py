"""A ring: when the last calls of one rate group left, in a memory-mapped file that outlives a SIGKILL."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keepalive.errors import StoreError

_MAGIC = b"keepring"
_VERSION = 1
_HEADER = struct.Struct("=8sII48s")
"""Magic, version, capacity and boot id; the stamps follow, eight bytes each."""


class Calls(NamedTuple):
    """What a ring held when it was opened.

    Attributes:
        moments: When calls left, oldest first, on this boot's clock.
        carried_over: True when they are of an earlier boot and count as sent now.
    """

    moments: tuple[float, ...]
    carried_over: bool = False


class Ring:
    """The send stamps of one rate group.

    A charge is one store of eight bytes to memory that the kernel keeps when the process dies; nothing is
    written to a disk while anybody waits. The oldest stamp is overwritten, so the capacity has to be at
    least as many calls as may count at a time.
    """

    def __init__(self, path: Path, capacity: int, boot_id: str, *, now: float, period: float) -> None:
        """Open or begin it.

        Args:
            path: The file; made with mode 0600 where there is none.
            capacity: Calls that may count at a time.
            boot_id: This boot.
            now: The moment, in seconds since this boot.
            period: Seconds for which a call counts.

        Raises:
            StoreError: It cannot be read or written, or is no ring of this version; it is left as it was.
        """
        self.path = path
        try:
            found = _read(path)
            self.calls, fits = _still_counting(found, capacity, boot_id, now=now, period=period)
            if not fits:
                _write(path, capacity, boot_id, self.calls.moments)
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), 0)
        except OSError as error:
            hint = f"make room and let keepalive write to {path.parent}, or set [state] path to another place"
            raise StoreError(str(path), f"cannot be written: {_reason(error)}", hint) from None
        self._stamps = memoryview(self._map)[_HEADER.size :].cast("d")
        self._next = _behind_newest(self._stamps)

    def charge(self, at: float) -> None:
        """Remember one call."""
        self._stamps[self._next] = at
        self._next = (self._next + 1) % len(self._stamps)

    def close(self) -> None:
        """Let go of the file."""
        self._stamps.release()
        self._map.close()


class _Found(NamedTuple):
    boot_id: str
    stamps: tuple[float, ...]


def _read(path: Path) -> _Found | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    hint = "move it away and restart: until then a restart forgets what was sent"
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise StoreError(str(path), "is damaged, or no ledger of keepalive's", hint)
    _, version, capacity, boot_id = _HEADER.unpack_from(data)
    if version != _VERSION:
        newer = "install that version again, or set [state] path to another place"
        raise StoreError(str(path), f"was written by another version of keepalive (format {version})", newer)
    if len(data) != _HEADER.size + 8 * capacity:
        raise StoreError(str(path), "is damaged: it has not the size that it names", hint)
    stamps = memoryview(data)[_HEADER.size :].cast("d").tolist()
    return _Found(boot_id.rstrip(b"\0").decode(errors="replace"), tuple(stamps))


def _still_counting(
    found: _Found | None, capacity: int, boot_id: str, *, now: float, period: float
) -> tuple[Calls, bool]:
    """What of a file still counts, and whether that file can be gone on with as it is."""
    if found is None:
        return Calls(()), False
    stamps = sorted(stamp for stamp in found.stamps if stamp > 0)
    if not stamps:
        return Calls(()), found.boot_id == boot_id and len(found.stamps) == capacity
    if boot_id and found.boot_id == boot_id and stamps[-1] <= now:
        counting = tuple(stamp for stamp in stamps if stamp > now - period)[-capacity:]
        return Calls(counting), len(found.stamps) == capacity
    counting = tuple(stamp for stamp in stamps if stamp > stamps[-1] - period)[-capacity:]
    return Calls((now,) * len(counting), carried_over=True), False


def _write(path: Path, capacity: int, boot_id: str, moments: Sequence[float]) -> None:
    """Put a whole new file in its place, once it is on the disk: no power cut leaves half a one."""
    fresh = path.with_name(f"{path.name}.new")
    stamps = struct.pack(f"={capacity}d", *moments, *(0.0,) * (capacity - len(moments)))
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, capacity, boot_id.encode()) + stamps)
        file.flush()
        os.fsync(
            descriptor
        )  # and no page of it is missing later, when a store to it could only fail by a signal
    fresh.replace(path)


def _behind_newest(stamps: memoryview[float]) -> int:
    """Where the next stamp goes: behind the newest, over the oldest."""
    newest = max(stamps)
    for index, stamp in enumerate(stamps):
        if stamp == newest and stamps[(index + 1) % len(stamps)] < newest:
            return (index + 1) % len(stamps)
    return 0


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO).lower()
