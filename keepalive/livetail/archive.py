"""The archive: what Cloudflare stored of a target's events, asked for page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from keepalive.core.outcome import Denied, Fault, Throttled, Transient
from keepalive.core.target import Target
from keepalive.core.telemetry import Event, Page, Question, Wanted
from keepalive.livetail.ports import Api, Keeper

PAGE_EVENTS = 500
"""Events that are asked for at once; fewer where a page of so many is too large."""

LEAST_PAGE_EVENTS = 8

MOST_PAGES = 40
"""Pages of one look; each is a call of the quota."""

CERTAIN_LAST_PAGE = 50
"""A page with fewer events is the last one: a server may give fewer than asked for, not so few."""

TIMEOUT_SECONDS = 10.0


class Span(NamedTuple):
    """From when to when, both included, in milliseconds of Unix time."""

    begin_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the archive showed.

    Attributes:
        events: Everything, in no certain order.
        whole: True when nothing of the span is left unread.
        fault: Why it ended early, or None.
        denied: True when asking again is of no use.
        pause: Seconds that the server asked to wait for, or 0.
    """

    events: tuple[Event, ...]
    whole: bool = False
    fault: Fault | None = None
    denied: bool = False
    pause: float = 0.0

    def shows(self, event: Event) -> bool:
        """True when an event is among them."""
        return any(each.event_id == event.event_id for each in self.events)


class Archive:
    """Looks up the stored events of one target. Each page waits for the quota to lend a call."""

    def __init__(self, target: Target, wanted: Wanted, api: Api, keeper: Keeper) -> None:
        self._target = target
        self._wanted = wanted
        self._api = api
        self._keeper = keeper
        self._page_events = PAGE_EVENTS

    async def look(self, span: Span, *, unless_without: Event | None = None) -> Look:
        """Read a span to its end, newest first as replies are.

        Args:
            span: From when to when.
            unless_without: Stop at the first page that should show this event, the newest of the span,
                and does not: the rest is not worth a call yet.
        """
        found: dict[str, Event] = {}
        offset: str | None = None
        for _ in range(MOST_PAGES):
            answer = await self._page(span, offset)
            if not isinstance(answer, Page):
                return _failed(found, answer)
            fresh = [each for each in answer.events if (each.event_id or each.raw) not in found]
            found.update((each.event_id or each.raw, each) for each in fresh)
            look = Look(tuple(found.values()))
            if not fresh or len(answer.events) < CERTAIN_LAST_PAGE or not answer.events[-1].event_id:
                return Look(look.events, whole=True)
            newest_first = answer.events[0].timestamp >= answer.events[-1].timestamp
            if unless_without is not None and newest_first and not look.shows(unless_without):
                return look
            offset = answer.events[-1].event_id
        return Look(tuple(found.values()))

    async def _page(self, span: Span, offset: str | None) -> Page | Throttled | Denied | Transient:
        while True:
            await self._keeper.permit(self._target.credential)
            limit = self._page_events
            question = Question(span.begin_ms, span.end_ms, self._wanted, limit=limit, offset=offset)
            answer = await self._api.query(self._target, question, timeout=TIMEOUT_SECONDS)
            too_large = isinstance(answer, Transient) and answer.fault.cause == "too_large"
            if not too_large or limit <= LEAST_PAGE_EVENTS:
                return answer
            self._page_events = max(LEAST_PAGE_EVENTS, limit // 4)


def _failed(found: dict[str, Event], answer: Throttled | Denied | Transient) -> Look:
    pause = (answer.retry_after or 0.0) if isinstance(answer, Throttled) else 0.0
    return Look(tuple(found.values()), fault=answer.fault, denied=isinstance(answer, Denied), pause=pause)
