"""A stage: one rate group played in virtual time against replies that a test makes up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple, TypeVar

from keepalive.core.events import Event
from keepalive.core.group import RateGroup
from keepalive.core.outcome import Accepted, Attempt, Denied, Fault, Order, Outcome, Throttled, Transient
from keepalive.core.plan import GroupPlan, Policy, Quota
from keepalive.core.tally import Tally
from keepalive.core.target import Scope, Target

ACCOUNT = "0123456789abcdef0123456789abcdef"
START = 1000.0
"""The moment at which every play begins: an uptime, so not 0."""

ACCEPTED = Accepted()
HUNG = Transient(Fault("timeout"), hung=True)
RESET = Transient(Fault("reset"))
UNAVAILABLE = Transient(Fault("http_503", http_status=503))
NOT_JSON = Transient(Fault("not_json", http_status=200), Scope.TARGET)


def throttled(retry_after: float | None = None) -> Throttled:
    return Throttled(Fault("throttled", http_status=429), retry_after)


def denied(scope: Scope) -> Denied:
    return Denied(Fault("authentication", http_status=401), scope)


def fleet(count: int, credential: str = "prod", account_id: str = ACCOUNT) -> tuple[Target, ...]:
    return tuple(Target(credential, account_id, f"script-{index}") for index in range(count))


def planned(
    targets: tuple[Target, ...], policy: Policy | None = None, quota: Quota | None = None
) -> GroupPlan:
    return GroupPlan("default", targets, policy or Policy(), quota or Quota())


class Reply(NamedTuple):
    """What comes back, and after how many seconds."""

    outcome: Outcome = ACCEPTED
    after: float = 0.1


@dataclass(frozen=True, slots=True)
class Sent:
    """An order that left."""

    at: float
    order: Order

    @property
    def target(self) -> Target:
        return self.order.target


Told = TypeVar("Told", bound=Event)
Answer = Callable[[Order, float], Reply]


def healthy(order: Order, at: float) -> Reply:
    return Reply()


def always(outcome: Outcome, after: float = 0.1) -> Answer:
    return lambda order, at: Reply(outcome, after)


def hanging(order: Order, at: float) -> Reply:
    return Reply(HUNG, order.timeout)


class Stage:
    """Takes what the group orders and settles what the test answers; every loop of it must move on."""

    def __init__(self, plan: GroupPlan, answer: Answer = healthy, u: float = 0.5) -> None:
        self.group = RateGroup(plan.name)
        self.answer = answer
        self.u = u
        self.now = START
        self.sent: list[Sent] = []
        self.events: list[Event] = []
        self.tally = Tally()
        self.flights: list[tuple[float, int, Attempt]] = []
        self.group.apply(plan, self.now)

    def play(self, seconds: float) -> list[Sent]:
        """Let `seconds` pass; what left meanwhile."""
        until, before = self.now + seconds, len(self.sent)
        while True:
            self.turn()
            landing = self.flights[0][0] if self.flights else inf
            moment = min(self.group.next_wake(self.now), landing)
            assert moment > self.now, "a busy loop: nothing to do, yet woken at once"
            if moment > until:
                self.now = until
                return self.sent[before:]
            self.now = moment
            self.land()

    def turn(self) -> None:
        """Tell and send what there is, as the dispatcher does."""
        self.hear(self.group.announce(self.now))
        while order := self.group.take(self.now):
            self.sent.append(Sent(self.now, order))
            outcome, after = self.answer(order, self.now)
            attempt = Attempt(order, self.now, self.now + after, outcome)
            heappush(self.flights, (attempt.done_at, order.serial, attempt))
        self.hear(self.group.announce(self.now))

    def land(self) -> None:
        """Settle what has come back until now."""
        while self.flights and self.flights[0][0] <= self.now:
            _, _, attempt = heappop(self.flights)
            self.hear(self.group.settle(attempt, self.now, self.u))

    def hear(self, events: list[Event]) -> None:
        for event in events:
            assert event.at <= self.now, "an event of the future"
            self.events.append(event)
            self.tally(event)

    def told(self, kind: type[Told]) -> Iterator[Told]:
        """The events of one kind, so far."""
        return (event for event in self.events if isinstance(event, kind))

    def moments(self, target: Target | None = None) -> list[float]:
        """When attempts left, since the start; of one target or of all."""
        return [sent.at - START for sent in self.sent if target is None or sent.target == target]
