"""An event: something that happened, worth telling. One class each; the sinks decide what to do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Fault
from keepalive.core.target import Key, Scope, Target

NOTED_ATTEMPT = 3
"""The attempt of a heartbeat whose failure is told even to those who do not debug."""


class Level(StrEnum):
    """How much a person should care."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The root of all events.

    Attributes:
        at: When it happened, on the engine's clock, even if it was noticed later.
    """

    name: ClassVar[str]
    _level: ClassVar[Level] = Level.INFO
    at: float

    @property
    def level(self) -> Level:
        """How much a person should care."""
        return self._level


Sink = Callable[[Event], None]
"""Takes an event; never blocks, never raises."""


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
class HeartbeatAccepted(Event):
    """A target was renewed. `latency` and `lateness` are seconds."""

    name: ClassVar[str] = "heartbeat.accepted"
    _level: ClassVar[Level] = Level.DEBUG
    target: Target
    attempt: int
    hedge: bool
    latency: float
    lateness: float
    eligible_until: float
    cf_ray: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(Event):
    """One attempt was not accepted; `outcome` is throttled, denied or transient."""

    name: ClassVar[str] = "attempt.failed"
    target: Target
    attempt: int
    hedge: bool
    latency: float
    outcome: str
    fault: Fault

    @property
    def level(self) -> Level:
        """Debug; but a heartbeat that fails for the third time is worth a warning, once."""
        return Level.WARNING if self.attempt == NOTED_ATTEMPT else Level.DEBUG


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilityChanged(Event):
    """A target went from one state to another.

    `from_state` is None when it is new, `to_state` when it left the plan; `eligible_until` is None where
    it was never renewed. `lapsed_for` is how long nobody streamed to the user, in seconds, where that ends.
    """

    name: ClassVar[str] = "eligibility.changed"
    target: Target
    from_state: Eligibility | None
    to_state: Eligibility | None
    cause: str
    eligible_until: float | None
    lapsed_for: float | None = None
    fault: Fault | None = None

    @property
    def level(self) -> Level:
        """Debug for a new target, a warning when it is at risk, an error when nobody streams to the user."""
        match self.to_state:
            case Eligibility.PENDING:
                return Level.DEBUG
            case Eligibility.AT_RISK:
                return Level.WARNING
            case Eligibility.LAPSED | Eligibility.DENIED | Eligibility.REFUSED:
                return Level.ERROR
            case _:
                return Level.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRefused(Event):
    """The quota cannot hold this target beside those before it."""

    name: ClassVar[str] = "target.refused"
    _level: ClassVar[Level] = Level.WARNING
    target: Target
    rate_group: str
    room: int


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
class CredentialDenied(Event):
    """A credential was refused often enough to believe it."""

    name: ClassVar[str] = "credential.denied"
    _level: ClassVar[Level] = Level.ERROR
    credential: str
    fault: Fault
    next_probe_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialVerified(Event):
    """Cloudflare says that a token is active; `expires_on` is None where it does not end."""

    name: ClassVar[str] = "credential.verified"
    _level: ClassVar[Level] = Level.DEBUG
    credential: str
    expires_on: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialExpiring(Event):
    """A token ends soon, at `expires_on`; `ends_in` is in seconds."""

    name: ClassVar[str] = "credential.expiring"
    _level: ClassVar[Level] = Level.WARNING
    credential: str
    expires_on: float
    ends_in: float
    hint: str


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
class StateRestored(Event):
    """A rate group goes on where an earlier process stopped: `calls` are in its ledger, `denied` are keys."""

    name: ClassVar[str] = "state.restored"
    rate_group: str
    renewals: int
    calls: int
    denied: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TailChanged(Event):
    """A tail is something else: `state` is what it is now, `cause` why in one line, or ""."""

    name: ClassVar[str] = "tail.changed"
    target: Target
    state: str
    cause: str

    @property
    def level(self) -> Level:
        """Worse than connected or eligible is worth a warning."""
        return Level.INFO if self.state in ("connected", "eligible") else Level.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilitySummary(Event):
    """Counts per state, and the share of target-seconds that were eligible since the start (0 to 1)."""

    name: ClassVar[str] = "eligibility.summary"
    pending: int
    eligible: int
    at_risk: int
    lapsed: int
    denied: int
    refused: int
    eligible_ratio: float
    heartbeats: int
    attempts: int
    final: bool = False
