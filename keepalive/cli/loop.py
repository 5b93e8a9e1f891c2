"""The event loop of a command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop of the extra `speed`, where that is installed; None for asyncio's own."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - optional, and only a daemon gains by it
    except ImportError:
        return None
    return new_event_loop


class _Impatient(ThreadPoolExecutor):
    """Threads that nobody waits for at the end: one may hang in a name server for half a minute."""

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Wait for nobody, whatever is asked."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def run_loop(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run `main` as `asyncio.run` does, without waiting for threads that it has left behind."""

    async def begin() -> _Result:
        asyncio.get_running_loop().set_default_executor(_Impatient())
        return await main

    return asyncio.run(begin())
