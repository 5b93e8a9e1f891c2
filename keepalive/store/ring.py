"""A ring: when the last calls of one rate group left, in a file that outlives a SIGKILL."""

from __future__ import annotations

import errno
import os
import struct
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from keepalive.core.stamp import carried
from keepalive.errors import StoreError

_MAGIC = b"keepring"
_VERSION = 1
_HEADER = struct.Struct("=8sII48s")
"""Magic, version, capacity and boot id; the stamps follow, eight bytes each."""

_LONGEST_UPTIME = 1e10
"""Seconds since boot that no machine reaches: a stamp beyond them, or so long before a boot, is damage."""

_NO_STAMP = 0.0
"""What a slot holds that was never written to."""

_AT_BOOT = 1e-9
"""Where a call is put that would be taken for no stamp."""


class Ring:
    """The send stamps of one rate group.

    A stamp is eight bytes, written into the page cache: the kernel keeps them when the process dies, and
    nothing has to be synced. Yet even that waits where the file system is frozen, so a charge only notes,
    and `flush` belongs to a thread of its own. The oldest stamp is overwritten; the capacity never shrinks:
    a quota that was lowered for a moment must not forget what was sent under the old one.

    Attributes:
        calls: When the calls left that still count, oldest first; those of an earlier boot as `carried`.
        fault: Why the last flush failed, or None.
    """

    def __init__(self, path: Path, capacity: int, boot_id: str, *, now: float, period: float) -> None:
        """Open or begin it.

        Args:
            path: The file; made with mode 0600 where there is none.
            capacity: Calls that may count at a time.
            boot_id: This boot; "" where the system does not say.
            now: The moment, in seconds since this boot.
            period: Seconds for which a call counts.

        Raises:
            StoreError: It cannot be read or written, or is no ring of this version; it is left as it was.
        """
        self.fault: StoreError | None = None
        self._path = path
        try:
            found = _read(path, boot_id)
            ours = bool(boot_id) and found.boot_id == boot_id and max(found.stamps, default=0.0) <= now
            known = sorted(stamp for stamp in found.stamps if stamp != _NO_STAMP)
            newest = now if ours or not known else known[-1]
            counting = tuple(stamp for stamp in known if stamp > newest - period)
            self.calls = counting if ours else tuple(carried(at, newest, now) or _AT_BOOT for at in counting)
            stamps = found.stamps
            if not ours or len(stamps) < capacity:
                stamps = _write(path, max(capacity, len(stamps)), boot_id, known if ours else self.calls)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unwritable(error) from None
        self._size = len(stamps)
        self._next = _behind_newest(stamps)
        self._noted: deque[float] = deque(maxlen=self._size)
        self._unwritten: list[float] = []
        self._asked = False

    def charge(self, at: float) -> bool:
        """Note one call; it is in the file after the next `flush`.

        Returns:
            Whether a flush has to be asked for; False where one is still to come.
        """
        self._noted.append(at)
        asked, self._asked = self._asked, True
        return not asked

    def flush(self) -> None:
        """Put what was noted into the file, or say in `fault` why that failed."""
        self._asked = False
        while self._noted:
            self._unwritten.append(self._noted.popleft())
        del self._unwritten[: -self._size]
        try:
            while unwritten := self._unwritten[: self._size - self._next]:
                stamps = struct.pack(f"={len(unwritten)}d", *unwritten)
                os.pwrite(self._descriptor, stamps, _HEADER.size + 8 * self._next)
                del self._unwritten[: len(unwritten)]
                self._next = (self._next + len(unwritten)) % self._size
        except OSError as error:
            self.fault = self._unwritable(error)
        else:
            self.fault = None

    def close(self) -> None:
        """Let go of the file."""
        self.flush()
        os.close(self._descriptor)

    def _unwritable(self, error: OSError) -> StoreError:
        folder = self._path.parent
        hint = f"make room and let keepalive write to {folder}, or set [state] path to another place"
        return StoreError(str(self._path), f"cannot be written: {_reason(error)}", hint)


class _Found(NamedTuple):
    boot_id: str
    stamps: tuple[float, ...]


def _read(path: Path, boot_id: str) -> _Found:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _Found("", ())
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise _unreadable(path, "is damaged, or no ledger of keepalive's")
    _, version, capacity, boot = _HEADER.unpack_from(data)
    if version != _VERSION:
        newer = "install that version again, or set [state] path to another place"
        raise StoreError(str(path), f"was written by another version of keepalive (format {version})", newer)
    if len(data) != _HEADER.size + 8 * capacity:
        raise _unreadable(path, "is damaged: it has not the size that it names")
    found = _Found(
        boot.rstrip(b"\0").decode(errors="replace"),
        tuple(memoryview(data)[_HEADER.size :].cast("d").tolist()),
    )
    if not all(-_LONGEST_UPTIME < stamp < _LONGEST_UPTIME for stamp in found.stamps):
        raise _unreadable(path, "is damaged: it holds moments that cannot be")
    written = [stamp for stamp in found.stamps if stamp != _NO_STAMP]
    steps_back = sum(left > right for left, right in pairwise((*written, *written[:1])))
    if boot_id and boot_id == found.boot_id and steps_back > 1:  # a power cut can mix pages, but ends a boot
        raise _unreadable(path, "is damaged: its moments are in no order")
    return found


def _unreadable(path: Path, found: str) -> StoreError:
    return StoreError(
        str(path), found, "move it away and restart: until then a restart forgets what was sent"
    )


def _write(path: Path, capacity: int, boot_id: str, moments: Sequence[float]) -> tuple[float, ...]:
    """Put a whole new file in its place, once it is on the disk: no power cut leaves half a one."""
    fresh = path.with_name(f"{path.name}.new")
    stamps = (*moments, *(_NO_STAMP,) * (capacity - len(moments)))
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, capacity, boot_id.encode()))
        file.write(struct.pack(f"={capacity}d", *stamps))
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
    return stamps


def _behind_newest(stamps: Sequence[float]) -> int:
    """Where the next stamp goes: behind the newest, over the oldest."""
    newest = max(stamps)
    for index, stamp in enumerate(stamps):
        if stamp == newest and stamps[(index + 1) % len(stamps)] < newest:
            return (index + 1) % len(stamps)
    return 0


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO).lower()
