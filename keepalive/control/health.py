"""Health: what probes and the watchdog are told. Judged from the scheduler alone, at any moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from keepalive.core.eligibility import Eligibility
from keepalive.core.target import Target
from keepalive.engine.scheduler import Scheduler

OVERDUE_SECONDS = 5.0
"""Seconds by which the scheduler may be late: so little that of the default window most is left."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement with its reason, in one line for people."""

    ok: bool
    reason: str


class Probe:
    """Judges the daemon.

    Cloudflare's side has no say in `health`: to restart a daemon in an outage would help nobody.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        now: Callable[[], float],
        guests: Callable[[], Iterable[Target]] = tuple,
    ) -> None:
        """Wire it up.

        Args:
            scheduler: Is judged.
            now: The moment, on the engine's clock.
            guests: The targets that nobody but leases asks for: whether they are held, their owners ask.
        """
        self._scheduler = scheduler
        self._now = now
        self._guests = guests

    def health(self) -> Verdict:
        """Whether the loop turns and the scheduler is on time; a loop that does not turn cannot even ask."""
        late = self._scheduler.overdue(self._now())
        if late > OVERDUE_SECONDS:
            return Verdict(ok=False, reason=f"the scheduler is {late:.1f} s late")
        return Verdict(ok=True, reason="the scheduler is on time")

    def readiness(self) -> Verdict:
        """Whether every target that the configuration names is eligible or at risk."""
        counts = self._configured()
        total, held = sum(counts.values()), sum(counts[state] for state in Eligibility if state.holds)
        if held == total:
            targets = "no target is configured" if not total else f"all {total:,} targets are eligible"
            return Verdict(ok=True, reason=targets)
        others = ", ".join(f"{counts[state]:,} {state}" for state in Eligibility if _spoils(counts, state))
        return Verdict(ok=False, reason=f"{held:,} of {total:,} targets are eligible; {others}")

    def _configured(self) -> Counter[Eligibility]:
        """How many configured targets are in which state."""
        tally, now = self._scheduler.tally, self._now()
        counts = Counter(tally.counts)
        if tally.all_eligible:
            return counts
        for target in self._guests():
            group = self._scheduler.group_of(target)
            if standing := group and group.standing_of(target, now):
                counts[standing.state] -= 1
        return counts


def _spoils(counts: Counter[Eligibility], state: Eligibility) -> bool:
    return not state.holds and counts[state] > 0
