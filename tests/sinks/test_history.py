from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keepalive.sinks.history import REMEMBERED, History
from keepalive.sinks.line import line_of
from tests.sinks.samples import EVENTS, changed, summary


def wall_at(moment: float) -> float:
    return 1_800_000_000 + moment


@given(st.integers(0, 30), st.integers(1, 10), st.integers(0, 40))
def test_it_gives_the_newest_changes_first_and_forgets_the_oldest(
    count: int, remembered: int, limit: int
) -> None:
    history = History(wall_at, remembered=remembered)
    changes = [changed(at=float(second)) for second in range(count)]
    for change in changes:
        history(change)

    newest = changes[::-1][: min(limit, remembered)]
    assert history.lines(limit) == [line_of(change, wall_at) for change in newest]
    assert len(history) == min(count, remembered)


def test_it_remembers_nothing_but_changes_of_eligibility() -> None:
    history = History(wall_at)
    for event in (*EVENTS, summary()):
        history(event)

    assert [line["event"] for line in history.lines()] == ["eligibility.changed"]


def test_it_stays_small_whatever_happens() -> None:
    history, change = History(wall_at), changed()
    for _ in range(REMEMBERED + 500):
        history(change)

    assert len(history) == REMEMBERED
