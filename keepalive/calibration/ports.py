"""What a measurement needs from the outside, as protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from keepalive.core.outcome import Outcome
from keepalive.core.target import Target
from keepalive.livetail import ports as tail

Connection = tail.Connection
Connect = tail.Connect
"""Opens the stream of a session that was prepared: a connection."""

Permit = Callable[[], Awaitable[None]]
"""Waits until the quota lends one call."""

Undisturbed = Callable[[], Awaitable[str]]
"""Says who else sends heartbeats for the same user; "" where nobody is known to."""


class Api(tail.Api, Protocol):
    """Sends heartbeats too. Every fault is an outcome; raising is a bug."""

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        """Send one heartbeat within `timeout` seconds."""
        ...
