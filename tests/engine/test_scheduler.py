from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged, LoopStalled
from keepalive.core.outcome import Accepted, Denied, Fault, Outcome, Throttled, Transient
from keepalive.core.plan import GroupPlan, Policy, Quota
from keepalive.core.target import Scope, Target
from keepalive.engine.scheduler import Scheduler
from tests.support.virtual import FakeClient, LoopClock, MemoryStore, Recorder, accept, hang, refuse

pytestmark = pytest.mark.looptime

ACCOUNT = "0123456789abcdef0123456789abcdef"
PLAN = {"default": GroupPlan("default", (Target("prod", ACCOUNT, "api"),))}


def targets(count: int, credential: str = "prod") -> tuple[Target, ...]:
    return tuple(Target(credential, ACCOUNT, f"script-{n}") for n in range(count))


class Bench:
    """A scheduler with fakes around it, run for a while."""

    def __init__(self, client: FakeClient, per_second: float = 200, store: MemoryStore | None = None) -> None:
        self.client = client
        self.told = Recorder()
        self.clock = LoopClock()
        self.store = store
        self.scheduler = Scheduler(
            client,
            self.clock,
            self.told,
            chance=lambda: 0.5,
            max_requests_per_second=per_second,
            store=store,
        )

    def apply(self, *plans: GroupPlan) -> None:
        self.scheduler.apply({plan.name: plan for plan in plans})

    async def run(self, seconds: float) -> None:
        running = asyncio.create_task(self.scheduler.run())
        await asyncio.sleep(seconds)
        self.scheduler.drain("test")
        await running

    async def crash(self, seconds: float) -> None:
        """Run so long, and then be gone as by a SIGKILL: no drain, and no last save."""
        running = asyncio.create_task(self.scheduler.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.wait([running])

    def again(self) -> Bench:
        """The next process, with what the store knows and the same network."""
        assert self.store
        return Bench(self.client, store=self.store.reopen(self.clock.now()))

    def states(self) -> list[tuple[Eligibility | None, Eligibility | None]]:
        return [
            (event.from_state, event.to_state)
            for event in self.told.events
            if isinstance(event, EligibilityChanged)
        ]


async def test_everyone_is_beaten_at_once_and_then_within_jitter_of_the_interval() -> None:
    bench = Bench(FakeClient())
    one = targets(1)
    bench.apply(GroupPlan("default", one))
    await bench.run(100)
    times = bench.client.times(one[0])
    assert times[0] < 0.01
    assert all(13.5 <= later - sooner <= 15.01 for sooner, later in pairwise(times[:-1]))


async def test_a_crowd_that_starts_together_is_spread_within_two_intervals() -> None:
    bench = Bench(FakeClient())
    bench.apply(GroupPlan("default", targets(30)))
    await bench.run(60)
    late = sorted(sent.at for sent in bench.client.sent if 15 < sent.at < 30)
    assert max(later - sooner for sooner, later in pairwise(late)) < 1.5


async def test_no_task_waits_for_a_healthy_target() -> None:
    bench = Bench(FakeClient())
    bench.apply(GroupPlan("default", targets(40)))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(20.2)
    beats = [task for task in asyncio.all_tasks() if task.get_name().startswith("beat")]
    bench.scheduler.drain("test")
    await running
    assert len(beats) <= 2


async def test_a_passing_fault_is_retried_and_numbered_until_accepted() -> None:
    faults = iter((Transient(Fault("reset")), Transient(Fault("http_503"))))

    async def answer(target: Target, timeout: float) -> Outcome:
        outcome: Outcome = next(faults, Accepted())
        return outcome

    bench = Bench(FakeClient(answer))
    bench.apply(GroupPlan("default", targets(1)))
    await bench.run(5)
    [beat] = bench.told.named("heartbeat.accepted")
    assert getattr(beat, "attempt") == 3  # noqa: B009  the recorder keeps the root type
    assert len(bench.told.named("attempt.failed")) == 2


async def test_an_unanswered_attempt_is_hedged_and_the_answered_one_counts() -> None:
    calls = 0

    async def first_hangs(target: Target, timeout: float) -> Outcome:
        nonlocal calls
        calls += 1
        return await (hang if calls == 1 else accept)(target, timeout)

    bench = Bench(FakeClient(first_hangs))
    bench.apply(GroupPlan("default", targets(1)))
    await bench.run(10)
    first, second = bench.client.times(targets(1)[0])[:2]
    assert 2.9 < second - first < 3.2
    assert (Eligibility.PENDING, Eligibility.ELIGIBLE) in bench.states()


async def test_an_outage_of_twenty_seconds_lapses_nobody() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        down = 40 < asyncio.get_running_loop().time() < 60
        return await (refuse if down else accept)(target, timeout)

    bench = Bench(FakeClient(answer))
    bench.apply(GroupPlan("default", targets(42)))
    await bench.run(120)
    assert not [to for _, to in bench.states() if to is Eligibility.LAPSED]
    assert bench.told.named("breaker.opened")
    assert bench.told.named("breaker.closed")


async def test_a_lapse_is_dated_when_it_fell_due() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        return await (accept if asyncio.get_running_loop().time() < 1 else refuse)(target, timeout)

    bench = Bench(FakeClient(answer))
    bench.apply(GroupPlan("default", targets(1)))
    await bench.run(60)
    changes = [event for event in bench.told.events if isinstance(event, EligibilityChanged)]
    sent = bench.client.sent[0].at
    at_risk = next(event for event in changes if event.to_state is Eligibility.AT_RISK)
    lapsed = next(event for event in changes if event.to_state is Eligibility.LAPSED)
    assert (at_risk.at, lapsed.at) == (sent + 30, sent + 45)
    assert lapsed.cause == "connect"


async def test_a_429_silences_its_group_and_no_other() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        now = asyncio.get_running_loop().time()
        if target.credential == "busy" and 30 < now < 40:
            return Throttled(Fault("throttled"), retry_after=40 - now)
        return Accepted()

    bench = Bench(FakeClient(answer))
    bench.apply(GroupPlan("busy", targets(20, "busy")), GroupPlan("calm", targets(20, "calm")))
    await bench.run(80)
    refused_at = min(event.at for event in bench.told.named("group.throttled"))
    busy = [sent.at for sent in bench.client.sent if sent.target.credential == "busy"]
    calm = [sent.at for sent in bench.client.sent if sent.target.credential == "calm"]
    assert not [at for at in busy if refused_at + 0.25 < at < 40]
    assert len([at for at in calm if refused_at < at < 40]) > 8
    assert not [to for _, to in bench.states() if to is Eligibility.LAPSED]


async def test_a_wrong_credential_is_denied_once_repeated_and_costs_the_others_nothing() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        if target.credential == "wrong":
            return Denied(Fault("authentication"), Scope.CREDENTIAL)
        return await accept(target, timeout)

    bench = Bench(FakeClient(answer))
    bench.apply(GroupPlan("default", targets(5, "wrong") + targets(5, "right")))
    await bench.run(60)
    assert bench.scheduler.tally.counts[Eligibility.DENIED] == 5
    assert bench.scheduler.tally.counts[Eligibility.ELIGIBLE] == 5
    assert len(bench.told.named("credential.denied")) == 1
    assert len([sent for sent in bench.client.sent if sent.target.credential == "wrong"]) < 15


async def test_the_groups_together_stay_under_the_limit_of_the_address() -> None:
    bench = Bench(FakeClient(), per_second=20)
    plans = [GroupPlan(f"g{n}", targets(10, f"c{n}")) for n in range(10)]
    bench.apply(*plans)
    await bench.run(40)
    times = sorted(sent.at for sent in bench.client.sent)
    assert all(later - sooner >= 1 for sooner, later in zip(times, times[20:], strict=False))
    assert bench.scheduler.tally.all_eligible


async def test_a_new_plan_keeps_the_timers_of_those_that_stay() -> None:
    bench = Bench(FakeClient())
    bench.apply(GroupPlan("default", targets(2)))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(20)
    before = len(bench.client.sent)
    bench.apply(GroupPlan("default", targets(3)))
    await asyncio.sleep(0.5)
    new = [sent.target.script_id for sent in bench.client.sent[before:]]
    bench.apply(GroupPlan("default", targets(1)))
    await asyncio.sleep(40)
    bench.scheduler.drain("test")
    await running
    assert new == ["script-2"]
    assert bench.scheduler.tally.targets == 1


async def test_a_group_that_left_the_plan_is_silent() -> None:
    bench = Bench(FakeClient())
    bench.apply(GroupPlan("a", targets(2, "a")), GroupPlan("b", targets(2, "b")))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(5)
    bench.apply(GroupPlan("a", targets(2, "a")))
    await asyncio.sleep(40)
    bench.scheduler.drain("test")
    await running
    assert max(sent.at for sent in bench.client.sent if sent.target.credential == "b") < 16
    assert bench.scheduler.tally.targets == 2


async def test_a_suspend_drops_the_pool_and_renews_everyone() -> None:
    bench = Bench(FakeClient())
    bench.apply(GroupPlan("default", targets(4)))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(20)
    bench.clock.suspended = 3600.0
    await asyncio.sleep(16)
    bench.scheduler.drain("test")
    await running
    assert bench.client.drops == 1
    [event] = bench.told.named("suspend.detected")
    crowd = [sent for sent in bench.client.sent if 0 <= sent.at - event.at < 0.1]
    assert len(crowd) == 4


async def test_a_drain_renews_those_past_half_their_interval_and_waits_for_what_is_in_flight() -> None:
    bench = Bench(FakeClient())
    bench.apply(GroupPlan("default", targets(1)))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(10)
    bench.scheduler.drain("SIGTERM")
    await running
    assert len(bench.client.sent) == 2
    assert len(bench.told.named("heartbeat.accepted")) == 2


async def test_a_drain_ends_in_time_when_nothing_answers() -> None:
    bench = Bench(FakeClient(hang))
    bench.apply(GroupPlan("default", targets(20)))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(60)
    began = bench.clock.now()
    bench.scheduler.drain("SIGTERM")
    await running
    assert bench.clock.now() - began <= 5


async def test_a_drain_in_the_middle_of_retries_leaves_no_beat_waiting() -> None:
    bench = Bench(FakeClient(refuse))
    bench.apply(GroupPlan("default", targets(20)))
    await bench.run(3)
    assert bench.scheduler.in_flight == 0


async def test_one_heartbeat_each_is_a_plan_with_no_end_to_its_interval() -> None:
    bench = Bench(FakeClient())
    once = Policy(interval=float("inf"))
    bench.apply(GroupPlan("default", targets(50), once, Quota()))
    await bench.run(300)
    assert len(bench.client.sent) == 50


async def test_an_outage_that_never_ends_costs_one_attempt_per_interval_once_lapsed() -> None:
    bench = Bench(FakeClient(refuse))
    bench.apply(GroupPlan("default", targets(1)))
    await bench.run(600)
    late = [sent.at for sent in bench.client.sent if sent.at > 60]
    assert len(late) <= 45


async def test_a_bug_in_the_client_stays_with_its_target_and_names_its_place() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        if target.script_id == "script-0":
            raise RuntimeError("a secret")
        return await accept(target, timeout)

    bench = Bench(FakeClient(answer))
    bench.apply(GroupPlan("default", targets(3)))
    await bench.run(100)
    assert bench.scheduler.tally.counts[Eligibility.ELIGIBLE] == 2
    failures = bench.told.named("attempt.failed")
    assert "RuntimeError at answer" in repr(failures[0])
    assert "a secret" not in repr(failures)


async def test_a_drain_with_nothing_to_send_waits_for_no_lease_to_run_down() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        return await (accept if asyncio.get_running_loop().time() < 1 else refuse)(target, timeout)

    bench = Bench(FakeClient(answer))
    bench.apply(GroupPlan("default", targets(1)))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(43)
    began = bench.clock.now()
    bench.scheduler.drain("SIGTERM")
    await running
    assert bench.clock.now() - began < 1


# --- restarts and reloads ----------------------------------------------------------------------


def worst(times: list[float], period: float) -> int:
    """Most calls in any sliding period."""
    return max((sum(at - period < other <= at for other in times) for at in times), default=0)


async def test_after_a_crash_one_heartbeat_leaves_at_once_and_the_others_when_they_are_due() -> None:
    bench = Bench(FakeClient(), store=MemoryStore())
    plan = GroupPlan("default", targets(4))
    bench.apply(plan)
    await bench.crash(38)
    renewed = {target: bench.client.times(target)[-1] for target in plan.targets}
    began = bench.clock.now()
    assert max(renewed.values()) < began - 1
    assert min(renewed.values()) > began - 13

    second = bench.again()
    second.apply(plan)
    await second.crash(16)

    after = {target: next(at for at in bench.client.times(target) if at >= began) for target in plan.targets}
    at_once = [target for target, at in after.items() if at < began + 0.01]
    assert at_once == [min(renewed, key=lambda target: renewed[target])]
    assert all(13.5 <= at - renewed[target] <= 15.01 for target, at in after.items() if target not in at_once)


@pytest.mark.parametrize("absence", [0.0, 3.0, 20.0])
async def test_after_a_crash_nobody_lapses_and_nobody_is_pending(absence: float) -> None:
    bench = Bench(FakeClient(), store=MemoryStore())
    plan = GroupPlan("default", targets(40))
    bench.apply(plan)
    await bench.crash(60)
    await asyncio.sleep(absence)

    second = bench.again()
    second.apply(plan)
    ready = second.scheduler.tally.all_eligible
    await second.crash(60)

    assert ready
    assert Eligibility.LAPSED not in [to for _, to in second.states()]
    gaps = [
        later - sooner for target in plan.targets for sooner, later in pairwise(bench.client.times(target))
    ]
    assert max(gaps) < 15.1 + absence + 2


async def test_a_crash_loop_sends_no_more_than_the_share() -> None:
    """The quota is so small that each life would use it up, if it knew nothing of those before."""
    bench = Bench(FakeClient(), store=MemoryStore())
    plan = GroupPlan("default", targets(8), quota=Quota(20, 60.0, share=1.0))
    for _ in range(100):
        bench.apply(plan)
        await bench.crash(0.9)
        await asyncio.sleep(1)
        bench = bench.again()

    times = [sent.at for sent in bench.client.sent]
    assert worst(times, 60.0) <= 20
    assert len(times) >= 55


async def test_a_throttle_outlives_a_crash() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        return (
            Throttled(Fault("throttled"), retry_after=30) if began < loop.time() < began + 1 else Accepted()
        )

    loop = asyncio.get_running_loop()
    began = loop.time() + 20
    bench = Bench(FakeClient(answer), store=MemoryStore())
    plan = GroupPlan("default", targets(20))
    bench.apply(plan)
    await bench.crash(22)
    second = bench.again()
    second.apply(plan)
    await second.crash(40)

    silent = [sent.at for sent in bench.client.sent if began + 1 < sent.at < began + 30]
    assert not silent
    assert second.scheduler.tally.all_eligible


async def test_a_crash_loop_under_a_block_probes_no_more_often_than_one_process_would() -> None:
    """Without Retry-After the silences grow from probe to probe, whichever process sends it."""

    async def answer(target: Target, timeout: float) -> Outcome:
        return Throttled(Fault("throttled")) if began < loop.time() < began + 290 else Accepted()

    loop = asyncio.get_running_loop()
    began = loop.time() + 20
    bench = Bench(FakeClient(answer), store=MemoryStore())
    plan = GroupPlan("default", targets(3))
    for _ in range(150):
        bench.apply(plan)
        await bench.crash(0.5)
        await asyncio.sleep(2.3)  # so that the silences end while nobody is there
        bench = bench.again()

    probes = [sent.at - began for sent in bench.client.sent if 3 < sent.at - began < 290]
    assert probes == pytest.approx([6, 17], abs=3)
    assert [sent for sent in bench.client.sent if 290 < sent.at - began < 330]


async def test_a_block_of_long_ago_is_no_reason_for_a_long_silence() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        return Throttled(Fault("throttled")) if throttling else await accept(target, timeout)

    throttling = True
    bench = Bench(FakeClient(answer), store=MemoryStore())
    plan = GroupPlan("default", targets(3))
    bench.apply(plan)
    await bench.crash(30)
    await asyncio.sleep(3600)
    began = bench.clock.now()
    second = bench.again()
    second.apply(plan)
    running = asyncio.create_task(second.scheduler.run())
    await asyncio.sleep(1)
    throttling = False
    await asyncio.sleep(10)
    running.cancel()
    await asyncio.wait([running])

    assert [sent for sent in bench.client.sent if began + 2 < sent.at < began + 7]
    assert second.scheduler.tally.all_eligible


async def test_a_refusal_outlives_a_crash_and_is_probed_at_once() -> None:
    async def answer(target: Target, timeout: float) -> Outcome:
        outcome = Denied(Fault("authentication"), Scope.CREDENTIAL)
        return outcome if target.credential == "wrong" else await accept(target, timeout)

    bench = Bench(FakeClient(answer), store=MemoryStore())
    plan = GroupPlan("default", targets(5, "right") + targets(5, "wrong"))
    bench.apply(plan)
    await bench.crash(100)
    began = bench.clock.now()
    second = bench.again()
    second.apply(plan)
    counts = dict(second.scheduler.tally.counts)
    await second.crash(30)

    probes = [
        sent.at - began
        for sent in bench.client.sent
        if sent.target.credential == "wrong" and sent.at >= began
    ]
    assert counts[Eligibility.DENIED] == 5
    assert probes[0] < 0.5
    assert len(probes) == 1


# --- other plans -------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
async def test_a_target_whose_credential_moves_to_another_rate_group_keeps_its_lease(
    names: tuple[str, str],
) -> None:
    bench = Bench(FakeClient(), store=MemoryStore())
    mover, old, new = targets(1, "mover"), *names
    stay = {name: targets(2, f"{name}_own") for name in names}

    def plan(home: str) -> list[GroupPlan]:
        return [GroupPlan(name, stay[name] + (mover if name == home else ())) for name in ("a", "b")]

    bench.apply(*plan(old))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(20)
    renewed_at = bench.client.times(mover[0])[-1]
    told = len(bench.told.events)
    bench.apply(*plan(new))
    state = [event for event in bench.told.events[told:] if isinstance(event, EligibilityChanged)]
    await asyncio.sleep(20)
    running.cancel()
    await asyncio.wait([running])

    after = [at for at in bench.client.times(mover[0]) if at > renewed_at]
    assert 13.5 <= after[0] - renewed_at <= 15.01
    assert {event.target for event in state} == set(mover)
    assert [event.eligible_until for event in state if event.to_state is Eligibility.ELIGIBLE] == [
        renewed_at + 45
    ]
    assert bench.scheduler.tally.counts[Eligibility.ELIGIBLE] == bench.scheduler.tally.targets == 5


async def test_a_lease_that_moved_is_known_after_a_crash() -> None:
    bench = Bench(FakeClient(), store=MemoryStore())
    mover = targets(3)
    bench.apply(GroupPlan("a", mover))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(40)
    bench.apply(GroupPlan("b", mover))
    await asyncio.sleep(0.2)
    running.cancel()
    await asyncio.wait([running])
    second = bench.again()
    second.apply(GroupPlan("b", mover))

    assert second.scheduler.tally.counts[Eligibility.ELIGIBLE] == 3


def small(name: str, count: int = 6) -> GroupPlan:
    """A group whose first heartbeats already use half of its quota."""
    return GroupPlan(name, targets(count, name), quota=Quota(12, 60.0, share=1.0))


async def garble(target: Target, timeout: float) -> Outcome:
    """Answer what is no acceptance: it is tried again for as long as there is budget."""
    await asyncio.sleep(0.05)
    return Transient(Fault("not_json", http_status=200), Scope.TARGET)


@pytest.mark.parametrize("store", [None, MemoryStore()], ids=["without a store", "with a store"])
async def test_a_group_that_leaves_and_comes_back_still_has_its_ledger(store: MemoryStore | None) -> None:
    bench = Bench(FakeClient(garble), store=store)
    bench.apply(small("a"), small("b"))
    running = asyncio.create_task(bench.scheduler.run())
    for _ in range(40):
        await asyncio.sleep(2)
        bench.apply(small("b"))
        await asyncio.sleep(1)
        bench.apply(small("a"), small("b"))
    await asyncio.sleep(5)
    running.cancel()
    await asyncio.wait([running])

    for name in ("a", "b"):
        times = [sent.at for sent in bench.client.sent if sent.target.credential == name]
        assert worst(times, 60.0) <= 12
        assert len(times) >= 16


async def test_a_plan_that_is_swapped_to_and_fro_never_overshoots_crashes_included() -> None:
    bench = Bench(FakeClient(garble), store=MemoryStore())
    plans = [[small("a")], [small("b")], [small("a"), small("b", 3)], []]
    for turn in range(60):
        bench.apply(*plans[turn % 3])
        running = asyncio.create_task(bench.scheduler.run())
        await asyncio.sleep(1)
        bench.apply(*plans[(turn + 1) % 4])
        await asyncio.sleep(1)
        bench.apply(*plans[(turn + 2) % 3])
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.wait([running])
        bench = bench.again()

    for name in ("a", "b"):
        times = [sent.at for sent in bench.client.sent if sent.target.credential == name]
        assert worst(times, 60.0) <= 12
        assert len(times) >= 24


async def test_calls_under_a_quota_that_was_raised_by_a_reload_count_after_a_crash() -> None:
    bench = Bench(FakeClient(garble), store=MemoryStore())
    low, high = (GroupPlan("default", targets(8), quota=Quota(each, 60.0, share=1.0)) for each in (16, 48))
    bench.apply(low)
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(10)
    bench.apply(high)
    await asyncio.sleep(20)
    running.cancel()
    await asyncio.wait([running])
    second = bench.again()
    second.apply(high)
    await second.crash(20)

    assert worst([sent.at for sent in bench.client.sent], 60.0) == 48


# --- the loop itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(("late", "told"), [(0.9, []), (30.0, [30.0])])
async def test_a_loop_that_overslept_says_so_and_renews_by_deadline(late: float, told: list[float]) -> None:
    bench = Bench(FakeClient())
    bench.apply(GroupPlan("default", targets(4)))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(20)
    bench.clock.oversleeps = late
    await asyncio.sleep(60)
    running.cancel()
    await asyncio.wait([running])

    stalls = [event.lasted for event in bench.told.events if isinstance(event, LoopStalled)]
    assert stalls == pytest.approx(told)
    assert not bench.told.named("suspend.detected")
    assert bench.client.drops == 0
    assert bench.scheduler.tally.all_eligible


async def test_a_plan_that_comes_in_a_drain_begins_nothing() -> None:
    bench = Bench(FakeClient(hang))
    bench.apply(GroupPlan("default", targets(1)))
    running = asyncio.create_task(bench.scheduler.run())
    await asyncio.sleep(1)
    bench.scheduler.drain("test")

    bench.apply(GroupPlan("default", targets(1)), GroupPlan("late", targets(1, "late")))
    await running

    assert {sent.target.credential for sent in bench.client.sent} == {"prod"}


async def test_what_is_lent_is_charged_and_kept_for_the_next_process() -> None:
    store = MemoryStore()
    scheduler = Scheduler(FakeClient(), LoopClock(), Recorder(), chance=lambda: 0.5, store=store)
    await scheduler.prepare(PLAN)
    scheduler.apply(PLAN)
    (name,) = PLAN
    spent = scheduler.groups[name].standing(0).spent

    assert scheduler.lend(name) == 0.0
    assert scheduler.groups[name].standing(0).spent == spent + 1
    calls = store.reopen(1.0).begin(PLAN[name], 1.0).calls
    assert sum(count for _, count in calls) == 1
    with pytest.raises(KeyError):
        scheduler.lend("nobody")


async def test_the_address_as_a_whole_lends_no_faster_than_its_pace() -> None:
    client, clock = FakeClient(), LoopClock()
    scheduler = Scheduler(client, clock, Recorder(), chance=lambda: 0.5, max_requests_per_second=10)
    scheduler.apply(PLAN)
    (name,) = PLAN
    waits = [scheduler.lend(name) for _ in range(3)]
    assert waits[0] == 0.0
    assert max(waits) > 0.05


async def test_a_dispatcher_that_does_not_come_to_its_work_is_overdue() -> None:
    scheduler = Scheduler(FakeClient(), LoopClock(), Recorder(), chance=lambda: 0.5)
    assert scheduler.overdue(100) == 0
    scheduler.apply(PLAN)
    assert scheduler.overdue(100) == 100
    task = asyncio.create_task(scheduler.run())
    await asyncio.sleep(1)
    now = asyncio.get_running_loop().time()
    assert scheduler.overdue(now) == 0
    assert scheduler.overdue(now + 30) > 14
    scheduler.drain("test")
    assert scheduler.draining
    await task
