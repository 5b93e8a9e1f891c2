from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keepalive.simulator.meter import Meter

moments = st.lists(st.integers(0, 1000).map(lambda tenths: tenths / 10), min_size=1, max_size=60).map(sorted)


@given(moments, st.sampled_from([1.0, 7.5, 30.0]))
def test_the_worst_period_is_the_one_a_search_over_all_periods_finds(
    calls: list[float], period: float
) -> None:
    meter = Meter(period)
    for moment in calls:
        meter.count(moment)
    assert meter.worst == max(
        sum(begin <= moment < begin + period - 1e-6 for moment in calls) for begin in calls
    )


def test_calls_one_period_apart_do_not_share_one() -> None:
    meter = Meter(300.0)
    assert [meter.count(now) for now in (0.1, 300.0, 300.1, 600.2)] == [1, 2, 2, 1]
