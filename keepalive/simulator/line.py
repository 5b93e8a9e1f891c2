"""A line: one rate group, its client and Cloudflare at the two ends, and what is measured between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Protocol

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged, Event
from keepalive.core.outcome import Attempt, Order, Throttled
from keepalive.core.plan import GroupPlan
from keepalive.core.state import GroupState
from keepalive.core.target import Target
from keepalive.simulator.flight import Flight
from keepalive.simulator.meter import Meter
from keepalive.simulator.opinion import Opinion
from keepalive.simulator.result import FalseClaim, GroupResult, Lapse
from keepalive.simulator.session import Session
from keepalive.simulator.spells import MachineSpell, RemoteSpell
from keepalive.simulator.user import User

UNSAVED_SECONDS = 0.2
"""Renewals of the last moments before a crash that nobody had saved; calls are never lost."""

SILENCE_GRACE = 0.25
"""Seconds after a 429 in which what is already leaving may still leave."""


class Group(Protocol):
    """What is simulated: the seam of `keepalive.core.group.RateGroup`."""

    def apply(self, plan: GroupPlan, now: float) -> None:
        """Take over a plan."""
        ...

    def take(self, now: float) -> Order | None:
        """The next attempt that may leave now."""
        ...

    def settle(self, attempt: Attempt, now: float, u: float) -> list[Event]:
        """Learn how an attempt ended."""
        ...

    def next_wake(self, now: float) -> float:
        """When to ask again."""
        ...

    def announce(self, now: float) -> list[Event]:
        """What fell due."""
        ...

    def hasten(self, now: float) -> None:
        """Make everybody due: the machine has slept."""
        ...

    def save(self, now: float) -> GroupState:
        """What the next process needs."""
        ...

    def restore(self, state: GroupState, now: float) -> None:
        """Go on where another process stopped."""
        ...


class Line:
    """One rate group: the client's side, Cloudflare's side, and what is measured between them.

    Attributes:
        plan: What the group is to hold.
        group: The client's side; another one after a crash.
        saved: What the last process had saved; None before a crash.
        opinions: What the client's side says of each target.
        user: Cloudflare's side of the quota.
        sessions: Cloudflare's side of each target.
        sends: Calls that left, by the period of the quota.
        calls: The same over the whole simulation.
        silence_calls: Those of them that broke a silence, between `silent_from` and `silent_until`.
        armed: When the group is looked at next.
        woken_at: When it was looked at last.
        wakes: How often it was looked at.
    """

    __slots__ = (
        "armed",
        "calls",
        "group",
        "opinions",
        "plan",
        "saved",
        "sends",
        "sessions",
        "silence_calls",
        "silent_from",
        "silent_until",
        "user",
        "wakes",
        "woken_at",
    )

    def __init__(self, plan: GroupPlan, spells: tuple[RemoteSpell, ...], group: Group) -> None:
        self.plan = plan
        self.group = group
        self.saved: GroupState | None = None
        self.user = User(plan.quota, plan.policy.window, plan.policy.interval)
        self.sessions = {
            target: Session(
                target,
                plan.policy.window,
                tuple(spell for spell in spells if spell.touches(plan.name, target)),
            )
            for target in plan.targets
        }
        self.opinions = {target: Opinion() for target in plan.targets}
        self.sends = Meter(plan.quota.period)
        self.calls = 0
        self.silence_calls = 0
        self.silent_from = self.silent_until = -inf
        self.armed = inf
        self.woken_at = -inf
        self.wakes = 0

    def send(self, flight: Flight) -> None:
        """Measure what leaves."""
        now = flight.sent_at
        self.calls += 1
        self.sends.count(now)
        flight.session.tries.append(flight)
        if self.silent_from < now < self.silent_until:
            self.silence_calls += 1

    def hush(self, throttled: Throttled, answered_at: float, now: float) -> None:
        """A 429 that Cloudflare gave at `answered_at` was heard now."""
        if throttled.retry_after is None:
            return
        if now >= self.silent_until:
            self.silent_from = now + SILENCE_GRACE
        self.silent_until = max(self.silent_until, answered_at + throttled.retry_after)

    def hear(self, events: list[Event]) -> None:
        """Note what the group says of its targets."""
        for event in events:
            if isinstance(event, EligibilityChanged):
                self.opinions[event.target].hear(event.to_state, event.at)

    def crash(self, now: float, successor: Group) -> None:
        """The process is gone, and its opinions with it; `successor` gets what it had saved."""
        for opinion in self.opinions.values():
            opinion.hear(None, now)
        state = self.group.save(now)
        renewed = tuple(renewal for renewal in state.renewed if renewal[1] <= now - UNSAVED_SECONDS)
        self.group, self.saved = successor, replace(state, renewed=renewed)

    def start(self, now: float) -> None:
        """A process takes over the plan, and what an earlier one had saved."""
        self.group.apply(self.plan, now)
        if self.saved is not None:
            self.group.restore(self.saved, now)
        self.woken_at = -inf

    def close(self, end: float) -> None:
        """The simulation is over: what fell due until now counts."""
        self.hear(self.group.announce(end))
        for session in self.sessions.values():
            session.close(end)

    def held_seconds(self, end: float) -> float:
        """Target-seconds since each first acceptance."""
        return sum(end - session.since for session in self.sessions.values() if session.since is not None)

    def lapses(self, local: tuple[MachineSpell, ...]) -> Iterator[Lapse]:
        """Every lapse of its targets."""
        for session in self.sessions.values():
            yield from session.lapses(self.plan.name, local)

    def false_claims(self) -> Iterator[FalseClaim]:
        """Where the group's opinion was better than the truth."""
        for target, opinion in self.opinions.items():
            for start, until in opinion.against(self.sessions[target].absences()):
                yield FalseClaim(self.plan.name, target, start, until)

    def never_accepted(self) -> Iterator[Target]:
        """Held targets that Cloudflare never accepted."""
        for target, session in self.sessions.items():
            if session.since is None and self.opinions[target].state is not Eligibility.REFUSED:
                yield target

    def result(self) -> GroupResult:
        """The group's part of the result."""
        states = [opinion.state for opinion in self.opinions.values()]
        refused = states.count(Eligibility.REFUSED)
        return GroupResult(
            name=self.plan.name,
            held=len(states) - refused,
            refused=refused,
            allowed=self.plan.quota.allowed,
            worst_period=self.sends.worst,
            calls=self.calls,
            blocks=self.user.blocks,
            silence_calls=self.silence_calls,
            wakes=self.wakes,
        )
