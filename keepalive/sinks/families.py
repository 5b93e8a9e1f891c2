"""Families: what was read of the daemon at one moment, under the names that Prometheus knows it by."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from keepalive._version import __version__
from keepalive.core.eligibility import Eligibility
from keepalive.core.group import RateGroup
from keepalive.core.standing import GroupStanding
from keepalive.core.target import Scope
from keepalive.sinks.counts import CredentialReading, HistogramReading


@dataclass(frozen=True, slots=True)
class Reading:
    """What the loop has copied for one page; all else is made of it in a thread.

    Attributes:
        now: The moment, on the engine's clock.
        wall_now: The same as Unix time.
        in_force: Names of the credentials that the configuration has.
        credentials: What became of the targets of each credential that ever was.
        duration: What the attempts took.
        lateness: How late the accepted ones had left.
        reloaded: Whether the last reload was accepted.
        groups: The rate groups.
        holders: The rate groups again, for what each of their targets is: too many to copy on the loop.
        connections_opened: Connections to Cloudflare that were begun.
        dropped: By the name of a sink, how many events it has lost.
    """

    now: float
    wall_now: float
    in_force: Collection[str]
    credentials: Sequence[CredentialReading]
    duration: HistogramReading
    lateness: HistogramReading
    reloaded: bool
    groups: Sequence[GroupStanding]
    holders: Sequence[RateGroup]
    connections_opened: int
    dropped: Mapping[str, int]

    def collect(self) -> Iterator[Metric]:
        """Every family, one after the other; takes long enough to be done in a thread."""
        return chain(self._of_targets(), self._of_credentials(), self._of_groups(), self._of_the_daemon())

    @property
    def _present(self) -> Iterable[CredentialReading]:
        """Credentials that are in force or still have targets; gauges of the others would only mislead."""
        return [one for one in self.credentials if one.name in self.in_force or any(one.states)]

    def _unix(self, moment: float) -> float:
        return round(self.wall_now + moment - self.now, 3)

    def _of_targets(self) -> Iterator[Metric]:
        targets = GaugeMetricFamily(
            "keepalive_targets", "Targets in each state of eligibility.", labels=("credential", "state")
        )
        for one in self._present:
            for state, count in one.targets.items():
                targets.add_metric((one.name, state.value), count)
        yield targets

        deadlines = GaugeMetricFamily(
            "keepalive_nearest_deadline_timestamp_seconds",
            "When the next target that is eligible or at risk lapses unless it is renewed.",
            labels=("credential",),
        )
        for name, deadline in _nearest_deadlines(self.holders).items():
            deadlines.add_metric((name,), self._unix(deadline))
        yield deadlines

        eligible = CounterMetricFamily(
            "keepalive_eligible_target_seconds",
            "Seconds that targets were eligible or at risk, summed over the targets.",
            labels=("credential",),
        )
        lapsed = CounterMetricFamily(
            "keepalive_lapsed_target_seconds",
            "Seconds that targets were lapsed, summed over the targets.",
            labels=("credential",),
        )
        for one in self.credentials:
            eligible.add_metric((one.name,), one.eligible_seconds)
            lapsed.add_metric((one.name,), one.lapsed_seconds)
        yield eligible
        yield lapsed

    def _of_credentials(self) -> Iterator[Metric]:
        heartbeats = CounterMetricFamily(
            "keepalive_heartbeats",
            "Heartbeats that were accepted, or failed: the target lapsed or was denied instead.",
            labels=("credential", "outcome"),
        )
        attempts = CounterMetricFamily(
            "keepalive_attempts",
            "Attempts that came back: accepted, throttled, denied or transient.",
            labels=("credential", "outcome"),
        )
        for one in self.credentials:
            for outcome, count in one.heartbeats.items():
                heartbeats.add_metric((one.name, outcome), count)
            for outcome, count in one.attempts.items():
                attempts.add_metric((one.name, outcome), count)
        yield heartbeats
        yield attempts

        yield _histogram(
            "keepalive_attempt_duration_seconds",
            "How long attempts took from their sending until they came back, accepted or not.",
            self.duration,
        )
        yield _histogram(
            "keepalive_beat_lateness_seconds",
            "How long after they were due the accepted attempts had left.",
            self.lateness,
        )

        expiries = GaugeMetricFamily(
            "keepalive_credential_expiry_timestamp_seconds",
            "When the token of a credential ends, where it does.",
            labels=("credential",),
        )
        for one in self._present:
            if one.expires_on is not None:
                expiries.add_metric((one.name,), self._unix(one.expires_on))
        yield expiries

    def _of_groups(self) -> Iterator[Metric]:
        allowed = GaugeMetricFamily(
            "keepalive_budget_allowed_requests",
            "Requests of the quota's period that keepalive may use.",
            labels=("rate_group",),
        )
        remaining = GaugeMetricFamily(
            "keepalive_budget_remaining_requests",
            "Requests that keepalive may still use of the quota's sliding period.",
            labels=("rate_group",),
        )
        throttled = GaugeMetricFamily(
            "keepalive_throttled_until_timestamp_seconds",
            "Until when a rate group is silent after a 429, or 0.",
            labels=("rate_group",),
        )
        for group in self.groups:
            if group.held or group.refused or group.spent:  # else it left the plan, and nothing of it counts
                allowed.add_metric((group.name,), group.quota.allowed)
                remaining.add_metric((group.name,), group.remaining)
                silent = self.now < group.silent_until < inf
                throttled.add_metric((group.name,), self._unix(group.silent_until) if silent else 0.0)
        yield allowed
        yield remaining
        yield throttled

        breakers = GaugeMetricFamily(
            "keepalive_breaker_open",
            "Breakers that are open: what stands under one is only probed.",
            labels=("kind",),
        )
        scopes = [breaker.scope for group in self.groups for breaker in group.breakers]
        for scope in Scope:
            breakers.add_metric((scope.name.lower(),), scopes.count(scope))
        yield breakers

    def _of_the_daemon(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "keepalive_connections_opened",
            "Connections to the API that were begun, those that failed too.",
            value=self.connections_opened,
        )
        dropped = CounterMetricFamily(
            "keepalive_events_dropped",
            "Events that a sink lost because whoever reads it was too slow.",
            labels=("sink",),
        )
        for sink, count in self.dropped.items():
            dropped.add_metric((sink,), count)
        yield dropped
        yield GaugeMetricFamily(
            "keepalive_config_last_reload_successful",
            "1 where the last reload was accepted or there was none; 0 where the old configuration stays.",
            value=float(self.reloaded),
        )
        yield InfoMetricFamily(
            "keepalive_build",
            "The version of keepalive, and of the Python that runs it.",
            value={"version": __version__, "python": platform.python_version()},
        )


def _nearest_deadlines(groups: Iterable[RateGroup]) -> dict[str, float]:
    """The next moment at which a target of each credential lapses; the engine goes on meanwhile."""
    nearest: dict[str, float] = {}
    for group in groups:
        window = group.plan.policy.window
        for hold in group.holds():
            state, renewed_at = hold.state, hold.renewed_at
            holding = state is Eligibility.ELIGIBLE or state is Eligibility.AT_RISK
            if holding and renewed_at is not None:
                name, deadline = hold.target.credential, renewed_at + window
                if deadline < nearest.get(name, inf):
                    nearest[name] = deadline
    return nearest


def _histogram(name: str, documentation: str, reading: HistogramReading) -> Metric:
    buckets = [("+Inf" if bound == inf else str(bound), float(count)) for bound, count in reading.buckets]
    return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=reading.total)
