"""A splice: what connections and the archive bring, as one sequence without a repetition or a silent gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from keepalive.core.telemetry import Event
from keepalive.livetail.archive import Archive, Look, Span
from keepalive.livetail.dates import Dates
from keepalive.livetail.doubt import PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS, SLACK_MS, Doubt
from keepalive.livetail.record import Gap, Record
from keepalive.livetail.rhythm import Rhythm
from keepalive.livetail.seen import Seen
from keepalive.livetail.session import Session, latest_of

SHORTEST_STALL_SECONDS = 5.0
"""A shorter silence is never asked about once it is over."""

OUT_OF_TURN_MS = 1000
"""How late behind others an event may still be told; what is found later than that is named as a gap."""

PROMPT_MS = 1000
"""How late an event usually comes: where it seems later than that, or early, our own clock is wrong."""

LAG_SPREAD_SECONDS = 5.0
"""How much later than it was seen to be at least the index may be."""

MOST_SILENCES = 1000
"""Silences that are remembered until somebody asks about them."""

UNREAD_SECONDS = 8.0
"""Between two gaps for what could not be read; each reaches the slack ahead, and the dates are not exact."""

_SOON_SECONDS = 0.01


@dataclass(slots=True)
class Counts:
    """What a stream did so far, for status lines and reports."""

    connections: int = 0
    told: int = 0
    repeated: int = 0
    recovered: int = 0
    unreadable: int = 0
    stalls: int = 0
    gaps: int = 0


class Silence(NamedTuple):
    """A silence that is over: its dates, and the moment of its end on the loop's clock."""

    span: Span
    ended_at: float


