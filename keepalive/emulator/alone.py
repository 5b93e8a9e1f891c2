"""An emulator alone: in a process of its own, until somebody stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from keepalive.emulator.server import Emulator


def run_alone(emulator: Emulator, announce: Callable[[], None]) -> None:
    """Run an emulator until SIGINT or SIGTERM, and return then.

    Args:
        emulator: One that was not entered yet.
        announce: Called once it listens.

    Raises:
        KeepaliveError: Its port cannot be listened on.
    """
    asyncio.run(_until_stopped(emulator, announce))


async def _until_stopped(emulator: Emulator, announce: Callable[[], None]) -> None:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with emulator:
        announce()
        await stopped.wait()
