"""The events: one class for each thing that happens, by what it happens to. All are imported from here."""

from __future__ import annotations

from keepalive.core.events.credential import CredentialDenied, CredentialExpiring, CredentialVerified
from keepalive.core.events.daemon import (
    ConfigRejected,
    ConfigReloaded,
    ControlFailed,
    ControlOpened,
    DaemonDraining,
    DaemonReady,
    DaemonStarted,
    LoopStalled,
    StateFailed,
    StateRecovered,
    SuspendDetected,
)
from keepalive.core.events.event import Event, Level, Sink
from keepalive.core.events.group import (
    BreakerClosed,
    BreakerOpened,
    GroupStretched,
    GroupThrottled,
    StateRestored,
)
from keepalive.core.events.lease import LeaseEnded, LeaseGranted, LeaseLost, LeaseTaken, LeaseUnavailable
from keepalive.core.events.target import (
    AttemptFailed,
    EligibilityChanged,
    EligibilitySummary,
    HeartbeatAccepted,
    TailChanged,
    TargetRefused,
)

__all__ = [
    "AttemptFailed",
    "BreakerClosed",
    "BreakerOpened",
    "ConfigRejected",
    "ConfigReloaded",
    "ControlFailed",
    "ControlOpened",
    "CredentialDenied",
    "CredentialExpiring",
    "CredentialVerified",
    "DaemonDraining",
    "DaemonReady",
    "DaemonStarted",
    "EligibilityChanged",
    "EligibilitySummary",
    "Event",
    "GroupStretched",
    "GroupThrottled",
    "HeartbeatAccepted",
    "LeaseEnded",
    "LeaseGranted",
    "LeaseLost",
    "LeaseTaken",
    "LeaseUnavailable",
    "Level",
    "LoopStalled",
    "Sink",
    "StateFailed",
    "StateRecovered",
    "StateRestored",
    "SuspendDetected",
    "TailChanged",
    "TargetRefused",
]
