"""The group that everybody writes first: a beat every interval, no retry, no budget."""

from __future__ import annotations

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged, Event
from keepalive.core.outcome import Accepted, Attempt, Order
from keepalive.core.plan import GroupPlan
from keepalive.core.state import GroupState
from keepalive.core.target import Target


class NaiveGroup:
    """Beats each target every interval. It calls a target eligible from `credulity` seconds on too long."""

    credulity = 0.0

    def __init__(self, name: str) -> None:
        self.name = name
        self.hastened: list[float] = []
        self._due: dict[Target, float] = {}
        self._held: dict[Target, float] = {}
        self._events: list[Event] = []
        self._serial = 0

    def apply(self, plan: GroupPlan, now: float) -> None:
        self._plan = plan
        self._due = dict.fromkeys(plan.targets, now)

    def take(self, now: float) -> Order | None:
        target = min(self._due, key=lambda target: self._due[target])
        due_at = self._due[target]
        if due_at > now:
            return None
        self._due[target] = now + self._plan.policy.interval
        self._serial += 1
        return Order(self._serial, target, 1, hedge=False, due_at=due_at, timeout=self._plan.policy.timeout)

    def settle(self, attempt: Attempt, now: float, u: float) -> list[Event]:
        target = attempt.order.target
        if isinstance(attempt.outcome, Accepted):
            if target not in self._held:
                self._change(target, Eligibility.ELIGIBLE, now)
            self._held[target] = attempt.sent_at + self._plan.policy.window + self.credulity
        return self.announce(now)

    def next_wake(self, now: float) -> float:
        return min((*self._due.values(), *self._held.values()))

    def announce(self, now: float) -> list[Event]:
        for target, until in list(self._held.items()):
            if until <= now:
                self._change(target, Eligibility.LAPSED, until)
                del self._held[target]
        events, self._events = self._events, []
        return events

    def hasten(self, now: float) -> None:
        self.hastened.append(now)
        self._due = dict.fromkeys(self._due, now)

    def save(self, now: float) -> GroupState:
        return GroupState()

    def restore(self, state: GroupState, now: float) -> None:
        """It never remembers anything."""

    def _change(self, target: Target, to_state: Eligibility, at: float) -> None:
        change = EligibilityChanged(
            at=at, target=target, from_state=None, to_state=to_state, cause="", eligible_until=None
        )
        self._events.append(change)


class CredulousGroup(NaiveGroup):
    """Believes in ten seconds more than Cloudflare gives."""

    credulity = 10.0
