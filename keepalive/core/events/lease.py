"""What becomes of a lease: in the daemon that grants it, and in the process that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keepalive.core.events.event import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGranted(Event):
    """Somebody asked at run time to hold `targets` targets for `ttl` seconds; a mere renewal is not told."""

    name: ClassVar[str] = "lease.granted"
    lease: str
    targets: int
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseEnded(Event):
    """A lease is over: `cause` is `released` or `expired`."""

    name: ClassVar[str] = "lease.ended"
    lease: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTaken(Event):
    """The daemon at `address` holds so many targets for this process, which therefore does not beat."""

    name: ClassVar[str] = "lease.taken"
    lease: str
    address: str
    targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLost(Event):
    """The daemon does not hold the targets of this process any more: it beats, until the daemon is back."""

    name: ClassVar[str] = "lease.lost"
    _level: ClassVar[Level] = Level.WARNING
    lease: str
    cause: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseUnavailable(Event):
    """No daemon can hold the targets of this process: it beats.

    Where a daemon runs that has the same rate group, the calls are charged to its ledger nevertheless; else
    nobody shares the quota with this process.
    """

    name: ClassVar[str] = "lease.unavailable"
    cause: str
    hint: str
