"""What becomes of a credential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keepalive.core.events.event import Event, Level
from keepalive.core.outcome import Fault


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