class Splice:
    """Tells each event once and in order. What is in doubt is held back until it is settled, or a gap.

    Attributes:
        live: The connections that are open, oldest first.
        counts: What happened so far.
        rhythm: How events usually follow each other.
        lapsed: True while the target is not eligible: that a connection lives says nothing then.
        silences: Those that ended and were told as such, oldest first; whoever asks about them forgets them.

    Args:
        archive: What Cloudflare stored.
        dates: The time by which events are dated.
        deliver: Called with each event and each gap.
    """

    def __init__(self, archive: Archive, dates: Dates, deliver: Callable[[Record], None]) -> None:
        self.live: list[Session] = []
        self.counts = Counts()
        self.rhythm = Rhythm()
        self.lapsed = False
        self.silences: list[Silence] = []
        self._archive = archive
        self._dates = dates
        self._deliver = deliver
        self._seen = Seen()
        self._doubt: Doubt | None = None
        self._lost: Session | None = None
        self._floor_ms = 0  # what was logged before this date was not asked for
        self._stored: bool | None = None  # None: nothing has shown yet whether Cloudflare stores these events
        self._lag_ms = 0  # of the index, at least
        self._silence = 0.0
        self._unread_until = -inf  # until then a gap is told for what cannot be read
        self._changed = asyncio.Event()

    def __contains__(self, event: Event) -> bool:
        return event in self._seen

    @property
    def doubtful(self) -> bool:
        """True while events are held back."""
        return self._doubt is not None

    def begin_at(self, since_ms: int) -> None:
        """Begin with what is stored since a date."""
        self._floor_ms, self._doubt = since_ms, Doubt(since_ms, since_ms)

    def join(self, session: Session) -> None:
        """Take from another connection too. Beside an older one it waits until that is known to be whole."""
        session.trusted = not self.live
        self.live.append(session)
        self._floor_ms = self._floor_ms or session.up_ms
        if self._doubt is not None:
            self._doubt.join(session.up_at, session.up_ms, self._patience)
            self._changed.set()

    def leave(self, session: Session) -> None:
        """A connection has ended. Unless another had replaced it, all is in doubt since it was last heard."""
        self.live.remove(session)
        if self._doubt is None:
            self._remember_silence(session, self._dates.now_ms())
        if session.retired:
            return
        newest = self.live[-1] if self.live else None
        if newest is not None and session.up_at < newest.up_at < session.connection.heard_at:
            self.hand_over(session, newest)
            return
        if newest is not None:
            newest.retired = False
        self._lost = session
        self.doubt(session, self._heard_ms(session))

    def hand_over(self, old: Session, new: Session) -> None:
        """The connection before lived until this one was there: what waited comes next.

        One that lived and was silent for unusually long is doubted all the same.
        """
        if self._doubt is None and self._falls_silent(old):
            self.doubt(old)
        new.trusted = True
        waiting, new.waiting = new.waiting, []
        if self._doubt is None:
            self._tell(waiting)
        else:
            self._hold(self._doubt, new, waiting)

    def take(self, session: Session, events: Sequence[Event]) -> None:
        """Tell what a connection brought, or hold it back."""
        if not events:
            return
        now, ours_ms = asyncio.get_running_loop().time(), self._dates.ours_ms()
        latest_ms = latest_of(events, ours_ms)
        if latest_ms is not None:
            self._learn(ours_ms - latest_ms)
        silence = now - session.last_at
        if session.suspect or self.rhythm.breaks(silence, SHORTEST_STALL_SECONDS):
            self._silence = 0.0 if session.suspect else silence
            self.doubt(session)
        else:
            self.rhythm.note(silence, len(events))
            self._remember_silence(session, events[0].timestamp)
        session.note(now, latest_ms)
        if self._doubt is not None:
            self._hold(self._doubt, session, events)
        elif session.trusted:
            self._tell(events)
        else:
            session.waiting += events

    def take_unread(self) -> None:
        """Something came that could not be read: name it as a gap, which reaches over what follows soon too.

        It is not doubted: a far side that sends such things again and again would hold up all the rest.
        """
        self.counts.unreadable += 1
        now = asyncio.get_running_loop().time()
        if now >= self._unread_until:
            self._unread_until = now + UNREAD_SECONDS
            now_ms = self._dates.now_ms()
            self.counts.gaps += 1
            self._deliver(Gap(max(0, now_ms - SLACK_MS), now_ms + SLACK_MS, "unreadable"))

    def doubt(self, session: Session, heard_ms: int = 0) -> None:
        """Doubt everything since a session was last certain, and hold back what comes.

        Args:
            session: Which one.
            heard_ms: When the far side still was there, if that means that it brought what there was; else 0.
        """
        now, newest = asyncio.get_running_loop().time(), self.live[-1] if self.live else None
        doubt = self._doubt
        if doubt is None:
            doubt = self._doubt = Doubt(session.certain_ms, heard_ms)
        else:
            doubt.widen(session.certain_ms, heard_ms)
        for each in {session, *self.live}:
            each.suspect = False
            each.last_at = now  # the silence so far is doubted already, and no sign of what is usual
            doubt.hold(each.waiting, now)
            each.waiting = []
        if newest is None:
            doubt.leave()
        elif not doubt.joined or newest.up_at <= session.up_at:  # what came before is no anchor any more
            doubt.join(now, self._dates.now_ms(), self._patience)
        self._changed.set()

    def name_gap(self, span: Span) -> None:
        """A silence was none: say so, for what came after it was told already."""
        self.counts.stalls += 1
        self.counts.gaps += 1
        self._deliver(Gap(span.begin_ms, span.end_ms, "stalled"))

    def finish(self) -> None:
        """Tell what is held back, for nothing more comes: what is not settled by now is a gap."""
        if self._doubt is None and any(session.waiting for session in self.live):
            self.doubt(self.live[0], self._heard_ms(self.live[0]))
        if self._doubt is not None:
            self._end(self._doubt, "interrupted")

    async def settle(self) -> None:
        """Settle doubts, one after the other, until cancelled."""
        while True:
            if self._doubt is None:
                self._changed.clear()
                await self._changed.wait()
            else:
                await self._settle(self._doubt)

    async def _settle(self, doubt: Doubt) -> None:
        """Look at the archive until it has shown everything, or patience is over."""
        loop = asyncio.get_running_loop()
        while self._doubt is doubt:
            now = loop.time()
            left = doubt.until - now
            if left <= _SOON_SECONDS:
                self._end(doubt, doubt.verdict(now + _SOON_SECONDS, self.lag, stored=bool(self._stored)))
            elif not doubt.joined:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if left == inf else left):
                        await self._changed.wait()
            else:
                await asyncio.sleep(max(_SOON_SECONDS, min(doubt.pause, left)))
                await self._look(doubt)

    async def _look(self, doubt: Doubt) -> None:
        """Look at the archive once, and draw the consequences."""
        anchor, look = doubt.anchor, None
        with suppress(TimeoutError):
            async with asyncio.timeout_at(doubt.until):
                span = doubt.span(self._dates.now_ms())
                look = await self._archive.look(span, unless_without=anchor)
        if self._doubt is not doubt:
            return
        if look is not None:
            self._find(doubt, look)
        if anchor is not doubt.anchor:
            return  # it was asked about what is no longer the question
        reason = doubt.weigh(look, asyncio.get_running_loop().time())
        if reason is not None:
            self._end(doubt, reason)
        elif anchor is None and look is not None and look.whole and self._stored:
            self._recover(doubt)

    def _recover(self, doubt: Doubt) -> None:
        """Tell what was found and is so old that the index has no holes there any more."""
        settled = doubt.settle(self._dates.now_ms(self.lag))
        self.counts.recovered += len(settled)
        self._tell(settled)

    def _find(self, doubt: Doubt, look: Look) -> None:
        if any(event in self._seen for event in look.events) or (doubt.anchor and look.shows(doubt.anchor)):
            doubt.shown = self._stored = True
        if look.whole and self._stored:
            self._lag_ms = doubt.lag_of(look, self._dates.now_ms(), self._lag_ms)
        new = [each for each in look.events if each.timestamp >= self._floor_ms and each not in self._seen]
        late = [each for each in new if each.timestamp < doubt.certain_ms - OUT_OF_TURN_MS]
        if late and self._stored:  # what came behind them was told: a stall that was too short to be doubted
            dates = [each.timestamp for each in late]
            self._seen.fresh(late, asyncio.get_running_loop().time())
            self.name_gap(Span(min(dates), max(dates)))
        doubt.find(each for each in new if each.timestamp >= doubt.certain_ms - OUT_OF_TURN_MS)

    def _end(self, doubt: Doubt, reason: str) -> None:
        """Tell what was found and held, and the gap where there is a reason for one."""
        self._doubt = None
        if not reason and doubt.anchor is None:
            self._recover(doubt)
        # What was found without an anchor is newer than the stream, which did not bring it.
        stalled = doubt.anchor is None and doubt.recovered > 0
        self.counts.recovered += 0 if stalled else doubt.recovered
        if reason == "not_stored":
            self._stored = False
        if not reason and not doubt.recovered:
            self.rhythm.note(self._silence, 0)  # it was nothing but a silence: such ones are usual then
        self._silence = 0.0
        for session in self.live:
            session.verify(self._dates.now_ms(self.lag))
            session.trusted = True
            session.retired = session is not self.live[-1]  # whatever it missed is settled or told
            session.suspect = session.suspect or stalled  # it may have lapsed since
        latest_ms = gap_ms = 0
        for record in doubt.end(reason, self._dates.now_ms()):
            if isinstance(record, Event):
                self._tell((record,))
                latest_ms = max(latest_ms, record.timestamp)
            else:
                self.counts.gaps += 1
                self._deliver(record)
                gap_ms = record.to_ms
        # What the archive shows of a gap later on would come behind what was told already: it stays a gap.
        self._floor_ms = max(self._floor_ms, min(latest_ms, gap_ms))
        if not self.live and self._lost is not None:
            self.doubt(self._lost, self._heard_ms(self._lost))

    def _hold(self, doubt: Doubt, session: Session, events: Sequence[Event]) -> None:
        now = asyncio.get_running_loop().time()
        doubt.hold(events, now)
        if session is self.live[-1]:
            doubt.fasten(events, now, self._dates.ours_ms(), self._patience)
        if doubt.overflows:
            self._end(doubt, "too_many")

    def _learn(self, ahead_ms: int) -> None:
        """Learn the events' clock. Before the first event all dates were our own: put them right."""
        if not self._dates.known:
            for session in {*self.live, *([self._lost] if self._lost else [])}:
                session.correct(-ahead_ms)
            if self._doubt is not None:
                self._doubt.correct(-ahead_ms)
            if not 0 <= ahead_ms < PROMPT_MS:
                self._floor_ms -= ahead_ms
        self._dates.learn(ahead_ms)

    def _remember_silence(self, session: Session, end_ms: int) -> None:
        """Remember the silence of a session that is over, where it is worth a question."""
        now, begin_ms = asyncio.get_running_loop().time(), session.certain_ms
        lasted = now - session.last_at >= SHORTEST_STALL_SECONDS
        if lasted and begin_ms < end_ms and len(self.silences) < MOST_SILENCES:
            self.silences.append(Silence(Span(begin_ms, end_ms), now))

    def _tell(self, events: Sequence[Event]) -> None:
        fresh = self._seen.fresh(events, asyncio.get_running_loop().time())
        self.counts.told += len(fresh)
        self.counts.repeated += len(events) - len(fresh)
        for event in fresh:
            self._deliver(event)

    def _heard_ms(self, session: Session) -> int:
        """Date the last sign of life; 0 where it means nothing, for the stream was silent before its end."""
        if self._falls_silent(session):
            return 0
        return self._dates.now_ms(asyncio.get_running_loop().time() - session.connection.heard_at)

    def _falls_silent(self, session: Session) -> bool:
        silence = asyncio.get_running_loop().time() - session.last_at
        return self.lapsed or session.suspect or self.rhythm.breaks(silence, SHORTEST_STALL_SECONDS)

    @property
    def lag(self) -> float:
        """Seconds after which an event is indexed, as far as is known."""
        return max(PATIENCE_SECONDS, self._lag_ms / 1000 + LAG_SPREAD_SECONDS)

    @property
    def _patience(self) -> float:
        return SHORT_PATIENCE_SECONDS if self._stored is False else PATIENCE_SECONDS
