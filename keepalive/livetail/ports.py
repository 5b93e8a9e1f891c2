"""What a tail needs from the outside, as protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Denied, Fault, Throttled, Transient
from keepalive.core.target import Target
from keepalive.core.telemetry import Event, Page, Prepared, Question, Wanted


class Api(Protocol):
    """Opens sessions and answers for the past. Every fault is an outcome; raising is a bug."""

    async def prepare(
        self, target: Target, wanted: Wanted, *, timeout: float
    ) -> Prepared | Throttled | Denied | Transient:
        """Prepare a session within `timeout` seconds. One connection may claim it."""
        ...

    async def query(
        self, target: Target, question: Question, *, timeout: float
    ) -> Page | Throttled | Denied | Transient:
        """Look for logged events within `timeout` seconds."""
        ...


class Keeper(Protocol):
    """Keeps the target eligible, and knows the quota."""

    def state(self, target: Target) -> Eligibility:
        """Say what a target is now."""
        ...

    async def changed(self) -> None:
        """Wait until the state of some target changes."""
        ...

    async def permit(self, credential: str) -> None:
        """Wait until the quota of a credential lends one call; it is charged then. Heartbeats go first."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection is over.

    Attributes:
        cause: A stable word: `closed`, `silent`, `reset`, `too_large`, `protocol`.
        detail: What was seen, in one line; no text of the server's.
    """

    cause: str
    detail: str = ""


class Connection(Protocol):
    """One open stream.

    Attributes:
        heard_at: When the last byte came that was understood, on the loop's clock.
    """

    heard_at: float

    async def pour(
        self, into: Callable[[Sequence[Event]], None], *, unread: Callable[[], None] = ...
    ) -> Ended:
        """Hand over what comes, frame by frame, until it ends. Twenty seconds without a byte end it too.

        Args:
            into: Called with the events of each frame.
            unread: Called for each frame in which no events could be read.
        """
        ...

    async def answers(self) -> bool:
        """Ask for a sign of life: True once anything came after that, False where it ended first."""
        ...

    async def close(self) -> None:
        """End it; within a second, whatever the far side does. `pour` returns."""
        ...


class Connect(Protocol):
    """Opens connections."""

    async def __call__(self, prepared: Prepared, *, timeout: float) -> Connection | Fault:
        """Claim a session within `timeout` seconds."""
        ...
