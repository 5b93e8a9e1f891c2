"""Beside: what runs while a block does, and never outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager


@asynccontextmanager
async def beside(errands: Mapping[str, Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run errands as long as this is entered; leaving cancels them, and waits until they are gone.

    A task group around the block would do, but for what the block raises: it makes a group of exceptions of
    that, and whoever writes `async with keepalive.hold()` expects what he raised.

    Args:
        errands: By the names of their tasks. One that breaks cancels the block, and is raised in a group.
    """
    failed: Exception | GeneratorExit | None = None
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(errand, name=name) for name, errand in errands.items()]
        try:
            yield
        except (Exception, GeneratorExit) as error:  # noqa: BLE001 - it is raised again, outside the group
            failed = error
        finally:
            for task in running:
                task.cancel()
    if failed is not None:
        raise failed
