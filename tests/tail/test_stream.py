from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tail.model import Account, Model, World, account, tailing

pytestmark = pytest.mark.looptime


@dataclass
class Play:
    """What hypothesis draws: a world, and when its connections break."""

    world: World
    kills: list[tuple[float, bool]] = field(default_factory=list)


LENGTH = 120.0
QUIESCENCE = 100.0


async def _played(play: Play) -> tuple[Model, Account]:
    async with tailing(play.world) as model, asyncio.TaskGroup() as tasks:
        tasks.create_task(model.log(LENGTH + QUIESCENCE))
        for at, half_open in sorted(play.kills):
            await model.until(at)
            model.kill(half_open=half_open)
        await model.until(LENGTH + QUIESCENCE + 1)
    return model, account(model, 1.0, LENGTH + QUIESCENCE - 45)


def spans(shortest: float, longest: float) -> st.SearchStrategy[list[tuple[float, float]]]:
    begins = st.floats(min_value=15, max_value=LENGTH - longest)
    lengths = st.floats(min_value=shortest, max_value=longest)
    one = st.tuples(begins, lengths).map(lambda span: (span[0], span[0] + span[1]))
    return st.lists(one, max_size=2)


worlds = st.builds(
    World,
    rate=st.sampled_from([8.0, 15.0]),
    lag=st.floats(min_value=0, max_value=20),
    latency=st.floats(min_value=0.01, max_value=0.5),
    repeats=st.sampled_from([0.0, 0.1]),
    stored=st.sampled_from([True, True, True, False]),
    ahead=st.sampled_from([0.0, 0.0, 45.0, -45.0]),
    seed=st.integers(min_value=0, max_value=1000),
    quiet=spans(1, 30),
    revoked=spans(7, 40),
    lapsed=spans(3, 40),
    silent_archive=spans(1, 40),
    closed=spans(1, 40),
)
plays = st.builds(
    Play, worlds, st.lists(st.tuples(st.floats(min_value=3, max_value=LENGTH), st.booleans()), max_size=6)
)


@settings(max_examples=10, deadline=None)
@given(play=plays)
def test_every_event_is_told_once_and_in_order_or_lies_in_a_gap(play: Play) -> None:
    loop = looptime.new_event_loop(start=0.0, _enabled=True)
    try:
        _, found = loop.run_until_complete(_played(play))
    finally:
        loop.close()
    assert not found.missing
    assert not found.repeated
    if play.world.stored:
        assert found.disorder_ms <= 1000 * play.world.latency + 250
