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
