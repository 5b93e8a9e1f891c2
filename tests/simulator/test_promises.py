"""The first promise, each scenario for a few seeds and a short time; the command plays them in full."""

from __future__ import annotations

import pytest

from keepalive.core.group import RateGroup
from keepalive.simulator.result import Result
from keepalive.simulator.scenarios import PRESETS, scenario
from keepalive.simulator.simulation import Simulation

SHORT = dict.fromkeys(PRESETS, 0.2) | {"benchmark": 1 / 6}


def played(name: str, seed: int) -> Result:
    return Simulation(scenario(name, seed, SHORT[name]), RateGroup).play()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_nobody_lapses_within_the_quota(name: str, seed: int) -> None:
    result = played(name, seed)
    assert result.lapses == ()
    assert result.overshoot <= 0
    assert result.worst_second <= 200
    assert result.false_claims == ()
    assert all(group.blocks == 0 and group.silence_calls == 0 for group in result.groups)


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"broken-2", "broken-10"}))
def test_everybody_is_accepted_but_the_broken(name: str) -> None:
    assert played(name, seed=2).never_accepted == ()


@pytest.mark.parametrize(("name", "broken"), [("broken-2", 8), ("broken-10", 40)])
def test_the_broken_alone_are_never_accepted(name: str, broken: int) -> None:
    assert len(played(name, seed=2).never_accepted) == broken


@pytest.mark.parametrize("seed", range(3))
def test_the_benchmark_spends_at_most_4_9_calls_per_target_and_minute(seed: int) -> None:
    assert played("benchmark", seed).calls_per_target_minute <= 4.9
