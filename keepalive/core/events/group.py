"""What becomes of a rate group: its pace, its silences, and what in it is only probed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keepalive.core.events.event import Event, Level
from keepalive.core.outcome import Fault
from keepalive.core.target import Key, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStretched(Event):
    """A group beats slower (or at its own pace again) so that its demand stays under its share."""

    name: ClassVar[str] = "group.stretched"
    rate_group: str
    interval: float
    nominal: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupThrottled(Event):
    """Cloudflare answered 429: the group is silent until `until`."""

    name: ClassVar[str] = "group.throttled"
    _level: ClassVar[Level] = Level.WARNING
    rate_group: str
    until: float
    retry_after: float | None
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(Event):
    """Everything under `key` is only probed for now."""

    name: ClassVar[str] = "breaker.opened"
    _level: ClassVar[Level] = Level.WARNING
    rate_group: str
    scope: Scope
    key: Key
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed(Event):
    """What was only probed beats again; `open_for` is in seconds."""

    name: ClassVar[str] = "breaker.closed"
    rate_group: str
    scope: Scope
    key: Key
    open_for: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRestored(Event):
    """A rate group goes on where an earlier process stopped: `calls` are in its ledger, `denied` are keys."""

    name: ClassVar[str] = "state.restored"
    rate_group: str
    renewals: int
    calls: int
    denied: int
