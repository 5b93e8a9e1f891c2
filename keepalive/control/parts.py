"""The parts of a running daemon that its control server asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from keepalive.config.settings import HeartbeatSettings
from keepalive.control.health import Probe
from keepalive.core.events import ConfigRejected, ConfigReloaded
from keepalive.engine.scheduler import Scheduler
from keepalive.leases import Leases
from keepalive.sinks.history import History


class WallClock(Protocol):
    """Tells the time, to programs and to people."""

    def now(self) -> float:
        """The moment, on the engine's clock."""
        ...

    def wall_at(self, moment: float) -> float:
        """Seconds since 1970 at a moment of that clock."""
        ...


class Reloads(Protocol):
    """Reads the configuration again."""

    async def again(self) -> ConfigReloaded | ConfigRejected:
        """Put it in force, or say why not."""
        ...


class Metrics(Protocol):
    """Writes the page of metrics."""

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type, for a client that accepts so much."""
        ...


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while the daemon runs.

    Attributes:
        version: Of keepalive.
        config: The configuration's file, or `environment`.
        started_at: The moment of the start, on the engine's clock.
    """

    version: str
    config: str
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Whom the answers come from; `heartbeat` is asked each time, because a reload may change it."""

    about: About
    heartbeat: Callable[[], HeartbeatSettings]
    scheduler: Scheduler
    probe: Probe
    clock: WallClock
    metrics: Metrics
    history: History
    leases: Leases
    reload: Reloads
