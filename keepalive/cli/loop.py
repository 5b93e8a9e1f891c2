"""The event loop of a command that ends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


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
