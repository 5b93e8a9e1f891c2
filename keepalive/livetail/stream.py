"""The stream: everything of one target's tail, for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random

from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Denied, Fault, Throttled, Transient
from keepalive.core.target import Target
from keepalive.core.telemetry import Prepared, Wanted
from keepalive.livetail import backoff
from keepalive.livetail.archive import Archive
from keepalive.livetail.dates import Dates
from keepalive.livetail.ports import Api, Connect, Ended, Keeper
from keepalive.livetail.record import Changed, Record, State, state_of
from keepalive.livetail.session import Session
from keepalive.livetail.splice import Counts, Splice
from keepalive.livetail.watch import Watch

OPEN_SECONDS = 10.0
"""For each of the two steps that open a session."""

SESSION_SECONDS = 3000.0
SESSION_SPREAD_SECONDS = 300.0
"""A session is replaced at this age, or earlier by up to the spread: tails drop after about an hour."""

LIVED_SECONDS = 10.0
"""A connection that lived so long did not fail at once: the next one is opened without a pause."""

OVERLAP_SECONDS = 3.0
LONGEST_OVERLAP_SECONDS = 10.0
"""How long an old connection is read beside the new one, and how long if the new one brings nothing yet."""


class Stream:
    """Tails one target for ever: every event once and in order, or a gap that says what is missing.

    It reconnects, replaces each session before it is an hour old, finds silences that are none, and fills
    gaps from the archive. While a gap is being filled the events of the stream are held back, for half a
    minute as a rule and a minute at most.

    Args:
        target: Whose events.
        wanted: Which of them.
        deliver: Called with each record, in order; it must not block.
        api: Opens sessions and answers for the past.
        keeper: Keeps the target eligible, and lends calls of the quota.
        connect: Opens connections.
        wall_clock: Seconds since 1970. Events are dated by Cloudflare's clock; the difference is learnt.
        chance: Draws the jitter.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a test plays
        self,
        target: Target,
        wanted: Wanted,
        deliver: Callable[[Record], None],
        *,
        api: Api,
        keeper: Keeper,
        connect: Connect,
        wall_clock: Callable[[], float] = time.time,
        chance: Random | None = None,
    ) -> None:
        self._target = target
        self._wanted = wanted
        self._deliver = deliver
        self._api = api
        self._keeper = keeper
        self._connect = connect
        self._draw = (chance or Random()).random  # noqa: S311 - spreads load, guards nothing
        self._dates = Dates(wall_clock)
        archive = Archive(target, wanted, api, keeper)
        self._splice = Splice(archive, self._dates, deliver)
        self._live = self._splice.live
        self._replace = asyncio.Event()
        self._watch = Watch(
            self._splice, archive, self._dates, holds=lambda: self._holds, replace=self._replace
        )
        self._state = State.DISCONNECTED
        self._explained = False

    @property
    def counts(self) -> Counts:
        """What it did so far."""
        return self._splice.counts

    async def run(self, since_ms: int | None = None) -> None:
        """Tail until cancelled. What is held back then is told before this ends, with a gap for its doubt.

        Args:
            since_ms: Begin with what is stored since this date, in milliseconds of Unix time.
        """
        self._loop = asyncio.get_running_loop()
        if since_ms is not None:
            self._splice.begin_at(since_ms)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_eligibility(), name="tail: follow eligibility")
                tasks.create_task(self._watch.run(), name="tail: watch silences")
                tasks.create_task(self._splice.settle(), name="tail: settle doubts")
                await self._stay_connected(tasks)
        finally:
            self._splice.finish()

    async def _stay_connected(self, tasks: asyncio.TaskGroup) -> None:
        failures = 0
        while True:
            self._replace.clear()
            opened = await self._open()
            if isinstance(opened, Session):
                self._join(opened, tasks)
                await _wait(self._replace, SESSION_SECONDS - self._draw() * SESSION_SPREAD_SECONDS)
                if self._loop.time() > opened.up_at + LIVED_SECONDS:
                    failures = 0
                    continue
                opened = Fault("closed")
                self._replace.clear()  # the reason that ended it must not end the pause too
            else:
                self._tell_state(_words(opened))
            failures += 1
            pause = backoff.pause(opened, failures, self._draw())
            if isinstance(opened, Throttled):
                await asyncio.sleep(pause)  # nothing may cut it short
            else:
                await _wait(self._replace, pause)

    async def _open(self) -> Session | Throttled | Denied | Transient | Fault:
        await self._keeper.permit(self._target.credential)
        prepared = await self._api.prepare(self._target, self._wanted, timeout=OPEN_SECONDS)
        if not isinstance(prepared, Prepared):
            return prepared
        connection = await self._connect(prepared, timeout=OPEN_SECONDS)
        if isinstance(connection, Fault):
            return connection
        return Session(connection, self._loop.time(), self._dates.now_ms())

    def _join(self, session: Session, tasks: asyncio.TaskGroup) -> None:
        older = tuple(self._live)
        self.counts.connections += 1
        self._splice.join(session)
        tasks.create_task(self._read(session), name="tail: read a connection")
        for each in older:
            tasks.create_task(self._retire(each, session), name="tail: retire a connection")
        self._tell_state()

    async def _read(self, session: Session) -> None:
        take = partial(self._splice.take, session)
        ended = await session.connection.pour(take, unread=self._splice.take_unread)
        was_newest = session is self._live[-1]
        self._splice.leave(session)
        if not self._live:
            self._tell_state(_words(ended))
        if was_newest:
            self._replace.set()

    async def _retire(self, old: Session, new: Session) -> None:
        """End an old connection once it has shown that it lived until the new one was there."""
        if not await old.connection.answers() or self._live[-1] is not new:
            return
        self._splice.hand_over(old, new)
        await asyncio.sleep(OVERLAP_SECONDS)
        await _wait(new.first, LONGEST_OVERLAP_SECONDS - OVERLAP_SECONDS)
        if new in self._live:
            old.retired = True
            await old.connection.close()

    async def _follow_eligibility(self) -> None:
        lapsed = False
        while True:
            self._tell_state()
            await self._keeper.changed()
            before, lapsed = (
                lapsed,
                not self._holds and (lapsed or self._eligibility is not Eligibility.PENDING),
            )
            self._splice.lapsed = lapsed
            if lapsed and not before:
                for session in self._live:
                    session.suspect = True
            elif before and not lapsed:
                if self._live:
                    self._splice.doubt(self._live[-1])  # once more: what came was under way before it lapsed
                self._replace.set()

    @property
    def _eligibility(self) -> Eligibility:
        return self._keeper.state(self._target)

    @property
    def _holds(self) -> bool:
        return self._eligibility.holds

    def _tell_state(self, cause: str = "") -> None:
        state = state_of(self._eligibility, connected=bool(self._live))
        if state is not self._state or (cause and not self._explained and not self._live):
            self._state, self._explained = state, bool(cause)
            self._deliver(Changed(state, cause))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _words(outcome: Throttled | Denied | Transient | Fault | Ended) -> str:
    """Say in one line what went wrong and, where that is known, what to do."""
    fault = outcome if isinstance(outcome, Fault | Ended) else outcome.fault
    hint = fault.hint if isinstance(fault, Fault) else ""
    return "; ".join(filter(None, (": ".join(filter(None, (fault.cause, fault.detail))), hint)))
