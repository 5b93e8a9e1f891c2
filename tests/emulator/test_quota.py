from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keepalive.emulator.quota import Meter, Quota

STEPS = st.lists(st.floats(min_value=0, max_value=3), max_size=80)


def test_the_call_above_the_quota_blocks_every_call_for_the_block() -> None:
    meter = Meter(Quota(requests=3, period=10, block=30))
    assert [meter.charge(at).remaining for at in (0, 1, 2)] == [2, 1, 0]
    assert meter.charge(3)[:3] == (False, 0, 30)
    assert meter.charge(32.5)[:3] == (False, 0, 0.5)
    assert meter.charge(33).granted


def test_calls_leave_the_count_one_period_after_they_came() -> None:
    meter = Meter(Quota(requests=2, period=10, block=30))
    meter.charge(0)
    meter.charge(6)
    assert meter.charge(10).granted
    assert not meter.charge(15.9).granted


@given(STEPS)
def test_no_period_ever_holds_more_granted_calls_than_the_quota(steps: list[float]) -> None:
    quota = Quota(requests=4, period=5, block=7)
    meter, now, granted = Meter(quota), 0.0, []
    for step in steps:
        now += step
        if meter.charge(now).granted:
            granted.append(now)
    for first in granted:
        assert sum(first <= at < first + quota.period for at in granted) <= quota.requests


@given(STEPS)
def test_nothing_is_granted_during_a_block(steps: list[float]) -> None:
    quota = Quota(requests=2, period=5, block=7)
    meter, now, blocked_until = Meter(quota), 0.0, 0.0
    for step in steps:
        now += step
        reading = meter.charge(now)
        if not reading.granted and now >= blocked_until:
            blocked_until = now + quota.block
        assert reading.granted is (now >= blocked_until)
