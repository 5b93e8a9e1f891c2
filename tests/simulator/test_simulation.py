from __future__ import annotations

from dataclasses import replace

import pytest

from keepalive.core.group import RateGroup
from keepalive.core.plan import GroupPlan, Quota
from keepalive.core.target import Target
from keepalive.errors import UsageError
from keepalive.simulator.result import Result
from keepalive.simulator.scenarios import Scenario, fleet
from keepalive.simulator.simulation import Simulation
from keepalive.simulator.spells import Broken, Crash, Outage, Slow, Spell, Suspend, Throttle
from tests.simulator.naive_group import CredulousGroup, NaiveGroup


def naive(*spells: Spell, groups: tuple[GroupPlan, ...] = fleet(2, 5), duration: float = 300.0) -> Result:
    plain = Scenario(name="naive", seed=1, groups=groups, spells=spells, duration=duration)
    return Simulation(plain, NaiveGroup).play()


def with_quota(requests: int, groups: tuple[GroupPlan, ...]) -> tuple[GroupPlan, ...]:
    return tuple(replace(plan, quota=Quota(requests=requests)) for plan in groups)


def test_without_faults_even_the_naive_group_holds_everybody() -> None:
    result = naive()
    assert result.lapses == ()
    assert result.eligible_ratio == 1.0
    assert result.calls == 2 * 5 * 300 / 15
    assert result.calls_per_target_minute == pytest.approx(4.0)
    assert sum(result.remaining) == result.renewals - 10 == sum(result.remaining[28:31])
    assert result.never_accepted == ()


def test_the_naive_group_lapses_in_an_outage_longer_than_two_intervals() -> None:
    result = naive(Outage(start=100.0, length=46.0))
    assert len(result.lapses) == 10
    for lapse in result.lapses:
        assert 135.0 < lapse.start < lapse.until < 151.0
        assert lapse.causes == ("outage.black_hole",)
        assert [tried.ending for tried in lapse.tries] == ["timeout", "timeout", "timeout", "under_way"]
    lapsed = sum(lapse.until - lapse.start for lapse in result.lapses)
    assert result.eligible_ratio == pytest.approx(1 - lapsed / result.held_seconds)


def test_an_outage_of_one_group_leaves_the_other_alone() -> None:
    result = naive(Outage(start=100.0, length=46.0, groups=frozenset({"group0"})))
    assert {lapse.group for lapse in result.lapses} == {"group0"}


def test_what_never_works_is_not_a_lapse_but_never_accepted() -> None:
    broken = fleet(1, 3)[0].targets[1]
    result = naive(Broken(targets=frozenset({broken})), groups=fleet(1, 3))
    assert result.never_accepted == (broken,)
    assert result.lapses == ()


@pytest.mark.parametrize(("length", "preventable"), [(100.0, 0), (30.0, 1)])
def test_only_the_lapse_of_a_target_that_is_broken_just_then_could_not_be_prevented(
    length: float, preventable: int
) -> None:
    broken = fleet(1, 3)[0].targets[1]
    spell = Broken(targets=frozenset({broken}), start=100.0, length=length)
    result = naive(spell, Outage(targets=spell.targets, start=spell.end, length=10.0), groups=fleet(1, 3))
    assert [lapse.target for lapse in result.lapses] == [broken]
    assert len(result.preventable) == preventable


def test_one_seed_gives_one_result() -> None:
    spells = (Outage(start=100.0, length=46.0),)
    assert naive(*spells) == naive(*spells)


def test_a_group_that_spends_more_than_its_quota_is_blocked_and_shown() -> None:
    result = naive(groups=with_quota(50, fleet(1, 5)), duration=200.0)
    (group,) = result.groups
    assert group.blocks == 1
    assert group.worst_period == 70
    assert result.overshoot == 70 - 45
    assert len(result.lapses) == 5
    assert all(tried.ending == "throttled" for lapse in result.lapses for tried in lapse.tries)


