"""Eligibility: what a target is now. Derived from two facts, never stored as a truth of its own."""

from __future__ import annotations

from enum import StrEnum

AT_RISK_AFTER = 2 / 3
"""Part of the window after which a renewal is called at risk, unless another came."""


class Eligibility(StrEnum):
    """The states of a target; the words of logs, metrics and probes."""

    PENDING = "pending"
    ELIGIBLE = "eligible"
    AT_RISK = "at_risk"
    LAPSED = "lapsed"
    DENIED = "denied"
    REFUSED = "refused"

    @property
    def holds(self) -> bool:
        """True while Cloudflare is assumed to stream to the user."""
        return self in (Eligibility.ELIGIBLE, Eligibility.AT_RISK)


def judge(renewed_at: float | None, *, denied: bool, now: float, window: float) -> Eligibility:
    """Say what a held target is.

    Args:
        renewed_at: Send time of the last accepted attempt, or None.
        denied: True once a refusal was confirmed.
        now: The moment asked about, on the same clock.
        window: Seconds that one accepted heartbeat is assumed to last.
    """
    if denied:
        return Eligibility.DENIED
    if renewed_at is None:
        return Eligibility.PENDING
    if now >= renewed_at + window:
        return Eligibility.LAPSED
    if now >= renewed_at + window * AT_RISK_AFTER:
        return Eligibility.AT_RISK
    return Eligibility.ELIGIBLE
