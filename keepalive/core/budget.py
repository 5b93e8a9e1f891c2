"""A budget: when a group may call again. It says when, never whether."""

from __future__ import annotations

from math import inf
from typing import Protocol

from keepalive.core.ledger import Ledger
from keepalive.core.outcome import Headroom, Throttled
from keepalive.core.plan import DEMAND_SHARE, PLANNED_SHARE, Quota

HEDGE_SHARE = 0.98
"""Part of the share above which no hedge is sent: the last calls belong to those who have none in flight."""

INSISTENT_FAILURES = 8
"""Failures in a row from which a target retries only on what the planned beats of all leave of the share.

Without that, ten targets that turn to 503 for ever would spend what the others need to stay eligible.
"""

LEAST_LENT = 0.02
"""Part of the share that others of the same user may spend even where the own heartbeats want all of it."""

LOW_QUOTA = 0.1
"""Part of the quota: once less than that remains, what remains is spread until the reset.

Above it a crowd may leave at once, as it has to after an outage. What a reply says counts our own calls as
well: to spread all that remains, from the first call on, would lapse those whom a burst saves.
"""

UNTOLD_SILENCES = (5.0, 10.0, 300.0)
"""Seconds of silence after the 1st, 2nd and every further 429 that names no time.

So single probes leave 5 and 15 s after the first, then every 300 s, the length of Cloudflare's own block.
"""

SILENCE_MARGIN = (0.1, 0.4)
"""Seconds added to a silence that the server named: a fixed part, and a random one on top."""


class Gate(Protocol):
    """What an attempt has to pass. Budget, ramp and breaker alike say when, not whether."""

    def ready_at(self, now: float) -> float:
        """The moment at which one more attempt may leave; infinite while that hangs on one under way."""
        ...

    def charge(self, now: float) -> None:
        """Count one attempt that leaves now."""
        ...


def _spare(quota: Quota) -> float:
    return max(1.0, quota.allowed * (1 - PLANNED_SHARE))


