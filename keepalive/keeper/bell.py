"""A bell: wakes everybody who waits for the next change."""

from __future__ import annotations

import asyncio


class Bell:
    """Rung as often as something changes; nobody has to wait."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits now."""
        self._next.set()
        self._next = asyncio.Event()

    async def rung(self) -> None:
        """Wait for the next ring."""
        await self._next.wait()
