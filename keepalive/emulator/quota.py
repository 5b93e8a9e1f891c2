"""A quota: how many requests one user or one address may send, and what overshooting costs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Quota:
    """`requests` in any `period` seconds; the one above it starts `block` seconds of 429 for every call.

    That the period slides is this emulator's
    reading: it is the strictest one, so a client that passes here passes with any other.
    """

    requests: int = 1200
    period: float = 300.0
    block: float = 300.0


PER_USER = Quota()
"""Cloudflare's published limit of one user, over all its credentials."""

PER_ADDRESS = Quota(requests=200, period=1.0, block=1.0)
"""Cloudflare's published limit of one address. How long it blocks is not published: here one second."""


class Reading(NamedTuple):
    """What a meter shows.

    Attributes:
        granted: False while the quota is used up: the call is answered 429.
        remaining: Calls left, at least 0.
        reset_in: Seconds until calls are granted again, where none is; else until the whole quota is
            free again if nobody calls meanwhile.
        quota: What was measured against.
    """

    granted: bool
    remaining: int
    reset_in: float
    quota: Quota


class Meter:
    """Counts the calls of one user or address against its quota. Moments never run backwards."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self._calls: deque[float] = deque()
        self._blocked_until = float("-inf")

    def charge(self, now: float) -> Reading:
        """Count one call and say whether it is granted. Calls that are not granted prolong no block."""
        quota, calls = self.quota, self._calls
        if now < self._blocked_until:
            return Reading(False, 0, self._blocked_until - now, quota)
        while calls and calls[0] <= now - quota.period:
            calls.popleft()
        if len(calls) >= quota.requests:
            calls.clear()
            self._blocked_until = now + quota.block
            return Reading(False, 0, quota.block, quota)
        calls.append(now)
        return Reading(True, quota.requests - len(calls), quota.period, quota)
