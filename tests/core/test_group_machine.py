"""A rate group under any order of outcomes, moments, plans, hastens, drains and restarts."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keepalive.core.budget import INSISTENT_FAILURES
from keepalive.core.eligibility import Eligibility, judge
from keepalive.core.events import EligibilityChanged, Event, GroupThrottled, HeartbeatAccepted
from keepalive.core.group import FLIGHTS_PER_TARGET, RateGroup
from keepalive.core.hold import Hold
from keepalive.core.outcome import Accepted, Attempt, Headroom, Order, Outcome, Transient
from keepalive.core.plan import GroupPlan, Policy, Quota, admit
from keepalive.core.stamp import Stamp
from keepalive.core.state import GroupState
from keepalive.core.tally import Tally
from keepalive.core.target import Key, Scope, Target
from tests.core.stage import (
    ACCEPTED,
    ACCOUNT,
    HUNG,
    NOT_JSON,
    RESET,
    START,
    UNAVAILABLE,
    denied,
    fleet,
    planned,
    throttled,
)

CROWD = fleet(4) + fleet(3, account_id="f" * 32) + fleet(3, "other")
PERIOD = 60.0
SERVICE = 7.0
"""Seconds of service that save every lease which lasts as long, whatever failed before."""

PROBED = 5.0 / 45
"""The same for what was refused, as a part of the window, and besides 0.1 s for each target."""

policies = st.sampled_from(
    [Policy(), Policy(), Policy(window=6, interval=2, jitter=0.5), Policy(window=120), Policy(interval=inf)]
)
quotas = st.sampled_from([24, 40, 200, 600]).map(lambda requests: Quota(requests, PERIOD))
plans = st.builds(
    planned,
    st.lists(st.sampled_from(CROWD), max_size=10, unique=True).map(tuple),
    policies,
    quotas,
)
draws = st.floats(0, 1, exclude_max=True)
outcomes = st.one_of(
    st.sampled_from([ACCEPTED, ACCEPTED, RESET, HUNG, UNAVAILABLE, NOT_JSON]),
    st.sampled_from([Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET]).map(denied),
    st.sampled_from([None, 0.5, 5.0, 60.0]).map(throttled),
    st.builds(lambda left, seconds: Accepted(Headroom(left, seconds)), st.integers(0, 50), st.floats(1, 60)),
)
keys = st.sampled_from([(), ("prod",), ("other",), ("prod", ACCOUNT), CROWD[0]])


class GroupMachine(RuleBasedStateMachine):
    """Plays the engine, and keeps books of its own to hold the group's against."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.sent: list[float] = []
        self.silent_until = -inf
        self.renewed: dict[Target, float] = {}
        self.renewed_before: dict[Target, float] = {}
        self.entered: dict[Target, int] = {}
        self.serial = 0
        self.begin(GroupPlan("default", ()))

    def begin(self, plan: GroupPlan) -> None:
        """A process starts."""
        self.group = RateGroup("default")
        self.tally = Tally()
        self.states: dict[Target, Eligibility] = {}
        self.flights: dict[int, Attempt] = {}
        self.draining = False
        self.serial = 0
        self.entered = {}
        self.plan(plan)

    def plan(self, plan: GroupPlan) -> None:
        self.wanted = plan
        self.held = admit(plan).admitted
        self.renewed = {target: at for target, at in self.renewed.items() if target in self.held}
        self.entered = {target: self.entered.get(target, self.serial) for target in self.held}
        self.group.apply(plan, self.now)

    # --- what may happen ------------------------------------------------------------------------

    @initialize(plan=plans)
    def start(self, plan: GroupPlan) -> None:
        self.begin(plan)
        self.turn()

    @rule(seconds=st.one_of(st.floats(0, 3), st.floats(0, 100)))
    def oversleep(self, seconds: float) -> None:
        self.now += seconds
        self.turn()

    @rule(times=st.integers(1, 8))
    def wake(self, times: int) -> None:
        for _ in range(times):
            moment = self.group.next_wake(self.now)
            if moment < self.now + 400:
                self.now = moment
                self.turn()

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), outcome=outcomes, after=st.floats(0, 5), u=draws)
    def land(self, data: st.DataObject, outcome: Outcome, after: float, u: float) -> None:
        serial = data.draw(st.sampled_from(sorted(self.flights)))
        self.now += after
        self.settle(self.flights.pop(serial), outcome, u)
        self.turn()

    @precondition(lambda self: self.flights)
    @rule(outcome=outcomes, u=draws)
    def land_all(self, outcome: Outcome, u: float) -> None:
        self.now += 0.1
        for attempt in list(self.flights.values()):
            del self.flights[attempt.order.serial]
            self.settle(attempt, outcome, u)
        self.turn()

    @rule(plan=plans)
    def reload(self, plan: GroupPlan) -> None:
        self.plan(plan)
        self.turn()

    @rule(key=keys)
    def forgive(self, key: Key) -> None:
        self.group.forgive(key, self.now)
        self.turn()

    @rule()
    def hasten(self) -> None:
        self.group.hasten(self.now)
        self.turn()

    @precondition(lambda self: not self.draining)
    @rule()
    def drain(self) -> None:
        self.group.drain(self.now)
        self.draining = True
        self.turn()

    @rule(downtime=st.floats(0, 60), lost=st.sets(st.sampled_from(CROWD)), ring=st.booleans())
    def restart(self, downtime: float, lost: set[Target], *, ring: bool) -> None:
        """A SIGKILL, which may lose the newest renewals but no call, and another process."""
        state = self.saved(lost, ring=ring)
        self.now += downtime
        self.go_on(state)

    @rule(downtime=st.floats(0, 60), uptime=st.floats(1, 10_000), ring=st.booleans())
    def reboot(self, downtime: float, uptime: float, *, ring: bool) -> None:
        """Another boot, with a clock of its own: from here on all moments are of that one."""
        saved = Stamp("old", self.now)
        state = self.saved(set(), ring=ring)
        shift = uptime - (self.now + downtime)
        self.now = uptime
        self.sent = [at + shift for at in self.sent]
        self.silent_until += shift
        self.renewed.clear()
        self.renewed_before.clear()
        self.go_on(state.carried_over(saved, Stamp("new", self.now)))

    def saved(self, lost: set[Target], *, ring: bool) -> GroupState:
        """What outlives the process: by its own word, or with the calls as a ring has them."""
        state = self.group.save(self.now)
        assert dict(state.renewed) == self.renewed
        for target in lost & self.renewed.keys():
            before = self.renewed_before.pop(target, -inf)
            self.renewed[target] = before
        self.renewed = {target: at for target, at in self.renewed.items() if at > -inf}
        calls = tuple((at, 1) for at in self.sent if self.now - PERIOD < at) if ring else state.calls
        return replace(state, renewed=tuple(self.renewed.items()), calls=calls)

    def go_on(self, state: GroupState) -> None:
        """Another process knows `state`."""
        self.begin(self.wanted)
        self.group.restore(state, self.now)
        free = self.group.budget.ready_at(self.now) <= self.now
        before = len(self.sent)
        self.turn()
        assert not self.held or not free or len(self.sent) > before, "nobody shows whether the way is free"
        for refusal in state.refusals:
            under = [target for target in self.held if target[: len(refusal.key)] == refusal.key]
            assert {self.states[target] for target in under} <= {Eligibility.DENIED}
        assert self.now >= state.silent_until or self.group.budget.throttles == state.throttles

    # --- an engine that is on time ------------------------------------------------------------------

    @rule(
        seconds=st.floats(0, 50),
        replies=st.lists(st.tuples(outcomes, st.floats(0, 5)), min_size=1, max_size=3),
        u=draws,
    )
    def suffer(self, seconds: float, replies: list[tuple[Outcome, float]], u: float) -> None:
        """Every attempt ends in one of a few ways."""
        for _ in self.play(seconds, lambda order: replies[order.serial % len(replies)], u):
            pass

    @precondition(lambda self: not self.draining and self.wanted.policy.interval < inf)
    @rule(seconds=st.floats(SERVICE, 50), u=draws)
    def serve(self, seconds: float, u: float) -> None:
        """Whatever has happened: from now on every attempt that leaves is accepted.

        A lease that goes on for seven seconds of that must not run down, as long as there were calls left
        in the seven seconds before it would; it takes a little longer where it was refused, not only down.
        For one that fails without end, calls are what nobody else needs.
        """
        begun, window = self.now, self.wanted.policy.window
        refused = any(key for key in self.group._gates.breakers)  # the empty one is the origin's
        needed = max(SERVICE, PROBED * window + len(self.held) / 10 if refused else 0.0)
        without_calls: dict[Target, float] = {}
        for until in self.play(seconds, lambda order: (ACCEPTED, 0.1), u):
            for hold in self.group._roster:
                if self.calls_for(hold) > self.now:
                    without_calls[hold.target] = min(until, self.calls_for(hold))
            for target, at in self.renewed.items():
                deadline = at + window
                since = max(begun, without_calls.get(target, begun))
                assert not self.now < deadline <= until or deadline - needed < since, f"{target.label} lapsed"

    def calls_for(self, hold: Hold) -> float:
        """When there are calls that this target may use."""
        budget = self.group.budget
        ready = budget.ready_at(self.now)
        return (
            max(ready, self.group._ready_again_at(self.now)) if hold.failures >= INSISTENT_FAILURES else ready
        )

    def play(
        self, seconds: float, reply: Callable[[Order], tuple[Outcome, float]], u: float
    ) -> Iterator[float]:
        """Let time pass, and give each moment until which nothing happens; what left before hangs."""
        end = self.now + seconds
        lands: dict[int, tuple[float, Outcome]] = {
            serial: (attempt.sent_at + attempt.order.timeout, HUNG)
            for serial, attempt in self.flights.items()
        }
        while True:
            for serial in sorted(self.flights, key=lambda serial: (lands[serial][0], serial)):
                if lands[serial][0] <= self.now:
                    self.settle(self.flights.pop(serial), lands[serial][1], u)
            self.turn()
            for serial, attempt in self.flights.items():
                if serial not in lands:
                    outcome, after = reply(attempt.order)
                    hung = isinstance(outcome, Transient) and outcome.hung
                    lands[serial] = (self.now + (attempt.order.timeout if hung else after), outcome)
            landing = min((lands[serial][0] for serial in self.flights), default=inf)
            until = min(self.group.next_wake(self.now), landing, end)
            yield until
            self.now = until
            if until == end:
                break
        self.turn()

    # --- what the engine does ---------------------------------------------------------------------

    def turn(self) -> None:
        self.hear(self.group.announce(self.now))
        while order := self.group.take(self.now):
            self.send(order)
        self.hear(self.group.announce(self.now))
        assert self.group.next_wake(self.now) > self.now, "a busy loop"

    def send(self, order: Order) -> None:
        assert order.target in self.held
        assert order.due_at <= self.now
        assert order.serial > self.serial
        assert order.hedge == (self.in_flight(order.target) > 0)
        self.serial = order.serial
        self.sent.append(self.now)
        quota = self.wanted.quota
        assert sum(self.now - PERIOD < at for at in self.sent) <= quota.allowed, "over the share"
        assert self.now >= self.group.budget.silent_until
        assert self.now >= self.silent_until - 1e-6
        self.flights[order.serial] = Attempt(order, self.now, inf, ACCEPTED)

    def settle(self, attempt: Attempt, outcome: Outcome, u: float) -> None:
        order = attempt.order
        done = Attempt(order, attempt.sent_at, self.now, outcome)
        if isinstance(outcome, Accepted) and order.serial > self.entered.get(order.target, self.serial):
            before = self.renewed.get(order.target, -inf)
            if attempt.sent_at > before:
                self.renewed[order.target] = attempt.sent_at
                self.renewed_before[order.target] = before
        self.hear(self.group.settle(done, self.now, u))

    def hear(self, events: list[Event]) -> None:
        for event in events:
            assert event.at <= self.now, "an event of the future"
            self.tally(event)
            if isinstance(event, GroupThrottled):
                self.silent_until = event.until
            if isinstance(event, HeartbeatAccepted):
                self.entered[event.target] = self.serial
                assert event.eligible_until == self.renewed[event.target] + self.wanted.policy.window
            if isinstance(event, EligibilityChanged):
                assert event.from_state == self.states.get(event.target)
                assert event.from_state is not event.to_state
                if event.to_state is None:
                    del self.states[event.target]
                else:
                    self.states[event.target] = event.to_state

    def in_flight(self, target: Target) -> int:
        return sum(
            attempt.order.target == target and attempt.order.serial > self.entered.get(target, 0)
            for attempt in self.flights.values()
        )

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def every_held_target_is_armed_due_or_in_flight(self) -> None:
        if self.draining:
            return
        armed = {id(hold) for at, _, hold in self.group._queue._armed if at == hold.due_at}
        for hold in self.group._roster:
            rests = self.group.interval == inf
            assert rests or hold.flights or hold.ticket or id(hold) in armed

    @invariant()
    def flights_are_counted_and_at_most_four(self) -> None:
        for hold in self.group._roster:
            assert hold.flights == self.in_flight(hold.target) <= FLIGHTS_PER_TARGET

    @invariant()
    def the_tally_counts_what_the_targets_are(self) -> None:
        known = Counter(self.states.values())
        assert self.tally.counts == {state: known[state] for state in Eligibility}
        assert set(self.states) == set(self.wanted.targets)
        assert 0 <= self.tally.ratio(self.now) <= 1

    @invariant()
    def states_are_what_the_leases_say(self) -> None:
        for target, state in self.states.items():
            if target not in self.held:
                assert state is Eligibility.REFUSED
            elif state is not Eligibility.DENIED:
                window = self.wanted.policy.window
                renewed_at = self.renewed.get(target)
                assert state is judge(renewed_at, denied=False, now=self.now, window=window)

    @invariant()
    def what_is_denied_stands_under_a_breaker(self) -> None:
        for hold in self.group._roster:
            assert (hold.state is Eligibility.DENIED) == self.group._gates.breakers.deny(hold.target)

    def teardown(self) -> None:
        """Whatever has happened: once the API answers, everybody comes back."""
        if self.draining or self.wanted.policy.interval == inf:
            return
        for attempt in list(self.flights.values()):
            self.settle(attempt, ACCEPTED, 0.5)
        self.flights.clear()
        end = self.now + 1300
        while self.now < end and not self.all_hold():
            self.turn()
            self.now = min(self.group.next_wake(self.now), self.now + 0.05 if self.flights else inf)
            for attempt in list(self.flights.values()):
                self.settle(attempt, ACCEPTED, 0.5)
            self.flights.clear()
        assert self.all_hold()

    def all_hold(self) -> bool:
        return all(self.states[target].holds for target in self.held)


TestGroup = GroupMachine.TestCase
TestGroup.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


troubles = st.one_of(
    st.sampled_from([RESET, HUNG, UNAVAILABLE, NOT_JSON]),
    st.sampled_from([Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET]).map(denied),
)


@settings(max_examples=60, deadline=None, print_blob=True)
@given(
    count=st.integers(1, 63),
    before=st.floats(0, 60),
    trouble=st.lists(st.tuples(troubles, st.floats(0, 5)), min_size=1, max_size=2),
    lasts=st.floats(20, 38),
    u=draws,
)
def test_seven_seconds_of_service_save_everybody_whatever_the_trouble_was(
    count: int, before: float, trouble: list[tuple[Outcome, float]], lasts: float, u: float
) -> None:
    machine = GroupMachine()
    machine.start(planned(fleet(count)))
    machine.serve(max(SERVICE, before), u)
    machine.suffer(lasts, trouble, u)
    machine.serve(30, u)
