"""A schedule: when a target is due next. Pure arithmetic on seconds; `u` is a unit draw in [0, 1)."""

from __future__ import annotations

from keepalive.core.plan import Policy

SETTLED_ANSWERS = 20
"""Answers after which their usual time is trusted."""

SHORTEST_HEDGE = 1.0
"""Seconds below which no second attempt is sent: a slow answer is still cheaper than a second request."""

CAUTIOUS_HEDGE = 3.0
"""The same while the usual time of an answer is not known yet."""

FIRST_RETRY = 0.5
"""Seconds within which the first passing fault is retried."""

LONGEST_RETRY = 2.0
"""Cap of the backoff, in seconds: with 10 s a quarter of all 22 s outages would lapse somebody."""


def next_beat(renewed_at: float, interval: float, policy: Policy, u: float) -> float:
    """When a renewed target is due again: jitter makes it early, never late.

    The draw is squared: it spreads as far as a uniform one (standard deviation 0.298 against 0.289 of
    the jitter) and makes a beat early by a third of it instead of a half, which saves requests.
    """
    return renewed_at + interval * (1 - policy.jitter * u * u)


def regained_phase(now: float, interval: float, rank: int, count: int) -> float:
    """When a target that fell out of step is due again.

    After a start or an outage a crowd is renewed at one moment. Each then takes the place of its rank in
    the next interval, so that the crowd is spread evenly before two intervals have passed.

    Args:
        now: The moment of renewal.
        interval: Seconds between beats.
        rank: Place of the target in its group, from 0.
        count: Targets in the group.
    """
    return now + interval * ((rank + 1) / count)


def retry_delay(failures: int, left: float, u: float, *, renewed: bool = True) -> float:
    """Seconds until a passing fault is retried: full jitter, doubling, capped by what is left of the renewal.

    Args:
        failures: Passing faults in a row, this one included; at least 1.
        left: Seconds until the renewal lapses.
        u: Unit draw.
        renewed: False for a target that was never renewed: it has nothing to lose by a longer wait, and
            its calls would be missing for those that have.
    """
    cap = min(LONGEST_RETRY, left / 4) if renewed else left / 4
    return u * min(max(0.0, cap), FIRST_RETRY * 2.0 ** min(failures - 1, 8))


class AnswerTime:
    """How long an answer usually takes, learnt from answers only (a hang says nothing of it).

    Mean and deviation are smoothed as TCP does it for its retransmission timer (RFC 6298, section 2).
    """

    __slots__ = ("_answers", "_deviation", "_mean")

    def __init__(self) -> None:
        self._answers = 0
        self._mean = 0.0
        self._deviation = 0.0

    def observe(self, seconds: float) -> None:
        """Learn from one answer."""
        if self._answers == 0:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(self._mean - seconds) - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8
        self._answers += 1

    @property
    def overdue(self) -> float:
        """Seconds after which an answer is later than usual; at least 1, and 3 while little is known."""
        floor = SHORTEST_HEDGE if self._answers >= SETTLED_ANSWERS else CAUTIOUS_HEDGE
        return max(floor, self._mean + 4 * self._deviation)

    def hedge_delay(self, left: float) -> float:
        """Seconds after which an unanswered attempt is hedged: sooner when little of the renewal is left."""
        return min(self.overdue, max(SHORTEST_HEDGE, left / 6))