class Budget:
    """The calls that one rate group may send: its ledger, what the replies say of the quota, and 429s.

    Attributes:
        ledger: What left in the quota's period, against keepalive's share.
        others: The part of it that served none of the targets that are held.
        spare: The same, and what targets used which fail without end: against what planned beats leave.
        silent_until: End of the last silence after a 429.
        throttles: 429s in a row, of those that began or lengthened a silence.
    """

    __slots__ = (
        "_gap",
        "_gap_until",
        "_left",
        "_next_at",
        "_quota",
        "_silenced_at",
        "_told",
        "_told_quota",
        "ledger",
        "others",
        "silent_until",
        "spare",
        "throttles",
    )

    def __init__(self, quota: Quota) -> None:
        self.ledger = Ledger(quota.allowed, quota.period)
        self.spare = Ledger(_spare(quota), quota.period)
        self.others = Ledger(quota.allowed, quota.period)
        self.silent_until = -inf
        self.throttles = 0
        self._quota = quota
        self._told_quota: Quota | None = None
        self._told: Ledger | None = None
        self._silenced_at = -inf
        self._gap = 0.0
        self._gap_until = -inf
        self._left = inf
        self._next_at = -inf

    @property
    def rate(self) -> float:
        """Calls per second that may leave in the long run: of the plan's quota, or of a tighter one told."""
        return min(self._quota.rate, self._told_quota.rate) if self._told_quota else self._quota.rate

    def resize(self, quota: Quota, now: float) -> None:
        """Go on with another quota; what was sent still counts.

        Of what left before the shorter one of two periods nothing is known. So a longer period begins as if
        the old share had been spent in all of it.
        """
        old, self._quota = self._quota, quota
        self._told_quota = self._told = None  # the next reply says it again
        if quota.period == self.ledger.period:
            self.ledger.limit = self.others.limit = quota.allowed
            self.spare.limit = _spare(quota)
            return
        calls = self.ledger.save(now)
        self.ledger = Ledger(quota.allowed, quota.period)
        if calls and quota.period > old.period:
            self.ledger.charge(now - old.period, int(old.rate * (quota.period - old.period)))
        self.ledger.restore(calls)
        self.spare = Ledger(_spare(quota), quota.period)
        self.others = Ledger(quota.allowed, quota.period)

    def ready_at(self, now: float) -> float:
        """The moment at which one more attempt may leave."""
        ready = max(self.ledger.ready_at(now), self.silent_until)
        if self._told:
            ready = max(ready, self._told.ready_at(now))
        if self._gap_until > now:
            gap_ends_at = self._next_at if self._left > 0 else inf
            ready = max(ready, min(gap_ends_at, self._gap_until))
        return ready

    def ready_again_at(self, now: float, kept: float) -> float:
        """The same for a target that fails without end.

        It has a ledger of its own, and whatever is left once so many calls are kept for the others.
        """
        part = 1 - kept / self.ledger.limit
        return min(self.spare.ready_at(now), self.ledger.ready_at(now, part))

    def lendable_at(self, now: float, wanted: float) -> float:
        """The same for a call that serves none of the own targets.

        Args:
            now: The moment.
            wanted: Calls that the own targets make in a period, retries included.
        """
        least = self.others.ready_at(now, LEAST_LENT + 1 / self.ledger.limit)
        more = max(self.others_at(now, wanted), self.ledger.ready_at(now, DEMAND_SHARE))
        return max(self.ready_at(now), min(least, more))

    def others_at(self, now: float, wanted: float) -> float:
        """When others have used less than the own targets leave of the demand's share in a whole period.

        Their calls to come count as well: what is spent of an empty ledger is missing when they fall due.
        """
        part = max(LEAST_LENT + 1 / self.ledger.limit, DEMAND_SHARE - wanted / self.ledger.limit)
        return self.others.ready_at(now, part)

    def charge_others(self, now: float, calls: int = 1) -> None:
        """Count calls that served nobody who is held now; they are in the ledger already, or will be."""
        self.others.charge(now, calls)
        self.spare.charge(now, calls)

    def charge(self, now: float) -> None:
        """Count one attempt that leaves now."""
        self.ledger.charge(now)
        if self._told:
            self._told.charge(now)
        self._left -= 1
        if self._gap:
            self._next_at = max(now, self._next_at) + self._gap

    def allows_hedges(self, now: float) -> bool:
        """Whether enough of the share is left for a second attempt of one target."""
        return self.ledger.count(now) < HEDGE_SHARE * self.ledger.limit

    def heed(self, headroom: Headroom, now: float) -> bool:
        """Obey what a reply said of the quota: never more than what remains, and spread when that is little.

        Somebody else of the same user may be spending too, so the reply wins over our own count. A quota
        that the reply names is kept besides the plan's while it is the tighter one, never instead of it.

        Returns:
            Whether it began or lengthened a silence: nothing is left until the reset.
        """
        if headroom.requests and headroom.period:
            self._be_told(Quota(headroom.requests, headroom.period, self._quota.share), now)
        if headroom.remaining is None:
            return False
        goes_on = self._gap_until > now
        self._gap, self._gap_until = 0.0, -inf
        if headroom.remaining == 0:
            longer = now + headroom.reset_in > self.silent_until
            self.silent_until = max(self.silent_until, now + headroom.reset_in)
            return longer
        if headroom.remaining < self.rate * headroom.reset_in:
            if not goes_on:
                self._next_at = now
            self._spread(headroom.remaining, headroom, now)
        return False

    def _spread(self, remaining: int, headroom: Headroom, now: float) -> None:
        """Let no more than what remains leave until the reset; evenly, when that is little."""
        self._left = remaining
        low = remaining < LOW_QUOTA * (headroom.requests or self._quota.requests)
        self._gap = headroom.reset_in / remaining if low else 0.0
        self._gap_until = now + headroom.reset_in
        if not self._gap:
            self._next_at = now

    def _be_told(self, quota: Quota, now: float) -> None:
        if quota == self._told_quota:
            return
        if quota.rate >= self._quota.rate and quota.allowed >= self._quota.allowed:
            self._told_quota = self._told = None  # it can never be the tighter one
            return
        self._told_quota, self._told = quota, Ledger(quota.allowed, quota.period)
        self._told.restore(self.ledger.save(now))

    def silence(self, throttled: Throttled, sent_at: float, now: float, u: float) -> bool:
        """Be silent after a 429.

        Args:
            throttled: What came back.
            sent_at: When that attempt had left: one that left before the silence never escalates it.
            now: The moment.
            u: Unit draw, so that several groups do not come back at one moment.

        Returns:
            Whether this began or lengthened a silence.
        """
        fresh = sent_at >= max(self.silent_until, self._silenced_at)
        if throttled.retry_after is None and not fresh:
            return False
        if throttled.retry_after is None:
            pause = UNTOLD_SILENCES[min(self.throttles, len(UNTOLD_SILENCES) - 1)]
        else:
            pause = throttled.retry_after + SILENCE_MARGIN[0] + SILENCE_MARGIN[1] * u
        if fresh:
            self.throttles += 1
            self._silenced_at = now
        if now + pause <= self.silent_until:
            return False
        self.silent_until = now + pause
        return True

    def resume(self, silent_until: float, throttles: int, now: float) -> bool:
        """Go on with the silence of another process, where this one has none.

        One that has ended still lengthens the next, until an answer or a whole period shows that its block
        is over: else a crash loop would probe a block every few seconds.

        Returns:
            Whether the way has to be probed first.
        """
        counts_from = now - self.ledger.period if throttles else now
        if silent_until <= max(counts_from, self.silent_until):
            return False
        self.silent_until, self.throttles = silent_until, throttles
        return True

    def answered(self, sent_at: float) -> bool:
        """Take note of an attempt that was not throttled.

        Returns:
            Whether this ended a spell of 429s.
        """
        if not self.throttles or sent_at < self.silent_until:
            return False
        self.throttles = 0
        return True
