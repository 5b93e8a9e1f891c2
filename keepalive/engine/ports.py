"""What the engine needs from the outside, as protocols."""

from __future__ import annotations

import asyncio
from typing import Protocol

from keepalive.core.outcome import Outcome
from keepalive.core.target import Target


class Client(Protocol):
    """Sends heartbeats."""

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        """Send one attempt and say how it ended, within `timeout` seconds.

        Every fault is an outcome; raising is a bug.
        """
        ...

    async def drop_connections(self) -> None:
        """Forget every pooled connection: after a suspend they are dead without knowing it."""
        ...


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Seconds on a clock that never jumps and counts suspend."""
        ...

    async def wait(self, wake: asyncio.Event, until: float) -> float:
        """Wait for `wake` or for the moment `until` (infinity is allowed), whichever is first.

        Returns:
            Seconds that the machine was suspended meanwhile; 0 where it was not.
        """
        ...
