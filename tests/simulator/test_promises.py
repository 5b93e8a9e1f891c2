"""The first promise, each scenario for two seeds and some minutes; the command plays them in full."""

from __future__ import annotations

import pytest

from keepalive.core.group import RateGroup
from keepalive.simulator.scenarios import FOUR_GROUPS, PRESETS, Scenario, scenario
from keepalive.simulator.simulation import Simulation
from keepalive.simulator.spells import Flaky

HOURS = {"restart-20s": 0.2, "throttle-5s": 0.17, "throttle-5s-retry-after": 0.17, "benchmark": 1 / 6}
BROKEN = {"broken-2": 8, "broken-10": 40}
CALLS = {"benchmark": 4.9}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"suspend"}))
def test_nobody_lapses_within_the_quota(name: str, seed: int) -> None:
    short = scenario(name, seed, HOURS.get(name, 0.1))
    assert short.spells or name == "healthy"

    result = Simulation(short, RateGroup).play()

    assert result.preventable == ()
    assert result.overshoot <= 0
    assert result.worst_second <= short.address_limit
    assert result.false_claims == ()
    assert [group.blocks for group in result.groups] == [0] * len(short.groups)
    assert [group.silence_calls for group in result.groups] == [0] * len(short.groups)
    assert len(result.never_accepted) == BROKEN.get(name, 0)
    assert result.calls_per_target_minute <= CALLS.get(name, 5.5)


@pytest.mark.parametrize("seed", range(2))
def test_after_an_hour_of_suspend_everybody_is_renewed_within_seconds_and_the_quota(seed: int) -> None:
    slept = scenario("suspend", seed, hours=1.2)
    result = Simulation(slept, RateGroup).play()

    (suspend,) = slept.spells
    assert len(result.lapses) == 4 * 42
    assert all(lapse.until < suspend.end + 3 for lapse in result.lapses)
    assert result.overshoot <= 0
    assert result.worst_second <= slept.address_limit
    assert result.false_claims == ()


@pytest.mark.parametrize("flaky", [Flaky(unavailable=0.5), Flaky(hang=0.4)])
def test_half_of_all_attempts_may_be_refused_and_two_fifths_hang(flaky: Flaky) -> None:
    half = Scenario(name="half", seed=0, groups=FOUR_GROUPS, spells=(flaky,), duration=900.0)
    result = Simulation(half, RateGroup).play()

    assert result.lapses == ()
    assert result.overshoot <= 0


def test_a_hundred_rapid_kills_stay_within_the_quota() -> None:
    kills = scenario("rapid-kills", seed=0, hours=0.15)
    result = Simulation(kills, RateGroup).play()

    assert len(kills.spells) >= 100
    assert result.overshoot <= 0
    assert result.lapses == ()


@pytest.mark.parametrize("name", ["22-7-22", "outage-26-refused", "broken-2", "throttle-5s", "benchmark"])
def test_the_seed_alone_sets_the_phases_of_a_scenario(name: str) -> None:
    assert scenario(name, 1).spells == scenario(name, 1).spells
    assert scenario(name, 1).spells != scenario(name, 2).spells


@pytest.mark.parametrize("seed", range(20))
def test_the_faults_of_the_benchmark_are_45_seconds_apart(seed: int) -> None:
    benchmark = scenario("benchmark", seed)
    first, second = sorted(benchmark.spells[1:], key=lambda spell: spell.start)
    assert first.start >= 60.0
    assert first.end + 45.0 <= second.start
    assert second.end <= benchmark.duration - 20.0
