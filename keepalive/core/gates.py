"""The gates: all that an attempt of one rate group has to pass before it may leave."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from keepalive.core.breaker import Breaker, Breakers
from keepalive.core.budget import Budget
from keepalive.core.events import BreakerClosed, BreakerOpened, Event, GroupThrottled
from keepalive.core.outcome import Attempt, Denied, Fault, Headroom, Order, Throttled, Transient
from keepalive.core.plan import Quota
from keepalive.core.ramp import RAMP_START, Ramp
from keepalive.core.schedule import CAUTIOUS_HEDGE, AnswerTime
from keepalive.core.state import GroupState
from keepalive.core.target import Key, Scope, Target
from keepalive.core.trail import Trail

SPENT = Fault(
    "quota_spent",
    "a reply says that nothing is left of the quota",
    hint="something else spends the quota of this Cloudflare user: give keepalive a user of its own",
)

REMEMBERED = Fault("restored", "an earlier process was told to be silent")


class Gates:
    """The budget, the ramp and the breakers of a group, and what the answers teach them.

    Whatever opens or closes is told as an event. Methods that may close a breaker return the keys under
    which targets suffered and may come back.
    """

    __slots__ = ("_group", "_ramp", "_tell", "_trail", "answer_time", "breakers", "budget", "window")

    def __init__(self, group: str, tell: Callable[[Event], None]) -> None:
        self._group = group
        self._tell = tell
        self._ramp = Ramp()
        self._trail = Trail()
        self.answer_time = AnswerTime()
        self.breakers = Breakers()
        self.budget = Budget(Quota())
        self.window = inf

    @property
    def probing(self) -> bool:
        """Whether the origin is taken for dead, and only probed."""
        return () in self.breakers

    @property
    def coming_back(self) -> bool:
        """Whether it still has to be shown, after a silence or an outage, that the way is free."""
        return self._ramp.active

    @property
    def _patience(self) -> float:
        return max(CAUTIOUS_HEDGE, self.answer_time.overdue)

    def ready_at(self, now: float) -> float:
        """The moment at which an attempt of any target may leave, as far as the whole group is concerned."""
        ready = max(self.budget.ready_at(now), self._ramp.ready_at(now))
        origin = self.breakers.get(())
        return max(ready, origin.ready_at(now)) if origin else ready

    def charge(self, order: Order, now: float) -> None:
        """Count an order that leaves now."""
        self.budget.charge(now)
        self._ramp.charge(now, order.serial)
        self._trail.sent(order.serial, order.target, now)
        if self.breakers:
            for breaker in self.breakers.over(order.target):
                breaker.charge(now)
            if origin := self.breakers.get(()):
                origin.charge(now)

    def caught_up(self) -> None:
        """Nobody waits any more: the group has come back."""
        self._ramp.lift()

    # --- what the answers teach ----------------------------------------------------------------

    def answered(self, attempt: Attempt, now: float) -> list[Key]:
        """An answer below 500 came that is no 429."""
        closed = self._alive(attempt, now)
        self._ramp.settle(attempt.order.serial, success=True)
        if self.budget.answered(attempt.sent_at):
            self._come_back(now)
        return closed

    def heed(self, headroom: Headroom, now: float) -> None:
        """A reply said what is left of the quota; nothing means silence until the reset."""
        if self.budget.heed(headroom, now):
            self._tell_silence(None, SPENT, now)

    def throttled(self, attempt: Attempt, outcome: Throttled, now: float, u: float) -> list[Key]:
        """A 429 came: silence for the group, then a single probe."""
        closed = self._alive(attempt, now)
        if self.budget.silence(outcome, attempt.sent_at, now, u):
            self._tell_silence(outcome.retry_after, outcome.fault, now)
        self._ramp.begin(now, 1, self._patience)
        return closed

    def _tell_silence(self, retry_after: float | None, fault: Fault, now: float) -> None:
        until = self.budget.silent_until
        self._tell(
            GroupThrottled(at=now, rate_group=self._group, until=until, retry_after=retry_after, fault=fault)
        )

    def resume(self, state: GroupState, used: Callable[[Key], bool], now: float) -> list[Key]:
        """Go on with what another process knew: its calls, its silence, and the refusals of those `used`.

        Returns:
            The keys that are refused.
        """
        self.budget.ledger.restore(state.calls)
        if self.budget.resume(state.silent_until, state.throttles, now):
            self._ramp.begin(now, 1, self._patience)
        if state.silent_until > now:
            self._tell_silence(None, REMEMBERED, now)
        refused = [refusal for refusal in state.refusals if used(refusal.key)]
        for refusal in refused:
            breaker = self.breakers[refusal.key] = Breaker.resumed(refusal, now, self.window)
            self._tell_open(refusal.key, breaker, now)
        return [refusal.key for refusal in refused]

    def denied(self, attempt: Attempt, outcome: Denied, now: float) -> tuple[Breaker, list[Key]]:
        """A refusal came: the breaker at its scope counts it, and all around it is proved to work."""
        target, scope = attempt.order.target, outcome.scope
        closed = [key for wider in range(scope) for key in self.close(target[:wider], now)]
        breaker = self.breakers.get(target[:scope])
        if breaker is None:
            breaker = self._open(target[:scope], scope, outcome.fault, now)
        else:
            breaker.repeat(outcome.fault, attempt.sent_at, now)
        return breaker, closed

    def failed(self, attempt: Attempt, outcome: Transient, now: float, *, outrun: bool) -> list[Key]:
        """A passing fault came; `outrun` when its target had been renewed, or is gone."""
        if outcome.headroom:
            self.heed(outcome.headroom, now)
        if outcome.scope is not Scope.ORIGIN:
            return self.answered(attempt, now)
        self._ramp.settle(attempt.order.serial, success=False)
        self._trail.failed(attempt.order.serial, outrun=outrun)
        return []

    def _alive(self, attempt: Attempt, now: float) -> list[Key]:
        self.answer_time.observe(now - attempt.sent_at)
        self._trail.answered(now)
        return self.close((), now)

    # --- breakers ------------------------------------------------------------------------------

    def watch_origin(self, now: float, targets: int, last_fault: Callable[[], Fault]) -> None:
        """Open the origin's breaker when what was sent shows that nobody answers there."""
        if not self.probing and self._trail.dead(now, self.answer_time.overdue, targets):
            self._open((), Scope.ORIGIN, last_fault(), now)
            self._ramp.lift()

    def close_over(self, target: Target, now: float) -> list[Key]:
        """A heartbeat of `target` was accepted: whatever it stands under works."""
        if not self.breakers:
            return []
        return [key for scope in Scope for key in self.close(target[:scope], now)]

    def close_under(self, key: Key, now: float) -> list[Key]:
        """Forget every fault under `key`: what caused it may have changed."""
        stale = [known for known in self.breakers if known[: len(key)] == key]
        return [closed for known in stale for closed in self.close(known, now)]

    def close_unused(self, used: Callable[[Key], bool], now: float) -> None:
        """Forget the breakers under which nobody is left."""
        for key in [known for known in self.breakers if not used(known)]:
            self.close(key, now)

    def close(self, key: Key, now: float) -> list[Key]:
        """Close one breaker, where there is one."""
        breaker = self.breakers.pop(key, None)
        if breaker is None:
            return []
        open_for = now - breaker.opened_at
        self._tell(
            BreakerClosed(at=now, rate_group=self._group, scope=breaker.scope, key=key, open_for=open_for)
        )
        if breaker.scope is not Scope.TARGET:
            self._come_back(now)
        return [key]

    def _open(self, key: Key, scope: Scope, fault: Fault, now: float) -> Breaker:
        breaker = self.breakers[key] = Breaker(scope, fault, now, self.window)
        self._tell_open(key, breaker, now)
        return breaker

    def _tell_open(self, key: Key, breaker: Breaker, now: float) -> None:
        scope, fault = breaker.scope, breaker.fault
        self._tell(BreakerOpened(at=now, rate_group=self._group, scope=scope, key=key, fault=fault))

    def _come_back(self, now: float) -> None:
        self._ramp.begin(now, RAMP_START, self._patience)