def test_calls_in_a_silence_that_was_asked_for_are_counted() -> None:
    result = naive(Throttle(start=100.0, length=1.0, retry_after=40.0), duration=200.0)
    assert [group.silence_calls for group in result.groups] == [0, 0]
    result = naive(Throttle(start=104.0, length=2.0, retry_after=40.0), duration=200.0)
    assert [group.silence_calls for group in result.groups] == [2 * 5, 2 * 5]


def test_a_claim_that_outlives_the_session_is_false() -> None:
    outage = Outage(start=100.0, length=66.0)
    result = Simulation(
        Scenario(name="credulous", seed=1, groups=fleet(1, 3), spells=(outage,), duration=200.0),
        CredulousGroup,
    ).play()
    assert len(result.false_claims) == len(result.lapses) == 3
    for claim in result.false_claims:
        assert claim.until - claim.start == pytest.approx(10.0, abs=0.5)
    assert naive(outage).false_claims == ()


def test_all_groups_together_keep_the_limit_of_the_address() -> None:
    result = naive(groups=fleet(4, 150), duration=20.0)
    assert result.calls >= 600
    assert 150 < result.worst_second <= 200


def test_slow_answers_renew_when_they_arrive() -> None:
    assert naive(Slow(seconds=4.0)).lapses == ()
    assert naive(Slow(seconds=6.0)).lapses == ()


def test_a_suspend_stops_the_machine_and_hastens_everybody_afterwards() -> None:
    groups: list[NaiveGroup] = []

    def group(name: str) -> NaiveGroup:
        groups.append(NaiveGroup(name))
        return groups[-1]

    scenario = Scenario(
        name="suspend",
        seed=1,
        groups=fleet(1, 3),
        spells=(Suspend(start=105.05, length=60.0),),
        duration=200.0,
    )
    result = Simulation(scenario, group).play()
    assert groups[0].hastened == [165.05]
    assert [round(lapse.start) for lapse in result.lapses] == [150, 150, 150]
    assert all(165.05 < lapse.until < 165.5 for lapse in result.lapses)
    assert {cause for lapse in result.lapses for cause in lapse.causes} == {"suspend"}
    assert {lapse.tries[0].ending for lapse in result.lapses} <= {"under_way", "reset"}
    assert result.false_claims == ()


def test_a_crash_forgets_everything_but_what_already_left() -> None:
    made: list[str] = []

    def group(name: str) -> NaiveGroup:
        made.append(name)
        return NaiveGroup(name)

    crash = Crash(start=105.05, length=50.0)
    scenario = Scenario(name="crash", seed=1, groups=fleet(1, 3), spells=(crash,), duration=200.0)
    result = Simulation(scenario, group).play()
    assert made == ["group0", "group0"]
    assert [round(lapse.start) for lapse in result.lapses] == [150, 150, 150]
    assert all(155.05 < lapse.until < 155.5 for lapse in result.lapses)
    assert result.false_claims == ()


def test_an_account_wide_target_costs_as_much_as_a_script() -> None:
    (plan,) = fleet(1, 1)
    account_wide = replace(plan, targets=(Target("credential0", "0" * 32),))
    assert naive(groups=(account_wide,)).calls == naive(groups=(plan,)).calls


def test_a_machine_that_crashes_in_its_sleep_is_refused() -> None:
    with pytest.raises(UsageError, match="the crash at 12 s begins before the suspend at 10 s has ended"):
        naive(Crash(start=12.0, length=1.0), Suspend(start=10.0, length=5.0))


def test_a_simulation_that_ends_in_a_suspend_still_hears_what_fell_due() -> None:
    result = naive(Suspend(start=105.01, length=600.0), duration=300.0)
    assert len(result.lapses) == 10
    assert result.false_claims == ()


def test_what_the_quota_cannot_hold_is_refused_and_not_missed() -> None:
    crowded = Scenario(name="crowded", seed=1, groups=fleet(1, 70), spells=(), duration=60.0)
    result = Simulation(crowded, RateGroup).play()
    assert (result.groups[0].held, result.groups[0].refused) == (63, 7)
    assert result.never_accepted == ()
