from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.control.pages import BREATH, LARGEST_LIMIT, Cursor, Page, read_page
from keepalive.errors import RequestError


def text(number: int) -> str | None:
    return str(number)


def even(number: int) -> str | None:
    return str(number) if number % 2 == 0 else None


async def page(entries: list[int], after: str | None = None, limit: int = 10) -> Page[str]:
    cursor = None if after is None else Cursor.read(after)
    return await read_page(entries, cursor, limit, name=lambda number: (str(number),), read=text)


@given(st.integers(0, 2**40), st.lists(st.none() | st.text(), max_size=4))
def test_a_cursor_is_read_back_as_it_was_written(place: int, name: list[str | None]) -> None:
    cursor = Cursor(place, tuple(name))

    assert Cursor.read(str(cursor)) == cursor
    assert str(cursor).replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "after",
    ["x", "WzFd!", "e30", "W10", "WyJhIl0", "Wy0xXQ", "W3RydWVd", "WzEsIDJd", "ÿ", "W" * 20_000, "W1tbW1td"],
)
def test_what_is_no_cursor_is_refused(after: str) -> None:
    with pytest.raises(RequestError, match="cursor") as raised:
        Cursor.read(after)

    assert raised.value.status == 400


async def test_pages_together_are_the_list() -> None:
    for count in (0, 1, 9, 10, 11, 99, 100, 101, 350):
        for limit in (1, 7, 10, 100, 120):
            entries = list(range(count))
            found: list[str] = []
            after: str | None = None
            for _ in range(count + 1):
                now = await page(entries, after, limit)
                assert len(now.items) <= limit
                found += now.items
                if (after := now.following) is None:
                    break
            assert found == [str(number) for number in entries]
            assert after is None


async def test_the_last_page_has_no_next() -> None:
    assert (await page(list(range(10)), limit=10)).following is None
    assert (await page([])).following is None


async def test_what_came_and_went_before_the_cursor_moves_nobody() -> None:
    first = await page(list(range(100)), limit=10)
    later = [1000, 1001, *range(5, 100)]

    assert (await page(later, first.following)).items[0] == "10"


async def test_a_cursor_whose_entry_is_gone_goes_on_at_its_place() -> None:
    first = await page(list(range(100)), limit=10)
    later = [*range(9), *range(10, 100)]

    assert (await page(later, first.following)).items[0] == "10"


async def test_a_cursor_beyond_a_list_that_shrank_ends_it() -> None:
    first = await page(list(range(100)), limit=50)

    assert await page(list(range(20)), first.following) == Page([], None)


async def test_what_is_not_asked_for_takes_no_room() -> None:
    found = await read_page(range(40), None, 5, name=lambda number: (str(number),), read=even)

    assert found.items == ["0", "2", "4", "6", "8"]


async def test_a_page_ends_where_it_becomes_too_heavy() -> None:
    found = await read_page(
        range(40),
        None,
        10,
        name=lambda number: (str(number),),
        read=text,
        weight=lambda _: LARGEST_LIMIT // 2,
    )

    assert found.items == ["0", "1"]
    assert found.following is not None


async def test_others_get_their_turn_while_a_long_list_is_read() -> None:
    seen: list[int] = []
    turns: list[int] = []

    def read(number: int) -> str | None:
        seen.append(number)
        return None

    async def beat() -> None:
        while len(seen) < 1000:
            turns.append(len(seen))
            await asyncio.sleep(0)

    beating = asyncio.create_task(beat())
    await read_page(range(1000), None, 10, name=lambda number: (str(number),), read=read)
    await beating

    assert max(after - before for before, after in pairwise(turns)) <= BREATH
