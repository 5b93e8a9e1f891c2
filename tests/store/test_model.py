"""Any order of charges, saves and openings, against a plain model of what a store has to know."""

from __future__ import annotations

import shutil
from math import inf
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from keepalive.core.ledger import Ledger
from keepalive.core.plan import Quota
from keepalive.core.stamp import UNWRITTEN
from keepalive.core.state import GroupState
from keepalive.core.target import Target
from tests.store.shelves import API, WEB, WHOLE, MemoryShelf, Shelf, SqliteShelf, plan, refused, save

NAMES = ("left", "right")
START = 1000.0
FIRST = Quota(4, 60.0, 1.0)

quotas = st.sampled_from([FIRST, Quota(20, 60.0, 1.0), Quota(9, 300.0, 1.0)])
seconds = st.one_of(st.floats(0, 5), st.floats(0, 100))
subsets = st.sets(st.sampled_from([API, WEB, WHOLE]))


class Known:
    """What a store has to know of one group; moments are on the clock of this boot.

    Attributes:
        calls: All that left since the boot, and those carried over.
        held: How many of the newest of them must not be forgotten: as many as a quota so far could count.
    """

    def __init__(self) -> None:
        self.quota = FIRST
        self.room = 0
        self.calls: list[float] = []
        self.held = 0
        self.as_of = START
        self.renewed: dict[Target, float] = {}
        self.silent_until = -inf
        self.throttles = 0
        self.denied: dict[Target, float] = {}

    def counting(self, since: float) -> list[float]:
        return [at for at in self.calls if at > since - self.quota.period]

    def reboot(self, now: float) -> None:
        shift = now - self.as_of
        newest = self.calls[-1] if self.calls else now
        self.calls = [min(now, now - (newest - at) + UNWRITTEN) for at in self.counting(newest)]
        self.held = min(self.held, len(self.calls))
        self.renewed = {}
        self.silent_until += shift
        self.denied = {target: min(now, at + shift) for target, at in self.denied.items()}


class StoreMachine(RuleBasedStateMachine):
    """Plays daemons that follow one another on one shelf."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = self.make()
        self.boot = 1
        self.now = START
        self.known = {name: Known() for name in NAMES}
        self.start(FIRST, rebooted=False)

    def make(self) -> Shelf:
        return MemoryShelf()

    def start(self, quota: Quota, *, rebooted: bool) -> None:
        """Open it, and hold what it gives against what it should know."""
        self.store = self.shelf.open(self.now, f"boot {self.boot}")
        for name, known in self.known.items():
            known.quota = quota
            if rebooted:
                known.reboot(self.now)
            known.as_of = self.now
            state = self.begin(name, quota)
            assert dict(state.renewed) == known.renewed
            assert state.silent_until == pytest.approx(known.silent_until)
            assert state.throttles == known.throttles
            opened = {Target(*refusal.key): refusal.opened_at for refusal in state.refusals}  # type: ignore[arg-type]
            assert opened == pytest.approx(known.denied)

    def begin(self, name: str, quota: Quota) -> GroupState:
        """Begin a group: of the calls that count none may be missing that a quota so far could count."""
        known = self.known[name]
        known.quota = quota
        true = known.counting(self.now)
        state = self.store.begin(plan(name, quota.requests, quota.period), self.now)
        given = [at for at, count in state.calls for _ in range(count)]
        assert given == true[len(true) - len(given) :]
        assert len(given) >= min(len(true), known.held)
        known.room = max(known.room, quota.allowed)
        return state

    # --- what may happen ------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), times=st.integers(1, 8), passed=seconds)
    def charge(self, name: str, times: int, passed: float) -> None:
        """As a group does: no more than the quota allows."""
        known = self.known[name]
        for _ in range(times):
            self.now += passed / times
            if len(known.counting(self.now)) < known.quota.allowed:
                self.store.charge(name, self.now)
                known.calls.append(self.now)
                known.held = min(known.held + 1, known.room)

    @rule(
        name=st.sampled_from(NAMES),
        renewed=subsets,
        silence=st.one_of(st.just(-inf), st.floats(-100, 400)),
        throttles=st.integers(0, 5),
        denied=subsets,
    )
    def save(
        self, name: str, renewed: set[Target], silence: float, throttles: int, denied: set[Target]
    ) -> None:
        known, now = self.known[name], self.now
        known.renewed |= dict.fromkeys(renewed, now)
        known.as_of, known.silent_until, known.throttles = now, now + silence, throttles
        known.denied = {target: known.denied.get(target, now) for target in denied}
        state = GroupState(
            renewed=tuple(dict.fromkeys(renewed, now).items()),
            silent_until=known.silent_until,
            throttles=throttles,
            refusals=tuple(refused(target, at) for target, at in known.denied.items()),
        )
        save(self.store, state, now, name)

    @rule(passed=seconds, quota=quotas)
    def restart(self, passed: float, quota: Quota) -> None:
        self.now += passed
        self.start(quota, rebooted=False)

    @rule(uptime=st.floats(1, 5000), quota=quotas)
    def reboot(self, uptime: float, quota: Quota) -> None:
        self.now = uptime
        self.boot += 1
        self.start(quota, rebooted=True)

    @rule(name=st.sampled_from(NAMES), quota=quotas)
    def reload(self, name: str, quota: Quota) -> None:
        self.begin(name, quota)

    def teardown(self) -> None:
        self.shelf.clear()


class SqliteMachine(StoreMachine):
    def make(self) -> Shelf:
        self.folder = Path(mkdtemp())
        return SqliteShelf(self.folder)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestMemory = StoreMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, print_blob=True)
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = settings(
    max_examples=30,
    stateful_step_count=15,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


pauses = st.lists(st.floats(0, 20), min_size=1, max_size=30)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=40, deadline=None, print_blob=True)
@given(before=pauses, downtime=st.floats(0, 40), rebooted=st.booleans(), after=pauses)
def test_a_ledger_that_goes_on_never_counts_less_than_what_was_sent(
    kind: str, before: list[float], downtime: float, *, rebooted: bool, after: list[float]
) -> None:
    folder = Path(mkdtemp())
    shelf: Shelf = MemoryShelf() if kind == "memory" else SqliteShelf(folder)
    try:
        now = START
        store = shelf.open(now)
        store.begin(plan(requests=30, period=60.0), now)
        sent = []
        for pause in before:
            now += pause
            store.charge("default", now)
            sent.append(now)
        now += downtime
        if rebooted:  # the new clock is what it is: shift the truth to it
            shift, now = 10.0 - now, 10.0
            sent = [at + shift for at in sent]

        ledger = Ledger(30, 60.0)
        state = shelf.open(now, "two" if rebooted else "one").begin(plan(requests=30, period=60.0), now)
        ledger.restore(state.calls)

        for pause in (0.0, *after):
            now += pause
            assert ledger.count(now) >= sum(now - 60.0 < at <= now for at in sent)
    finally:
        shelf.clear()
        shutil.rmtree(folder)
