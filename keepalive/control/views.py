"""Views: standings as JSON, for those who ask over the socket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite

from keepalive.control.reply import Json
from keepalive.core.outcome import Fault
from keepalive.core.standing import GroupStanding, OpenBreaker, TargetStanding
from keepalive.core.target import Key
from keepalive.sinks.line import WallAt, moment

Object = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """The moment at which something is looked at, and what the wall clock makes of other moments."""

    now: float
    wall_at: WallAt

    def moment(self, at: float | None) -> str | None:
        """ISO 8601 in UTC; None for never."""
        return None if at is None else moment(at, self.wall_at)

    def target(self, standing: TargetStanding, rate_group: str, leases: Iterable[str]) -> Object:
        """One target."""
        target, until = standing.target, standing.eligible_until
        return {
            "target": target.label,
            "account_id": target.account_id,
            "script_id": target.script_id,
            "credential": target.credential,
            "rate_group": rate_group,
            "state": standing.state.value,
            "eligible_until": self.moment(until),
            "eligible_for_seconds": None if until is None else self.ahead(until),
            "renewed_at": self.moment(standing.renewed_at),
            "next_beat_in_seconds": None if standing.due_at == inf else self.ahead(standing.due_at),
            "failures": standing.failures,
            "leases": list(leases),
            "fault": None if standing.fault is None else fault(standing.fault),
        }

    def group(self, standing: GroupStanding) -> Object:
        """One rate group."""
        quota, silent = standing.quota, standing.silent_until > self.now
        return {
            "rate_group": standing.name,
            "targets": standing.held + standing.refused,
            "refused": standing.refused,
            "interval_seconds": number(standing.interval),
            "nominal_interval_seconds": number(standing.nominal),
            "requests": quota.requests,
            "period_seconds": quota.period,
            "share": quota.share,
            "allowed": quota.allowed,
            "spent": standing.spent,
            "remaining": standing.remaining,
            "silent_until": self.moment(standing.silent_until) if silent else None,
            "throttles": standing.throttles,
            "breakers": [self._breaker(breaker) for breaker in standing.breakers],
        }

    def _breaker(self, breaker: OpenBreaker) -> Object:
        return {
            "scope": breaker.scope.name.lower(),
            "key": key(breaker.key),
            "cause": breaker.fault.cause,
            "detail": breaker.fault.detail,
            "hint": breaker.fault.hint,
            "since": self.moment(breaker.opened_at),
        }

    def ahead(self, at: float) -> float:
        """Seconds until a moment, 0 where it is past."""
        return round(max(0.0, at - self.now), 3)


def fault(found: Fault) -> Object:
    """Why an attempt was not accepted."""
    return {
        "cause": found.cause,
        "detail": found.detail,
        "http_status": found.http_status,
        "error_code": found.error_code,
        "cf_ray": found.cf_ray,
        "hint": found.hint,
    }


def key(of: Key) -> Object:
    """What a breaker stands over: null where it reaches further than that."""
    parts = (*of, None, None, None)
    return dict(zip(("credential", "account_id", "script_id"), parts, strict=False))


def number(value: float) -> float | None:
    """Seconds that JSON can carry: infinity is null."""
    return round(value, 3) if isfinite(value) else None
