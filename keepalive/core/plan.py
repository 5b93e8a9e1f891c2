"""A plan: what is wanted. The one input of the engine at start, reload, lease and hand-over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from keepalive.core.target import Target

PLANNED_SHARE = 7 / 9
"""Part of keepalive's share that regular beats may fill at the nominal interval; the rest is for retries."""

DEMAND_SHARE = 9 / 10
"""Part of keepalive's share under which the demand, retries included, is held by stretching."""

LONGEST_IN_NEED = 2 / 3
"""Part of the window up to which retries stretch the interval."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many requests a rate group may send: `requests` per `period` seconds, of which `share` is ours."""

    requests: int = 1200
    period: float = 300.0
    share: float = 0.9

    @property
    def allowed(self) -> int:
        """Requests that keepalive may send in any `period` seconds: 1,080 by default."""
        return max(1, int(self.requests * self.share))

    @property
    def rate(self) -> float:
        """The same in requests per second."""
        return self.allowed / self.period


@dataclass(frozen=True, slots=True)
class Policy:
    """How targets are beaten.

    Attributes:
        window: Seconds that one accepted heartbeat is assumed to last.
        interval: Seconds between heartbeats; infinite for "one heartbeat each, then rest".
        jitter: Part of the interval by which a beat may come early, 0 to 0.5.
    """

    window: float = 45.0
    interval: float = 15.0
    jitter: float = 0.1

    @property
    def timeout(self) -> float:
        """Seconds an attempt may take, all along: shrinking it would undercut a slow server."""
        return min(5.0, self.window / 4)

    @property
    def mean_interval_share(self) -> float:
        """The mean of what `next_beat` draws, as a part of the interval."""
        return 1 - self.jitter / 3

    @property
    def longest_interval(self) -> float:
        """How far a crowded group may stretch: half the window leaves one whole beat to lose."""
        return max(self.interval, self.window / 2)

    @property
    def longest_in_need(self) -> float:
        """How far retries may stretch it further: a spent quota lapses more than a late first attempt."""
        return max(self.interval, self.window * LONGEST_IN_NEED)


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What one rate group is to hold: its targets in order of priority, and by which rules."""

    name: str
    targets: tuple[Target, ...]
    policy: Policy = Policy()
    quota: Quota = Quota()


Plan = Mapping[str, GroupPlan]


@dataclass(frozen=True, slots=True)
class Admission:
    """Which targets a quota can hold, and how far apart their beats then are.

    Attributes:
        interval: Seconds between beats; above the policy's when the group is stretched.
        admitted: Held, in the plan's order.
        refused: Not held: they would have lapsed the others.
    """

    interval: float
    admitted: tuple[Target, ...]
    refused: tuple[Target, ...]


def stretch(plan: GroupPlan, count: int, rate: float, tries_per_beat: float = 1.0) -> float:
    """Seconds between the beats of `count` targets: the policy's, or more when the quota needs it.

    Args:
        plan: The group's plan.
        count: Targets that are held.
        rate: Calls per second that the group may send: the plan's share, or less when a reply said so.
        tries_per_beat: Attempts that a heartbeat took lately, at least 1.
    """
    early = plan.policy.mean_interval_share
    planned = min(count / (rate * PLANNED_SHARE), plan.policy.longest_interval)
    demanded = min(count * tries_per_beat / (rate * DEMAND_SHARE * early), plan.policy.longest_in_need)
    return max(plan.policy.interval, planned, demanded)


def admit(plan: GroupPlan) -> Admission:
    """Say which targets of a group can live on its quota, and at which interval.

    Regular beats decide who is admitted; retries never refuse anyone, they only stretch.
    """
    policy = plan.policy
    if policy.interval == inf:
        return Admission(inf, plan.targets, ())
    room = int(plan.quota.rate * PLANNED_SHARE * policy.longest_interval + 1e-9)
    admitted, refused = plan.targets[:room], plan.targets[room:]
    return Admission(stretch(plan, len(admitted), plan.quota.rate), admitted, refused)
