"""A user: one rate group on Cloudflare's side, with the quota that all its calls share."""

from __future__ import annotations

from math import inf

from keepalive.core.outcome import Accepted, Denied, Fault, Headroom, Outcome, Throttled, Transient
from keepalive.core.plan import Quota
from keepalive.simulator.flight import Flight
from keepalive.simulator.meter import Meter
from keepalive.simulator.spells import Throttle

BLOCK = 300.0
"""Seconds for which Cloudflare blocks every call of a user who exceeded the quota."""


class User:
    """Counts what arrives, and answers; a heartbeat that is accepted says how much of the quota is left.

    Attributes:
        blocks: How often the quota was exceeded.
        renewals: Requests accepted.
        extra_beats: Those less than half an interval after the one before.
        remaining: Whole seconds of the window that were left at each renewal, counted.
    """

    __slots__ = (
        "_blocked_until",
        "_early",
        "_meter",
        "_period",
        "_requests",
        "blocks",
        "extra_beats",
        "remaining",
        "renewals",
    )

    def __init__(self, quota: Quota, window: float, interval: float) -> None:
        self._requests = quota.requests
        self._period = quota.period
        self._meter = Meter(quota.period)
        self._blocked_until = -inf
        self._early = window - interval / 2
        self.blocks = 0
        self.renewals = 0
        self.extra_beats = 0
        self.remaining = [0] * (int(window) + 1)

    def receive(self, flight: Flight) -> None:
        """Take a request that arrives, and settle its outcome unless the network already did."""
        verdict = self._answer(flight, flight.arrives_at)
        if flight.outcome is None:
            flight.outcome = verdict

    def _answer(self, flight: Flight, now: float) -> Outcome:
        if now < self._blocked_until:
            return self._blocked(now)
        used = self._meter.count(now)
        if used > self._requests:
            self.blocks += 1
            self._blocked_until = now + BLOCK
            return self._blocked(now)
        session = flight.session
        for spell in session.verdicts:
            if spell.start <= now < spell.end:
                if isinstance(spell, Throttle):
                    return Throttled(Fault("throttled", http_status=429), spell.retry_after)
                fault = Fault(f"http_{spell.status}", http_status=spell.status)
                return Transient(fault) if spell.status >= 500 else Denied(fault, spell.scope)
        if not flight.counts_only:
            self.renewals += 1
            left = session.renew(now)
            if left > 0:
                self.remaining[int(left)] += 1
                if left > self._early:
                    self.extra_beats += 1
        return Accepted(Headroom(self._requests - used, self._period))

    def _blocked(self, now: float) -> Throttled:
        return Throttled(Fault("throttled", http_status=429), self._blocked_until - now)
