import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility, judge

WORSE = [Eligibility.ELIGIBLE, Eligibility.AT_RISK, Eligibility.LAPSED]
moments = st.floats(0, 1e6)
windows = st.floats(1, 600)


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (0.0, Eligibility.ELIGIBLE),
        (29.999, Eligibility.ELIGIBLE),
        (30.0, Eligibility.AT_RISK),
        (44.999, Eligibility.AT_RISK),
        (45.0, Eligibility.LAPSED),
        (1e9, Eligibility.LAPSED),
    ],
)
def test_a_lease_is_at_risk_after_two_thirds_of_its_window_and_lapsed_at_its_end(
    age: float, state: Eligibility
) -> None:
    assert judge(100.0, denied=False, now=100 + age, window=45) is state


@given(moments, moments, windows)
def test_who_was_never_renewed_is_pending_however_late_it_is(now: float, later: float, window: float) -> None:
    assert judge(None, denied=False, now=now + later, window=window) is Eligibility.PENDING


@given(st.none() | moments, moments, windows)
def test_a_believed_refusal_beats_every_lease(renewed_at: float | None, now: float, window: float) -> None:
    assert judge(renewed_at, denied=True, now=now, window=window) is Eligibility.DENIED


@given(moments, st.floats(0, 2000), st.floats(0, 2000), windows)
def test_without_a_renewal_a_lease_only_gets_worse(
    renewed_at: float, age: float, more: float, window: float
) -> None:
    before = judge(renewed_at, denied=False, now=renewed_at + age, window=window)
    after = judge(renewed_at, denied=False, now=renewed_at + age + more, window=window)

    assert WORSE.index(after) >= WORSE.index(before)


def test_only_the_eligible_and_those_at_risk_hold() -> None:
    assert [state for state in Eligibility if state.holds] == [Eligibility.ELIGIBLE, Eligibility.AT_RISK]


def test_the_states_are_the_words_of_logs_and_metrics() -> None:
    assert [str(state) for state in Eligibility] == [
        "pending",
        "eligible",
        "at_risk",
        "lapsed",
        "denied",
        "refused",
    ]
