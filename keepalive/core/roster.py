"""A roster: the targets of a group, what each of them is, and every change of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from heapq import heappop, heappush, heapreplace
from math import inf

from keepalive.core.eligibility import AT_RISK_AFTER, Eligibility, judge
from keepalive.core.events import EligibilityChanged, Event
from keepalive.core.hold import Hold
from keepalive.core.target import Key, Target


class Roster:
    """Knows the held and the refused targets, and tells each change of state, dated when it fell due."""

    __slots__ = ("_denied", "_fresh", "_holds", "_refused", "_tell", "_ticket", "_watch", "window")

    def __init__(self, tell: Callable[[Event], None], denied: Callable[[Target], bool]) -> None:
        self.window = inf
        self._tell = tell
        self._denied = denied
        self._holds: dict[Target, Hold] = {}
        self._refused: set[Target] = set()
        self._fresh: set[Target] = set()
        self._watch: list[tuple[float, int, Hold]] = []
        self._ticket = 0

    def __len__(self) -> int:
        """How many targets are held."""
        return len(self._holds)

    def __iter__(self) -> Iterator[Hold]:
        """The held ones."""
        return iter(self._holds.values())

    @property
    def holds(self) -> Iterable[Hold]:
        """The held ones, as a view."""
        return self._holds.values()

    @property
    def held(self) -> Iterable[Target]:
        """Who is held, in no order that means anything."""
        return self._holds.keys()

    @property
    def refused(self) -> AbstractSet[Target]:
        """Whom the quota cannot hold."""
        return self._refused

    def get(self, target: Target) -> Hold | None:
        """The hold of a target, where it is held."""
        return self._holds.get(target)

    def under(self, key: Key) -> list[Hold]:
        """The holds that share `key`."""
        if len(key) == len(Target._fields):
            hold = self._holds.get(Target(*key))  # type: ignore[arg-type] # a whole target
            return [hold] if hold else []
        return [hold for hold in self if hold.target[: len(key)] == key]

    def renewals(self) -> tuple[tuple[Target, float], ...]:
        """When each held target was renewed last, of those that ever were."""
        return self._renewals(self._holds)

    def fresh_renewals(self) -> tuple[tuple[Target, float], ...]:
        """The same of those renewed since the last call."""
        fresh, self._fresh = self._fresh, set()
        return self._renewals(fresh)

    def _renewals(self, targets: Iterable[Target]) -> tuple[tuple[Target, float], ...]:
        holds = (self._holds.get(target) for target in targets)
        return tuple((hold.target, hold.renewed_at) for hold in holds if hold and hold.renewed_at is not None)

    def admit(self, target: Target, rank: int, since: int, now: float) -> Hold:
        """Hold a target from now on."""
        hold = self._holds[target] = Hold(target, rank, since, planned_at=now)
        before = Eligibility.REFUSED if target in self._refused else None
        self._refused.discard(target)
        self._change(hold, before, Eligibility.PENDING, now, "planned")
        return hold

    def refuse(self, target: Target, now: float) -> bool:
        """Hold a target no more, or never, because the quota cannot.

        Returns:
            Whether that is new.
        """
        if target in self._refused:
            return False
        self._refused.add(target)
        held = self._holds.get(target)
        before = self._let_go(held, now).state if held else None
        self._change(held or Hold(target, 0, 0, now), before, Eligibility.REFUSED, now, "quota")
        return True

    def forget(self, wanted: set[Target], now: float) -> int:
        """Let go of every target that is not wanted any more; how many were held of them."""
        gone = self._holds.keys() - wanted
        for target in gone:
            hold = self._let_go(self._holds[target], now)
            self._change(hold, hold.state, None, now, "unplanned")
        for target in self._refused - wanted:
            self._refused.discard(target)
            self._change(Hold(target, 0, 0, now), Eligibility.REFUSED, None, now, "unplanned")
        return len(gone)

    def _let_go(self, hold: Hold, now: float) -> Hold:
        """Take a hold off the roster, once its story so far is told, and out of the queue."""
        self._run_down(hold, now)
        del self._holds[hold.target]
        hold.due_at, hold.ticket = inf, 0
        return hold

    def rewatch(self, window: float, now: float) -> None:
        """Go on with another window: what fell due by the old one is told, then every renewal judged anew."""
        for hold in self:
            self._run_down(hold, now)
        self.window = window
        self._watch.clear()
        for hold in self:
            hold.watched_at = inf
            state = judge(hold.renewed_at, denied=self._denied(hold.target), now=now, window=window)
            if state is not hold.state:
                self._change(hold, hold.state, state, now, "replanned")
            self.judge(hold, now, "replanned")

    def renew(self, hold: Hold, sent_at: float, now: float, cause: str = "renewed") -> None:
        """A target was renewed by an attempt sent at `sent_at`."""
        self._run_down(hold, now)
        hold.renewed_at, hold.fault = sent_at, None
        self._fresh.add(hold.target)
        hold.tries = hold.failures = hold.flights = 0
        self.judge(hold, now, cause)

    def judge(self, hold: Hold, now: float, cause: str) -> bool:
        """Tell what a target has become, and watch its renewal.

        Returns:
            Whether its state changed.
        """
        before = hold.state
        self._run_down(hold, now)
        state = judge(hold.renewed_at, denied=self._denied(hold.target), now=now, window=self.window)
        if state is not hold.state:
            self._change(hold, hold.state, state, now, cause)
        if (at := self._runs_down_at(hold)) < hold.watched_at:  # sooner also where a late answer renewed it
            hold.watched_at = at
            self._ticket += 1
            heappush(self._watch, (at, self._ticket, hold))
        return hold.state is not before

    def next_at(self) -> float:
        """When a renewal may run down next."""
        while self._watch:
            at, _, hold = self._watch[0]
            runs_down_at = self._runs_down_at(hold) if at == hold.watched_at else inf
            if at >= runs_down_at:
                return at
            if runs_down_at < inf:  # it was renewed since: nobody has to wake for its old moment
                self._ticket += 1
                hold.watched_at = runs_down_at
                heapreplace(self._watch, (runs_down_at, self._ticket, hold))
            else:
                heappop(self._watch)
                if at == hold.watched_at:
                    hold.watched_at = inf
        return inf

    def _runs_down_at(self, hold: Hold) -> float:
        if hold.renewed_at is None or self._holds.get(hold.target) is not hold:
            return inf
        match hold.state:
            case Eligibility.ELIGIBLE:
                return hold.renewed_at + self.window * AT_RISK_AFTER
            case Eligibility.AT_RISK:
                return hold.renewed_at + self.window
            case _:
                return inf

    def run_down(self, now: float) -> None:
        """Tell which renewals have run down until now."""
        while self._watch and self._watch[0][0] <= now and self.next_at() <= now:
            hold = heappop(self._watch)[2]
            hold.watched_at = inf
            self.judge(hold, now, "late")

    def _run_down(self, hold: Hold, now: float) -> None:
        if hold.renewed_at is None:
            return
        cause = hold.fault.cause if hold.fault else "late"
        at_risk, lapsed = hold.renewed_at + self.window * AT_RISK_AFTER, hold.renewed_at + self.window
        if hold.state is Eligibility.ELIGIBLE and now >= at_risk:
            self._change(hold, Eligibility.ELIGIBLE, Eligibility.AT_RISK, at_risk, cause)
        if hold.state is Eligibility.AT_RISK and now >= lapsed:
            self._change(hold, Eligibility.AT_RISK, Eligibility.LAPSED, lapsed, cause)

    def _change(
        self, hold: Hold, before: Eligibility | None, after: Eligibility | None, at: float, cause: str
    ) -> None:
        until = None if hold.renewed_at is None else hold.deadline(self.window)
        lapsed_for = None if hold.lapsed_at is None else at - hold.lapsed_at
        hold.lapsed_at = until if after is Eligibility.LAPSED else None
        if after is not None:
            hold.state = after
        self._tell(
            EligibilityChanged(
                at=at,
                target=hold.target,
                from_state=before,
                to_state=after,
                cause=cause,
                eligible_until=until,
                lapsed_for=lapsed_for,
                fault=hold.fault,
            )
        )
