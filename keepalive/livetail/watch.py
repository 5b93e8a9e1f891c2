"""A watch: asks the archive now and then whether a silence of the stream was one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from keepalive.livetail.archive import Archive, Span
from keepalive.livetail.dates import Dates
from keepalive.livetail.doubt import SLACK_MS
from keepalive.livetail.session import Session
from keepalive.livetail.splice import Splice

LOOK_SECONDS = 10.0
LATEST_LOOK_SECONDS = 60.0
"""Silence after which the archive is asked about it: soon where events were frequent."""

APART_SECONDS = 60.0
LONGEST_APART_SECONDS = 300.0
"""Between two such calls; more and more where they find nothing."""

BROUGHT_SECONDS = 5.0
"""What is stored is brought by a stream within so many seconds, or not any more."""

_STEP_SECONDS = 1.0


class Watch:
    """Looks into silences: into one that lasts, and into those that are over.

    What a lasting one hid is fetched, and the connection replaced. What one that is over hid can only be
    named: the events behind it were told already.

    Args:
        splice: What is watched.
        archive: What Cloudflare stored.
        dates: The time by which events are dated.
        holds: Says whether the target is eligible; without that, silence is no wonder.
        replace: Set when the connection should be replaced.
    """

    def __init__(
        self,
        splice: Splice,
        archive: Archive,
        dates: Dates,
        *,
        holds: Callable[[], bool],
        replace: asyncio.Event,
    ) -> None:
        self._splice = splice
        self._archive = archive
        self._dates = dates
        self._holds = holds
        self._replace = replace
        self._looked_at = self._checked_at = -inf
        self._look_apart = self._check_apart = APART_SECONDS

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            live = self._splice.live
            if len(live) != 1 or self._splice.doubtful or not self._holds():
                await asyncio.sleep(LOOK_SECONDS)
                continue
            quiet, now = live[0], loop.time()
            if quiet.last_at > self._looked_at:
                self._look_apart = APART_SECONDS
            look_at = quiet.last_at + self._splice.rhythm.worth_a_look(LOOK_SECONDS, LATEST_LOOK_SECONDS)
            look_at = max(look_at, self._looked_at + self._look_apart)
            silences = self._splice.silences
            ended_at = silences[0].ended_at if silences else inf
            check_at = max(ended_at + self._splice.lag, self._checked_at + self._check_apart)
            if min(look_at, check_at) > now:
                left = min(look_at, check_at) - now
                await asyncio.sleep(min(LATEST_LOOK_SECONDS, max(_STEP_SECONDS, left)))
            elif look_at <= now:
                self._looked_at = now
                await self._look(quiet)
            else:
                self._checked_at = now
                await self._check(now)

    async def _look(self, quiet: Session) -> None:
        """Look into the silence that lasts."""
        now_ms, certain_ms = self._dates.now_ms(), quiet.certain_ms
        look = await self._archive.look(Span(max(0, certain_ms - SLACK_MS), now_ms + SLACK_MS))
        if self._splice.doubtful or self._splice.live != [quiet] or look.fault is not None:
            return
        overdue_ms = now_ms - int(BROUGHT_SECONDS * 1000)
        missed = [each for each in look.events if certain_ms < each.timestamp < overdue_ms]
        if any(each not in self._splice for each in missed):
            self._splice.counts.stalls += 1
            self._look_apart = self._check_apart = APART_SECONDS
            self._splice.doubt(quiet)
            self._replace.set()
        else:
            quiet.verify(now_ms - int(self._splice.lag * 1000))
            self._look_apart = min(LONGEST_APART_SECONDS, self._look_apart * 2)

    async def _check(self, now: float) -> None:
        """Look into the silences that have been over for so long that what they hid is indexed."""
        lag = self._splice.lag
        spans = [silence.span for silence in self._splice.silences if silence.ended_at + lag <= now]
        begin_ms, end_ms = min(span.begin_ms for span in spans), max(span.end_ms for span in spans)
        look = await self._archive.look(Span(begin_ms, end_ms))
        if look.fault is not None and not look.denied:
            return
        del self._splice.silences[: len(spans)]
        missed = [each for each in look.events if each.event_id and each not in self._splice]
        hollow = [
            span for span in spans if any(span.begin_ms < each.timestamp < span.end_ms for each in missed)
        ]
        for span in hollow:
            self._splice.name_gap(span)
        self._check_apart = APART_SECONDS if hollow else min(LONGEST_APART_SECONDS, self._check_apart * 2)
