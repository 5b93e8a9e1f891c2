"""Pages: a part of a long list at a time, found and written without holding the loop."""

from __future__ import annotations

import asyncio
import binascii
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from keepalive.errors import RequestError

DEFAULT_LIMIT, LARGEST_LIMIT = 100, 1000
"""Objects of a page."""

BREATH = 100
"""Objects that are looked at in a row: at ten microseconds each, a beat waits a millisecond for them."""

_STRIDE = 10_000

Name = tuple[str | None, ...]
T = TypeVar("T")
R = TypeVar("R")


class Cursor(NamedTuple):
    """The last object of a page: where it was in its list, and what it is called.

    Where the list has changed between two pages, the next one begins behind the same object, wherever that is
    now; if it is gone, at its old place.
    """

    place: int
    name: Name

    def __str__(self) -> str:
        """Text for a query, which means nothing to whoever gets it."""
        return urlsafe_b64encode(json.dumps([self.place, *self.name]).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read it back.

        Raises:
            RequestError: It is none of ours.
        """
        try:
            place, *name = json.loads(b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        except (ValueError, TypeError, binascii.Error, RecursionError):
            place, name = None, []
        if type(place) is not int or place < 0 or not all(isinstance(part, str | None) for part in name):
            raise RequestError(400, "`after` is no cursor", "give `next` of the page before, or leave it out")
        return cls(place, tuple(name))


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some objects of a list, and the cursor of the next page; None where this was the last."""

    items: list[R]
    following: str | None


async def read_page(  # noqa: PLR0913 - the list, which part of it, and three things to know of an entry
    entries: Sequence[T],
    after: Cursor | None,
    limit: int,
    *,
    name: Callable[[T], Name],
    read: Callable[[T], R | None],
    weight: Callable[[T], int] = lambda _: 1,
) -> Page[R]:
    """Read a page of a list that does not change meanwhile.

    Args:
        entries: All there is.
        after: Where the page before ended.
        limit: The most to take.
        name: What an entry is called; every one differently.
        read: Makes of an entry what is wanted, or None of one that is not asked for.
        weight: How much an entry adds to the page, which ends at `LARGEST_LIMIT` in any case.
    """
    items: list[R] = []
    room = LARGEST_LIMIT
    begin = await _behind(entries, after, name)
    for start in range(begin, len(entries), BREATH):
        for index in range(start, min(start + BREATH, len(entries))):
            if (item := read(entries[index])) is None:
                continue
            items.append(item)
            room -= weight(entries[index])
            if len(items) == limit or room <= 0:
                last = index + 1 == len(entries)
                return Page(items, None if last else str(Cursor(index, name(entries[index]))))
        await asyncio.sleep(0)
    return Page(items, None)


async def _behind(entries: Sequence[T], after: Cursor | None, name: Callable[[T], Name]) -> int:
    """Where to begin: behind the entry of that name, wherever it is now."""
    if after is None:
        return 0
    if after.place < len(entries) and name(entries[after.place]) == after.name:
        return after.place + 1
    for start in range(0, len(entries), _STRIDE):
        for index in range(start, min(start + _STRIDE, len(entries))):
            if name(entries[index]) == after.name:
                return index + 1
        await asyncio.sleep(0)
    return min(after.place, len(entries))
