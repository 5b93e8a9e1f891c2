from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

NOOP_CYCLES = 5
"""Turns of a loop with nothing to do before virtual time moves on. Everything passes with none; looptime's 42
were a third of the work."""


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """A task that outlives its test is a leak."""
    yield
    left = {task for task in asyncio.all_tasks() if not task.done()} - {asyncio.current_task()}
    assert not left, f"left running: {sorted(task.get_name() for task in left)}"


def pytest_configure() -> None:
    asyncio.set_event_loop(None)  # else looptime's look at the loop makes one, before any test has its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "no_task_is_left")
        if item.get_closest_marker("looptime"):
            item.add_marker(pytest.mark.looptime(noop_cycles=NOOP_CYCLES))
