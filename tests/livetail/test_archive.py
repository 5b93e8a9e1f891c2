from __future__ import annotations

from collections.abc import Callable

from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Denied, Fault, Throttled, Transient
from keepalive.core.target import Scope, Target
from keepalive.core.telemetry import Event, Page, Prepared, Question, Wanted
from keepalive.livetail.archive import MOST_PAGES, PAGE_EVENTS, Archive, Look, Span

TARGET = Target("default", "a" * 32, "api")
EVENTS = [Event(f"{at}", f"{at:06d}", at, "api") for at in range(3000)]
Answer = Page | Throttled | Denied | Transient


class Shelf:
    """Answers queries by a function, and lends the calls for them."""

    def __init__(self, answer: Callable[[Question], Answer]) -> None:
        self.asked: list[Question] = []
        self.permits = 0
        self._answer = answer

    async def prepare(self, target: Target, wanted: Wanted, *, timeout: float) -> Prepared:
        raise NotImplementedError

    async def query(self, target: Target, question: Question, *, timeout: float) -> Answer:
        self.asked.append(question)
        return self._answer(question)

    def state(self, target: Target) -> Eligibility:
        return Eligibility.ELIGIBLE

    async def changed(self) -> None:
        raise NotImplementedError

    async def permit(self, credential: str) -> None:
        assert credential == TARGET.credential
        self.permits += 1


def newest_first(question: Question) -> Page:
    span = [each for each in EVENTS if question.begin <= each.timestamp <= question.end]
    older = [each for each in span if question.offset is None or each.event_id < question.offset]
    return Page(tuple(older[::-1][: question.limit]))


async def looked(shelf: Shelf, span: Span, anchor: Event | None = None) -> Look:
    return await Archive(TARGET, Wanted(), shelf, shelf).look(span, unless_without=anchor)


async def test_a_span_is_read_to_its_end_and_each_page_is_paid_for() -> None:
    shelf = Shelf(newest_first)
    look = await looked(shelf, Span(100, 1400))
    assert look.whole
    assert look.events == tuple(EVENTS[1400:99:-1])
    assert shelf.permits == len(shelf.asked) == 4  # the last one shows that there is no more
    assert [question.offset for question in shelf.asked] == [None, "000901", "000401", "000100"]


async def test_pages_that_a_server_makes_smaller_are_read_all_the_same() -> None:
    shelf = Shelf(lambda question: Page(newest_first(question).events[:100]))
    assert (await looked(shelf, Span(0, 999))).events == tuple(EVENTS[999::-1])


async def test_a_server_that_sorts_the_other_way_is_read_all_the_same() -> None:
    def oldest_first(question: Question) -> Page:
        newer = [each for each in EVENTS[:1200] if each.event_id > (question.offset or "")]
        return Page(tuple(newer[: question.limit]))

    look = await looked(Shelf(oldest_first), Span(0, 1199), EVENTS[1199])
    assert look.whole
    assert look.shows(EVENTS[1199])


async def test_without_the_event_that_is_waited_for_the_rest_is_not_asked_for() -> None:
    shelf = Shelf(newest_first)
    look = await looked(shelf, Span(0, 1500), EVENTS[2000])
    assert len(shelf.asked) == 1
    assert not look.whole


async def test_pages_that_are_too_large_are_made_smaller_and_stay_so() -> None:
    def small(question: Question) -> Answer:
        return newest_first(question) if question.limit <= 50 else Transient(Fault("too_large"))

    shelf = Shelf(small)
    archive = Archive(TARGET, Wanted(), shelf, shelf)
    assert len((await archive.look(Span(0, 20))).events) == 21
    assert [question.limit for question in shelf.asked] == [PAGE_EVENTS, 125, 31]
    await archive.look(Span(0, 20))
    assert shelf.asked[-1].limit == 31


async def test_a_server_that_turns_in_circles_is_left() -> None:
    shelf = Shelf(lambda question: Page(tuple(EVENTS[:100])))
    assert len((await looked(shelf, Span(0, 99))).events) == 100
    assert len(shelf.asked) == 2


async def test_a_server_without_an_end_is_left() -> None:
    def endless(question: Question) -> Page:
        begin = int(question.offset or 0)
        return Page(tuple(Event(f"{at}", f"{at}", at, "api") for at in range(begin + 100, begin, -1)))

    shelf = Shelf(lambda question: Page(tuple(reversed(endless(question).events))))
    look = await looked(shelf, Span(0, 99))
    assert not look.whole
    assert len(shelf.asked) == MOST_PAGES


async def test_faults_end_a_look_and_keep_what_was_read() -> None:
    def one_page(question: Question) -> Answer:
        return Throttled(Fault("throttled"), 7.0) if question.offset else newest_first(question)

    look = await looked(Shelf(one_page), Span(0, 999))
    assert (len(look.events), look.whole, look.denied, look.pause) == (PAGE_EVENTS, False, False, 7.0)
    refused = await looked(Shelf(lambda _: Denied(Fault("authentication"), Scope.ACCOUNT)), Span(0, 1))
    assert refused.denied
    assert refused.fault == Fault("authentication")
