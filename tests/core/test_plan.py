from dataclasses import FrozenInstanceError
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.plan import DEMAND_SHARE, PLANNED_SHARE, GroupPlan, Policy, Quota, admit, stretch
from tests.core.stage import fleet, planned

policies = st.builds(
    lambda window, part: Policy(window=window, interval=window * part),
    st.floats(1, 600),
    st.floats(0.01, 0.5),
)
quotas = st.builds(Quota, st.integers(1, 5000), st.floats(1, 600), st.floats(0.05, 1))


@pytest.mark.parametrize(
    ("count", "interval", "refused"),
    [(1, 15.0, 0), (42, 15.0, 0), (43, 43 / 2.8, 0), (63, 22.5, 0), (64, 22.5, 1), (100, 22.5, 37)],
)
def test_the_default_quota_holds_42_targets_at_15_seconds_and_63_at_22_and_a_half(
    count: int, interval: float, refused: int
) -> None:
    admission = admit(planned(fleet(count)))

    assert admission.interval == pytest.approx(interval)
    assert len(admission.refused) == refused
    assert len(admission.admitted) == count - refused


@given(policies, quotas, st.integers(0, 120))
def test_the_order_of_the_plan_decides_who_is_refused(policy: Policy, quota: Quota, count: int) -> None:
    targets = fleet(count)

    admission = admit(planned(targets, policy, quota))

    assert admission.admitted + admission.refused == targets


@given(policies, quotas, st.integers(1, 120))
def test_planned_beats_never_take_more_than_their_part_of_the_share(
    policy: Policy, quota: Quota, count: int
) -> None:
    admission = admit(planned(fleet(count), policy, quota))

    assert policy.interval <= admission.interval <= policy.longest_interval
    assert len(admission.admitted) / admission.interval <= quota.rate * PLANNED_SHARE * (1 + 1e-6)


@given(policies, quotas, st.integers(1, 120))
def test_nobody_is_refused_while_there_is_room(policy: Policy, quota: Quota, count: int) -> None:
    admission = admit(planned(fleet(count), policy, quota))

    if admission.refused:
        one_more = (len(admission.admitted) + 1) / policy.longest_interval
        assert one_more > quota.rate * PLANNED_SHARE * (1 - 1e-6)


@given(policies, quotas, st.integers(0, 120), st.floats(1, 10), st.floats(1, 10))
def test_retries_stretch_within_bounds_and_more_of_them_stretch_no_less(
    policy: Policy, quota: Quota, count: int, tries: float, more: float
) -> None:
    plan = planned((), policy, quota)

    interval = stretch(plan, count, quota.rate, tries)

    assert policy.interval <= interval <= max(policy.longest_interval, policy.longest_in_need)
    assert stretch(plan, count, quota.rate, tries + more) >= interval
    if interval < policy.longest_in_need:
        mean = interval * (1 - policy.jitter / 3)
        assert count * tries / mean <= quota.rate * DEMAND_SHARE * (1 + 1e-6)


def test_a_raised_quota_holds_more() -> None:
    assert len(admit(planned(fleet(200), quota=Quota(requests=2400))).admitted) == 126
    assert len(admit(planned(fleet(200), quota=Quota(requests=2400, share=0.45))).admitted) == 63


def test_one_heartbeat_each_admits_everybody() -> None:
    admission = admit(planned(fleet(5000), Policy(interval=inf)))

    assert admission.interval == inf
    assert len(admission.admitted) == 5000


def test_a_tiny_quota_still_allows_one_request() -> None:
    assert Quota(requests=1, share=0.5).allowed == 1


def test_keepalive_may_send_1080_requests_in_five_minutes_by_default() -> None:
    assert Quota().allowed == 1080
    assert Quota().rate == pytest.approx(3.6)


@given(st.floats(1, 600))
def test_an_attempt_may_take_five_seconds_or_a_quarter_of_the_window(window: float) -> None:
    assert Policy(window=window).timeout == min(5, window / 4)


def test_a_plan_never_changes() -> None:
    plan = GroupPlan("default", ())

    with pytest.raises(FrozenInstanceError):
        plan.name = "other"  # type: ignore[misc]  # that it cannot be done is what is tested
