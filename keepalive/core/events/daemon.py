"""What becomes of the daemon: its life, its state, its socket and its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keepalive.core.events.event import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarted(Event):
    """The configuration was accepted and the scheduler is about to turn."""

    name: ClassVar[str] = "daemon.started"
    version: str
    config: str
    targets: int
    rate_groups: int
    window: float
    interval: float
    window_calibrated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonReady(Event):
    """Every held target has had its first answer."""

    name: ClassVar[str] = "daemon.ready"
    eligible: int
    targets: int
    after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonDraining(Event):
    """No new beats; those in flight finish."""

    name: ClassVar[str] = "daemon.draining"
    cause: str
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendDetected(Event):
    """The machine slept; connections are dropped and everything is renewed by deadline. Seconds."""

    name: ClassVar[str] = "suspend.detected"
    _level: ClassVar[Level] = Level.WARNING
    suspended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStalled(Event):
    """The process slept so many seconds longer than it meant to: it was stopped, starved or blocked."""

    name: ClassVar[str] = "loop.stalled"
    _level: ClassVar[Level] = Level.WARNING
    lasted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFailed(Event):
    """The state cannot be read or written: keepalive goes on, but a restart would know nothing new."""

    name: ClassVar[str] = "state.failed"
    _level: ClassVar[Level] = Level.ERROR
    path: str
    cause: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRecovered(Event):
    """The state is written again, and nothing of it is missing. Seconds."""

    name: ClassVar[str] = "state.recovered"
    failed_for: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlOpened(Event):
    """The daemon answers at `address`: a socket's path, or an address and a port."""

    name: ClassVar[str] = "control.opened"
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFailed(Event):
    """The daemon cannot be asked at `address`; heartbeats go on, and it is tried again."""

    name: ClassVar[str] = "control.failed"
    _level: ClassVar[Level] = Level.ERROR
    address: str
    cause: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReloaded(Event):
    """Another configuration is in force.

    Attributes:
        targets: All of them now.
        added: Targets that are new.
        removed: Targets that are gone.
        credentials: Credentials whose secret is another one.
        restart_needed: Keys that were changed, and count only after a restart.
    """

    name: ClassVar[str] = "config.reloaded"
    targets: int
    added: int
    removed: int
    credentials: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """Info; a warning when some of it has to wait for a restart."""
        return Level.WARNING if self.restart_needed else Level.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRejected(Event):
    """A new configuration has faults, each in one line: the old one stays in force."""

    name: ClassVar[str] = "config.rejected"
    _level: ClassVar[Level] = Level.ERROR
    faults: tuple[str, ...]
