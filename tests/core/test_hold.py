from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.hold import Hold
from tests.core.stage import fleet

moments = st.floats(0, 1e6)


@given(moments, st.none() | moments, st.floats(1, 600))
def test_its_deadline_is_a_window_after_the_last_renewal_or_after_it_was_planned(
    planned_at: float, renewed_at: float | None, window: float
) -> None:
    hold = Hold(fleet(1)[0], 0, 0, planned_at, renewed_at)

    assert hold.deadline(window) == (planned_at if renewed_at is None else renewed_at) + window


@given(moments, st.none() | moments)
def test_an_attempt_is_outrun_by_a_renewal_that_was_not_sent_before_it(
    sent_at: float, renewed_at: float | None
) -> None:
    hold = Hold(fleet(1)[0], 0, 0, 0.0, renewed_at)

    assert hold.outran(sent_at) == (renewed_at is not None and sent_at <= renewed_at)
