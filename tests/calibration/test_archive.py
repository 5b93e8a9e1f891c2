from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from keepalive.calibration.archive import MOST_LOOKS, PAGE_EVENTS, Archive
from keepalive.core.outcome import Accepted, Fault, Outcome, Transient
from keepalive.core.target import Scope, Target
from keepalive.core.telemetry import Event, Page, Prepared, Question, Wanted

TARGET = Target("prod", "0" * 32, "api")
TOO_LARGE = Transient(Fault("too_large"), Scope.TARGET)


@dataclass
class Shelf:
    """Answers queries, newest first, and remembers them."""

    dates_ms: list[int]
    largest: int | None = None
    asked: list[Question] = field(default_factory=list)
    permits: int = 0

    async def permit(self) -> None:
        self.permits += 1

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        return Accepted()

    async def prepare(self, target: Target, wanted: Wanted, *, timeout: float) -> Prepared:
        raise NotImplementedError

    async def query(self, target: Target, question: Question, *, timeout: float) -> Page | Transient:
        self.asked.append(question)
        found = [date for date in self.dates_ms if question.begin <= date <= question.end]
        if self.largest is not None and len(found) > self.largest:
            return TOO_LARGE
        newest = sorted(found, reverse=True)[: question.limit]
        return Page(tuple(Event("{}", str(date), date, "api") for date in newest))


async def test_it_gives_dates_in_seconds() -> None:
    shelf = Shelf([500, 1_500, 2_500, 3_500])
    assert sorted(await look(shelf, 1.0, 3.0)) == [1.5, 2.5]
    assert (shelf.permits, len(shelf.asked)) == (1, 1)


async def look(shelf: Shelf, begin: float, end: float) -> list[float]:
    found = await Archive(TARGET, shelf, shelf.permit).look(begin, end)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("largest", [None, 20])
async def test_of_too_many_events_it_shows_the_first_ones(largest: int | None) -> None:
    shelf = Shelf(list(range(1_000, 31_000, 3)), largest)
    found = await look(shelf, 0.0, 60.0)
    assert min(found) == 1.0
    assert 0 < len(found) < PAGE_EVENTS
    assert shelf.permits == len(shelf.asked) <= MOST_LOOKS


async def test_a_pause_before_a_crowd_does_not_hide_it() -> None:
    shelf = Shelf([1_000, *range(21_500, 91_500, 2)])
    found = await look(shelf, 1.0, 100.0)
    assert sorted(found)[:3] == [1.0, 21.5, 21.502]
    assert len(shelf.asked) <= MOST_LOOKS


async def test_a_span_that_was_narrow_once_is_widened_again() -> None:
    shelf = Shelf(list(range(1_000, 31_000, 3)))
    archive = Archive(TARGET, shelf, shelf.permit)
    await archive.look(0.0, 60.0)
    shelf.dates_ms, shelf.asked = [59_000], []
    assert await archive.look(0.0, 60.0) == [59.0]
    assert await archive.look(0.0, 60.0) == [59.0]
    assert len(shelf.asked) < MOST_LOOKS


async def test_more_events_in_a_moment_than_a_page_holds_end_the_search() -> None:
    shelf = Shelf([1_000] * 500)
    assert set(await look(shelf, 0.0, 60.0)) == {1.0}
    assert len(shelf.asked) <= MOST_LOOKS


async def test_events_without_a_date_are_left_out() -> None:
    assert await look(Shelf([0, 1_000]), 0.0, 2.0) == [1.0]


async def test_a_fault_is_given_back() -> None:
    class Broken(Shelf):
        async def query(self, target: Target, question: Question, *, timeout: float) -> Transient:
            return Transient(Fault("timeout"))

    shelf = Broken([])
    assert await Archive(TARGET, shelf, shelf.permit).look(0.0, 1.0) == Transient(Fault("timeout"))
