from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.emulator.standing import Standing


def test_eligible_for_one_window_after_a_heartbeat() -> None:
    standing = Standing(100.0, window=45)
    assert standing.eligible(144.9)
    assert not standing.eligible(145.0)
    standing.renew(150.0)
    assert standing.eligible(194.9)


def test_the_tally_counts_closed_and_open_lapses() -> None:
    standing = Standing(0.0, window=45)
    standing.renew(50.0)
    assert standing.tally(60.0) == (55.0, 5.0, 1, 2)
    assert standing.tally(100.0) == (90.0, 10.0, 2, 2)


def test_what_is_taken_away_comes_back_with_the_first_heartbeat_that_counts_again() -> None:
    standing = Standing(0.0, window=45)
    standing.revoke(10.0, until=30.0)
    assert not standing.eligible(10.0)
    standing.renew(20.0)
    assert not standing.eligible(35.0)
    standing.renew(40.0)
    assert standing.eligible(84.9)
    assert standing.tally(50.0) == (20.0, 30.0, 1, 3)


def test_taking_away_what_has_run_out_changes_nothing() -> None:
    standing = Standing(0.0, window=45)
    standing.revoke(50.0, until=60.0)
    assert standing.tally(60.0) == (45.0, 15.0, 1, 1)


@given(
    st.lists(st.integers(min_value=0, max_value=100), max_size=30), st.integers(min_value=0, max_value=100)
)
def test_every_second_since_the_first_accept_is_either_eligible_or_lapsed(gaps: list[int], rest: int) -> None:
    now, lapsed, standing = 0.0, 0.0, Standing(0.0, window=45)
    for gap in gaps:
        now += gap
        lapsed += max(0, gap - 45)
        standing.renew(now)
    now += rest
    lapsed += max(0, rest - 45)
    tally = standing.tally(now)
    assert tally.eligible + tally.lapsed == pytest.approx(now)
    assert tally.lapsed == pytest.approx(lapsed)
