"""One event of each kind, for the tests of what consumes them."""

from __future__ import annotations

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import (
    AttemptFailed,
    BreakerClosed,
    BreakerOpened,
    ConfigRejected,
    ConfigReloaded,
    ControlFailed,
    ControlOpened,
    CredentialDenied,
    CredentialExpiring,
    CredentialVerified,
    DaemonDraining,
    DaemonReady,
    DaemonStarted,
    EligibilityChanged,
    EligibilitySummary,
    Event,
    GroupStretched,
    GroupThrottled,
    HeartbeatAccepted,
    LeaseEnded,
    LeaseGranted,
    LeaseLost,
    LeaseTaken,
    LeaseUnavailable,
    LoopStalled,
    StateFailed,
    StateRecovered,
    StateRestored,
    SuspendDetected,
    TailChanged,
    TargetRefused,
)
from keepalive.core.outcome import Fault
from keepalive.core.target import Scope, Target

ACCOUNT = "0123456789abcdef0123456789abcdef"
TARGET = Target("prod", ACCOUNT, "api")
FAULT = Fault("http_503", "an HTML page", 503, None, "8f1c-FRA", "")
DENIAL = Fault("authentication", "no", 403, 10000, "8f1c-FRA", "add the permission")


def failed(at: float = 0.0, fault: Fault = FAULT, target: Target = TARGET) -> AttemptFailed:
    return AttemptFailed(
        at=at, target=target, attempt=2, hedge=False, latency=0.25, outcome="transient", fault=fault
    )


def changed(
    to_state: Eligibility | None = Eligibility.ELIGIBLE,
    *,
    at: float = 0.0,
    until: float | None = 45.0,
    fault: Fault | None = None,
) -> EligibilityChanged:
    return EligibilityChanged(
        at=at,
        target=TARGET,
        from_state=Eligibility.PENDING,
        to_state=to_state,
        cause="accepted",
        eligible_until=until,
        fault=fault,
    )


def summary(at: float = 0.0) -> EligibilitySummary:
    return EligibilitySummary(
        at=at,
        pending=1,
        eligible=2,
        at_risk=3,
        lapsed=4,
        denied=5,
        refused=6,
        eligible_ratio=0.9999876,
        heartbeats=100,
        attempts=120,
    )


def throttled(at: float = 0.0) -> GroupThrottled:
    return GroupThrottled(at=at, rate_group="default", until=300.0, retry_after=None, fault=DENIAL)


EVENTS: tuple[Event, ...] = (
    DaemonStarted(
        at=0,
        version="1.2.3",
        config="a.toml",
        targets=9,
        rate_groups=2,
        window=45.0,
        interval=15.0,
        window_calibrated=False,
    ),
    DaemonReady(at=0, eligible=9, targets=9, after_seconds=0.5),
    DaemonDraining(at=0, cause="SIGTERM", in_flight=1),
    HeartbeatAccepted(
        at=0,
        target=TARGET,
        attempt=1,
        hedge=True,
        latency=0.04123,
        lateness=0.001,
        eligible_until=45.0,
        cf_ray=None,
    ),
    failed(),
    changed(),
    TargetRefused(at=0, target=TARGET, rate_group="default", room=42),
    GroupStretched(at=0, rate_group="default", interval=17.0, nominal=15.0),
    throttled(),
    BreakerOpened(at=0, rate_group="default", scope=Scope.ACCOUNT, key=("prod", ACCOUNT), fault=DENIAL),
    BreakerClosed(at=0, rate_group="default", scope=Scope.ORIGIN, key=(), open_for=12.5),
    CredentialDenied(at=0, credential="prod", fault=DENIAL, next_probe_at=60.0),
    CredentialVerified(at=0, credential="prod", expires_on=None),
    CredentialExpiring(at=0, credential="prod", expires_on=86400.0, ends_in=86400.0, hint="renew it"),
    SuspendDetected(at=0, suspended=3600.0),
    LoopStalled(at=0, lasted=30.0),
    StateRestored(at=0, rate_group="default", renewals=42, calls=840, denied=0),
    StateFailed(at=0, path="state.db", cause="cannot be written: no space left on device", hint="make room"),
    StateRecovered(at=0, failed_for=10.0),
    ControlOpened(at=0, address="127.0.0.1:9786"),
    ControlFailed(at=0, address="127.0.0.1:9786", cause="cannot be listened on: in use", hint="use another"),
    ConfigReloaded(
        at=0, targets=2, added=1, removed=0, credentials=("prod",), restart_needed=("state.path",)
    ),
    ConfigRejected(at=0, faults=("keepalive.toml:1: unknown key",)),
    LeaseGranted(at=0, lease="tail", targets=2, ttl=600.0),
    LeaseEnded(at=0, lease="tail", cause="expired"),
    LeaseTaken(at=0, lease="exec-4711", address="/run/keepalive/keepalive.sock", targets=2),
    LeaseLost(at=0, lease="exec-4711", cause="no daemon answers at /run/k.sock", hint="start it"),
    LeaseUnavailable(at=0, cause="no daemon answers at /run/k.sock", hint="start it"),
    TailChanged(at=0, target=TARGET, state="disconnected", cause="reset: connection reset by peer"),
    summary(),
)
