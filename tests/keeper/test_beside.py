from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from keepalive.keeper.beside import beside

pytestmark = pytest.mark.looptime


class Errand:
    def __init__(self, fails_after: float | None = None) -> None:
        self.fails_after = fails_after
        self.cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.sleep(1e9 if self.fails_after is None else self.fails_after)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise LookupError("broken")


async def test_leaving_ends_the_errands() -> None:
    errand = Errand()
    async with beside({"errand": errand.run()}):
        await asyncio.sleep(1)
    assert errand.cancelled


async def test_what_the_block_raises_stays_what_it_is() -> None:
    errand, own = Errand(), ValueError("mine")

    async def block() -> None:
        async with beside({"errand": errand.run()}):
            await asyncio.sleep(1)
            raise own

    with pytest.raises(ValueError, match="mine") as raised:
        await block()
    assert raised.value is own
    assert errand.cancelled


async def test_a_generator_that_is_closed_in_the_middle_of_the_block_ends_quietly() -> None:
    errand = Errand()

    async def numbers() -> AsyncGenerator[int, None]:
        async with beside({"errand": errand.run()}):
            await asyncio.sleep(1)
            yield 1

    async with aclosing(numbers()) as generator:
        assert await anext(generator) == 1
    assert errand.cancelled


async def test_a_block_that_is_cancelled_ends_so() -> None:
    errand = Errand()

    async def block() -> None:
        async with beside({"errand": errand.run()}):
            await asyncio.sleep(1e9)

    task = asyncio.create_task(block())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert errand.cancelled


async def test_an_errand_that_breaks_ends_the_block() -> None:
    async def block() -> None:
        async with beside({"errand": Errand(fails_after=1).run()}):
            await asyncio.sleep(1e9)

    with pytest.raises(ExceptionGroup) as raised:
        await block()
    [error] = raised.value.exceptions
    assert isinstance(error, LookupError)
