"""A rate group: the one aggregate that decides who beats when, for all targets that share one quota."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from keepalive.core.breaker import Breaker
from keepalive.core.budget import INSISTENT_FAILURES, Budget
from keepalive.core.eligibility import Eligibility, judge
from keepalive.core.events import (
    AttemptFailed,
    CredentialDenied,
    Event,
    HeartbeatAccepted,
    TargetRefused,
)
from keepalive.core.gates import Gates
from keepalive.core.hold import Hold
from keepalive.core.outcome import Accepted, Attempt, Denied, Fault, Order, Throttled, Transient
from keepalive.core.plan import GroupPlan, admit
from keepalive.core.queue import DueQueue
from keepalive.core.roster import Roster
from keepalive.core.schedule import next_beat, regained_phase, retry_delay
from keepalive.core.standing import GroupStanding, OpenBreaker, TargetStanding
from keepalive.core.state import GroupState
from keepalive.core.target import Key, Scope, Target
from keepalive.core.tempo import Tempo

FLIGHTS_PER_TARGET = 4
"""Attempts of one target that may be unanswered at a time."""

PROBE_SECONDS = 1.0
"""Seconds after which others may ask again whether a probe has shown that the way is free."""

OUT_OF_STEP = 0.1
"""Part of the interval by which a heartbeat has to be late to lose its phase, and be given it anew."""


class RateGroup:
    """Decides for one rate group. Synchronous and pure: time and chance are arguments.

    The caller asks `take` for orders until there is none, tells `settle` how each ended, asks again no
    later than `next_wake`, and passes the events on. Every held target is armed for a moment, due and
    waiting for a gate, or in flight: `settle` alone decides when it is next due.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.plan = GroupPlan(name, ())
        self._events: list[Event] = []
        self._tell = self._events.append
        self._gates = Gates(name, self._tell)
        self._roster = Roster(self._tell, self._gates.breakers.deny)
        self._queue = DueQueue()
        self._tempo = Tempo(name, self._tell)
        self._serial = 0
        self._closing = False

    @property
    def budget(self) -> Budget:
        """The calls that the group may send."""
        return self._gates.budget

    @property
    def interval(self) -> float:
        """Seconds between two heartbeats of one target; infinite while nothing is planned."""
        return self._tempo.interval

    # --- the plan ------------------------------------------------------------------------------

    def apply(self, plan: GroupPlan, now: float) -> None:
        """Hold what `plan` says from now on. Targets that stay keep their deadlines and timers."""
        self.budget.resize(plan.quota, now)
        self.plan = plan
        admission = admit(plan)
        self.budget.charge_others(now, self._roster.forget(set(plan.targets), now))
        for target in admission.refused:
            if self._roster.refuse(target, now):
                room = len(admission.admitted)
                self._tell(TargetRefused(at=now, target=target, rate_group=self.name, room=room))
        for rank, target in enumerate(admission.admitted):
            hold = self._roster.get(target)
            if hold is None:
                self._arm(self._roster.admit(target, rank, self._serial, now), now)
            else:
                hold.rank = rank
        self._gates.close_unused(lambda key: bool(self._roster.under(key)), now)
        self._queue.window = self._gates.window = plan.policy.window
        self._roster.rewatch(plan.policy.window, now)
        self._tempo.fit(plan, len(self._roster), self.budget.rate, now)
        for hold in self._roster:
            if hold.renewed_at is not None and not hold.tries:  # it waits for its next regular beat
                self._arm(hold, min(hold.due_at, hold.renewed_at + self.interval))
            elif hold.due_at == inf and not hold.flights and self.interval < inf:  # it rested for good
                self._arm(hold, now)

    def hasten(self, now: float) -> None:
        """Make everyone due now, and forget all faults: the machine has slept, and who knows for how long."""
        self.forgive((), now)
        for hold in self._roster:
            hold.in_step = False
        self._wake(list(self._roster), now)

    def forgive(self, key: Key, now: float) -> None:
        """Forget what was refused under `key`, and try those who suffered now: the secret has changed."""
        self._readmit(self._gates.close_under(key, now), now)

    def drain(self, now: float) -> None:
        """Send a last heartbeat for those past half their interval; nothing is planned after it."""
        half = now - self.interval / 2
        self._wake([hold for hold in self._roster if hold.renewed_at is None or hold.renewed_at <= half], now)
        self._queue.gather(now)
        self._queue.disarm_all()
        self._closing = True

    def _wake(self, holds: list[Hold], now: float) -> None:
        for hold in holds:
            if not hold.flights and hold.due_at > now:
                self._arm(hold, now)

    def _arm(self, hold: Hold, at: float) -> None:
        if not self._closing:
            self._queue.arm(hold, at)

    # --- what may leave ------------------------------------------------------------------------

    def take(self, now: float) -> Order | None:
        """One order to send now, charged to the budget; None when nothing may leave. Ask until None."""
        queue, gates = self._queue, self._gates
        queue.gather(now)
        if queue:
            gates.watch_origin(now, len(self._roster), self._last_fault)
        while queue and gates.ready_at(now) <= now:
            hold = queue.pop_least_failed() if gates.probing else queue.pop(now)
            if (at := self._ready_at(hold, now)) > now:
                self._arm(hold, at)
            elif not hold.flights or self._may_hedge(hold, now):
                return self._order(hold, now)
            else:
                self._arm(hold, inf)  # what is in flight decides, when it comes back
        if not queue:
            gates.caught_up()
        return None

    def next_wake(self, now: float) -> float:
        """When `take` or `announce` may have something; infinite for never. Changes with every call."""
        return now if self._events else min(self.next_departure(now), self._roster.next_at())

    def next_departure(self, now: float) -> float:
        """When `take` may have an order; infinite for never."""
        due_at = self._queue.next_at()
        return min(due_at, self._gates.ready_at(now)) if self._queue else due_at

    def _ready_at(self, hold: Hold, now: float) -> float:
        """The moment at which this target may be tried, the gates of the whole group aside."""
        ready = self._gates.breakers.ready_at(hold.target, now)
        return max(ready, self._ready_again_at(now)) if self._insists(hold) else ready

    def _ready_again_at(self, now: float) -> float:
        """When one that fails without end may be tried: a whole period of beats is kept for the others."""
        others = sum(not self._insists(hold) for hold in self._roster)
        return self.budget.ready_again_at(now, others * self.plan.quota.period / self.plan.policy.interval)

    def _insists(self, hold: Hold) -> bool:
        return hold.failures >= INSISTENT_FAILURES and not self._gates.probing

    def _may_hedge(self, hold: Hold, now: float) -> bool:
        saveable = hold.deadline(self.plan.policy.window) > now
        room = hold.flights < FLIGHTS_PER_TARGET and self.budget.allows_hedges(now)
        return saveable and room and not self._closing

    def _order(self, hold: Hold, now: float) -> Order:
        self._serial += 1
        self._tempo.charge(now, first=hold.tries == 0)
        if hold.tries == 0:
            hold.beat_due_at = hold.due_at
        hold.tries += 1
        order = Order(
            serial=self._serial,
            target=hold.target,
            number=hold.tries,
            hedge=hold.flights > 0,
            due_at=hold.due_at,
            timeout=self.plan.policy.timeout,
        )
        hold.flights += 1
        self._gates.charge(order, now)
        if self._insists(hold):
            self.budget.spare.charge(now)
        left = hold.deadline(self.plan.policy.window) - now
        self._arm(hold, now + self._gates.answer_time.hedge_delay(left) if left > 0 else inf)
        return order

    def lend(self, now: float) -> float:
        """Charge one call that another process of this user sends now.

        It gets what the heartbeats of the own targets leave, retries included, and nothing until one of them
        has shown after a 429 or an outage that the way is free.

        Returns:
            `now`, or when to ask again: nothing is charged then.
        """
        ready_at = self.budget.lendable_at(now, self._demand(now))
        if self._gates.coming_back and self._roster:
            ready_at = max(ready_at, now + PROBE_SECONDS)
        if ready_at <= now:
            self.budget.charge(now)
            self.budget.charge_others(now)
        return ready_at

    def room_at(self, now: float) -> float:
        """When one more target may join that is asked for at run time.

        Each beats at once: those that come and go, and never beat as planned, must not spend the quota.
        """
        return self.budget.others_at(now, self._demand(now))

    def _demand(self, now: float) -> float:
        """Calls that the own targets make in a period of the quota, retries included."""
        policy, period = self.plan.policy, self.plan.quota.period
        beats = len(self._roster) * period / (self.interval * policy.mean_interval_share)
        return beats * self._tempo.tries(now)

    # --- what came back ------------------------------------------------------------------------

    def settle(self, attempt: Attempt, now: float, u: float) -> list[Event]:
        """Take note of how an order ended, and decide when its target is next due.

        Args:
            attempt: The order with its outcome. Every order is settled once, also when its target is gone.
            now: The moment.
            u: Unit draw in [0, 1).
        """
        order, outcome = attempt.order, attempt.outcome
        hold = self._roster.get(order.target)
        if hold is not None and order.serial <= hold.since:
            hold = None  # its heartbeat is over: another attempt was accepted, or the target is gone
        if hold is not None:
            hold.flights -= 1
        match outcome:
            case Accepted():
                self._accepted(attempt, outcome, hold, now, u)
            case Throttled():
                self._tell_failure(attempt, outcome.fault, "throttled", now)
                self._readmit(self._gates.throttled(attempt, outcome, now, u), now)
                self._rearm(hold, now, outcome.fault)
            case Denied():
                self._denied(attempt, outcome, hold, now)
            case _:
                self._failed(attempt, outcome, hold, now, u)
        return self.announce(now)

    def failing(self, target: Target, now: float) -> bool:
        """Whether a heartbeat of `target` is under way that is worth retrying before its deadline."""
        hold = self._roster.get(target)
        return (
            hold is not None
            and hold.tries > 0
            and hold.state is not Eligibility.DENIED
            and hold.deadline(self.plan.policy.window) > now
        )

    def due_at(self, target: Target) -> float:
        """When `target` is next due, unless a gate holds it back; infinite when it is not held."""
        hold = self._roster.get(target)
        return inf if hold is None else hold.due_at

    def _accepted(self, attempt: Attempt, outcome: Accepted, hold: Hold | None, now: float, u: float) -> None:
        closed = self._gates.answered(attempt, now)
        closed += self._gates.close_over(attempt.order.target, now)
        if outcome.headroom:
            self._gates.heed(outcome.headroom, now)
        if hold is not None:
            self._renew(hold, attempt, outcome, now, u)
        self._readmit(closed, now)

    def _renew(self, hold: Hold, attempt: Attempt, outcome: Accepted, now: float, u: float) -> None:
        order, late = attempt.order, attempt.sent_at - hold.beat_due_at
        self._roster.renew(hold, attempt.sent_at, now)
        hold.since = self._serial
        self._tell(
            HeartbeatAccepted(
                at=now,
                target=hold.target,
                attempt=order.number,
                hedge=order.hedge,
                latency=now - attempt.sent_at,
                lateness=attempt.sent_at - order.due_at,
                eligible_until=hold.deadline(self.plan.policy.window),
                cf_ray=outcome.cf_ray,
            )
        )
        if now >= self._tempo.fits_until:
            self._tempo.fit(self.plan, len(self._roster), self.budget.rate, now)
        due = next_beat(attempt.sent_at, self.interval, self.plan.policy, u)
        if not hold.in_step or late > OUT_OF_STEP * self.interval:
            hold.in_step = True
            due = min(due, regained_phase(now, self.interval, hold.rank, len(self._roster)))
        self._arm(hold, max(due, now))

    def _denied(self, attempt: Attempt, outcome: Denied, hold: Hold | None, now: float) -> None:
        self._tell_failure(attempt, outcome.fault, "denied", now)
        self._readmit(self._gates.answered(attempt, now), now)
        if hold is None:
            return
        breaker, closed = self._gates.denied(attempt, outcome, now)
        self._readmit(closed, now)
        if breaker.confirmed:
            self._confirm(attempt.order.target[: outcome.scope], breaker, now)
        self._rearm(hold, breaker.ready_at(now), outcome.fault)

    def _failed(self, attempt: Attempt, outcome: Transient, hold: Hold | None, now: float, u: float) -> None:
        self._tell_failure(attempt, outcome.fault, "transient", now)
        self._readmit(self._gates.failed(attempt, outcome, now, outrun=hold is None), now)
        if hold is None:
            return
        hold.failures += 1
        left = hold.deadline(self.plan.policy.window) - now
        if left <= 0:
            due = next_beat(attempt.sent_at, self.interval, self.plan.policy, u)
        elif outcome.hung:
            due = now
        else:
            due = now + retry_delay(hold.failures, left, u, renewed=hold.renewed_at is not None)
        self._rearm(hold, max(due, now), outcome.fault)

    def _rearm(self, hold: Hold | None, due: float, fault: Fault) -> None:
        """Plan the next attempt of a target whose last one failed; a hedge that is due sooner stays."""
        if hold is None:
            return
        hold.fault = fault
        if not hold.ticket and (not hold.flights or due < hold.due_at):
            self._arm(hold, due)

    def _confirm(self, key: Key, breaker: Breaker, now: float) -> None:
        """A refusal is believed: tell it of everyone under it."""
        holds = self._roster.under(key)
        for hold in holds:
            hold.fault = hold.fault or breaker.fault
        newly = [hold for hold in holds if self._roster.judge(hold, now, breaker.fault.cause)]
        if newly and breaker.scope is Scope.CREDENTIAL:
            self._tell(
                CredentialDenied(
                    at=now,
                    credential=newly[0].target.credential,
                    fault=breaker.fault,
                    next_probe_at=breaker.ready_at(now),
                )
            )

    def _readmit(self, keys: list[Key], now: float) -> None:
        """What was broken works again: everyone who suffered under it is due now."""
        for key in keys:
            holds = self._roster.under(key)
            suffered = [hold for hold in holds if self._roster.judge(hold, now, "readmitted") or hold.fault]
            for hold in suffered:
                hold.failures = 0
            self._wake(suffered, now)

    def _last_fault(self) -> Fault:
        faults = (hold.fault for hold in self._roster if hold.fault)
        return next(faults, Fault("timeout", "no answer"))

    # --- what is told --------------------------------------------------------------------------

    def announce(self, now: float) -> list[Event]:
        """What happened since the last call: a renewal that ran down is dated when it did."""
        self._roster.run_down(now)
        if not self._events:
            return []
        events = self._events.copy()
        self._events.clear()
        return events

    def _tell_failure(self, attempt: Attempt, fault: Fault, outcome: str, now: float) -> None:
        self._tell(
            AttemptFailed(
                at=now,
                target=attempt.order.target,
                attempt=attempt.order.number,
                hedge=attempt.order.hedge,
                latency=now - attempt.sent_at,
                outcome=outcome,
                fault=fault,
            )
        )

    # --- what others see -----------------------------------------------------------------------

    def holds(self) -> list[Hold]:
        """The holds, to be read: a snapshot of which there are, not of what they are.

        Made in one step of the interpreter, so that another thread may ask for it too.
        """
        return list(self._roster.holds)

    def targets(self) -> list[Target]:
        """Whom the plan names: the held ones, then the refused."""
        return [*self._roster.held, *self._roster.refused]

    def standing_of(self, target: Target, now: float) -> TargetStanding | None:
        """What a target is now; None where the plan does not name it."""
        hold = self._roster.get(target)
        if hold is None:
            refused = target in self._roster.refused
            return TargetStanding(target, Eligibility.REFUSED, None, None, inf, 0, None) if refused else None
        window, denied = self.plan.policy.window, self._gates.breakers.deny(target)
        return TargetStanding(
            target=target,
            state=judge(hold.renewed_at, denied=denied, now=now, window=window),
            renewed_at=hold.renewed_at,
            eligible_until=None if hold.renewed_at is None else hold.deadline(window),
            due_at=hold.due_at,
            failures=hold.failures,
            fault=hold.fault,
        )

    def standing(self, now: float) -> GroupStanding:
        """What the group is now."""
        return GroupStanding(
            name=self.name,
            held=len(self._roster),
            refused=len(self._roster.refused),
            interval=self.interval,
            nominal=self.plan.policy.interval,
            quota=self.plan.quota,
            spent=self.budget.ledger.count(now),
            silent_until=self.budget.silent_until,
            throttles=self.budget.throttles,
            breakers=tuple(
                OpenBreaker(each.scope, key, each.fault, each.opened_at)
                for key, each in self._gates.breakers.items()
            ),
        )

    # --- what outlives the process -------------------------------------------------------------

    def save(self, now: float) -> GroupState:
        """What a restart or another replica needs."""
        return replace(self._state(self._roster.renewals()), calls=self.budget.ledger.save(now))

    def changes(self) -> GroupState:
        """The same, but of the renewals only those since the last call, and without the ledger's calls."""
        return self._state(self._roster.fresh_renewals())

    def _state(self, renewed: tuple[tuple[Target, float], ...]) -> GroupState:
        return GroupState(
            renewed=renewed,
            silent_until=self.budget.silent_until,
            throttles=self.budget.throttles,
            refusals=self._gates.breakers.refusals,
        )

    def restore(self, state: GroupState, now: float) -> None:
        """Go on where another process stopped. Call it after `apply`.

        One heartbeat is due at once in any case, if none has left yet: it shows whether the way is free.
        """
        for target, renewed_at in state.renewed:
            hold = self._roster.get(target)
            if hold is not None and renewed_at <= now and renewed_at > (hold.renewed_at or -inf):
                self._roster.renew(hold, renewed_at, now, "restored")
                hold.in_step = renewed_at + self.interval > now
                self._arm(hold, max(now, renewed_at + self.interval))
        for key in self._gates.resume(state, lambda key: bool(self._roster.under(key)), now):
            self._confirm(key, self._gates.breakers[key], now)
        nearest = min(self._roster, key=lambda hold: hold.due_at, default=None)
        if not self._serial and nearest is not None and nearest.due_at > now:
            self._arm(nearest, now)
