"""The archive: when stored events were logged, as the query shows it."""

from __future__ import annotations

from keepalive.calibration.ports import Api, Permit
from keepalive.core.outcome import Denied, Throttled, Transient
from keepalive.core.target import Target
from keepalive.core.telemetry import Page, Question

TIMEOUT_SECONDS = 10.0

PAGE_EVENTS = 100

NARROWER = 4
"""A span of too many events for a page is cut to this part: its beginning tells when silence began. Where
nothing is shown behind the very first moment, the next span is so much longer again."""

MOST_LOOKS = 20

_SHORTEST_MS = 2


class Archive:
    """Looks up when a target logged something. Each page waits for the quota to lend a call."""

    def __init__(self, target: Target, api: Api, permit: Permit) -> None:
        self._target = target
        self._api = api
        self._permit = permit
        self._span_ms = 0

    async def look(self, begin: float, end: float) -> list[float] | Throttled | Denied | Transient:
        """Say when events were logged, in seconds of Unix time; of very many only those at the beginning.

        Args:
            begin: The first moment that is asked about.
            end: The last one.
        """
        begin_ms, end_ms = round(begin * 1000), max(round(end * 1000), round(begin * 1000) + 1)
        at_ms, span_ms = begin_ms, self._span_ms or end_ms - begin_ms
        shown: list[float] = []
        for _ in range(MOST_LOOKS):
            span_ms = min(span_ms, end_ms - at_ms)
            await self._permit()
            question = Question(at_ms, at_ms + span_ms, limit=PAGE_EVENTS)
            answer = await self._api.query(self._target, question, timeout=TIMEOUT_SECONDS)
            if isinstance(answer, Page):
                crowded = len(answer.events) >= PAGE_EVENTS
            elif isinstance(answer, Transient) and answer.fault.cause == "too_large":
                crowded, answer = True, Page(())
            else:
                return answer
            if crowded and span_ms > _SHORTEST_MS:
                span_ms = max(_SHORTEST_MS, span_ms // NARROWER)
                continue
            shown += [event.timestamp / 1000 for event in answer.events if event.timestamp]
            self._span_ms, at_ms = span_ms, at_ms + span_ms
            if at_ms >= end_ms or max(shown, default=begin) > begin:
                break
            span_ms *= NARROWER
        if at_ms >= end_ms:
            self._span_ms = 0
        return shown
