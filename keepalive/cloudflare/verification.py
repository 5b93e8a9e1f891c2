"""A verification: what Cloudflare says about a token itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from keepalive.core.outcome import Accepted, Denied, Fault, Transient
from keepalive.core.target import Scope

SOON = timedelta(days=30)
"""A token that ends within this time is worth a warning."""


@dataclass(frozen=True, slots=True)
class TokenActive:
    """The token is valid. That says nothing of its permissions: only a heartbeat can.

    Attributes:
        expires_on: When it ends, or None where it does not.
    """

    expires_on: datetime | None


@dataclass(frozen=True, slots=True)
class TokenUnverifiable:
    """The scheme has no call that verifies it; `reason` says so in words."""

    reason: str


class _Token(BaseModel):
    model_config = ConfigDict(frozen=True)

    status: str
    expires_on: AwareDatetime | None = None


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)

    result: _Token


def verdict(accepted: Accepted, body: bytes) -> TokenActive | Denied | Transient:
    """Read the body of an accepted `tokens/verify`: a token can be known and still be of no use."""
    try:
        token = _Reply.model_validate_json(body).result
    except ValidationError:
        fault = Fault("not_accepted", "a reply without the token's status", 200, cf_ray=accepted.cf_ray)
        return Transient(fault, Scope.TARGET)
    if token.status == "active":
        return TokenActive(token.expires_on)
    word = token.status if token.status in ("disabled", "expired") else "not active"
    hint = "renew or enable it at https://dash.cloudflare.com/profile/api-tokens"
    fault = Fault("authentication", f"the token is {word}", 200, cf_ray=accepted.cf_ray, hint=hint)
    return Denied(fault, Scope.CREDENTIAL)
