"""The measurement: lets a live tail fall silent again and again, and watches when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum
from math import inf
from random import Random

from keepalive.calibration.calls import Calls
from keepalive.calibration.estimate import LEAST_ROUNDS, Estimator
from keepalive.calibration.ports import Api, Connect, Permit, Undisturbed
from keepalive.calibration.result import Ending, OverError, Result
from keepalive.calibration.round import Round
from keepalive.calibration.sight import Sight
from keepalive.core.target import Target
from keepalive.core.telemetry import Event

KEEP_SECONDS = 3.0
"""Between heartbeats while the stream shall go on. No window is known, so it is assumed to be a short one."""

LOOK_SECONDS = 2.0
LOOK_MOST_SECONDS = 10.0
"""Between two looks at the archive while the stream is silent; more and more where they show nothing."""

STORED_SECONDS = 90.0
"""Seconds after which an event has to be in the archive, or what the Worker logs is not stored at all."""

UNHEARD_SECONDS = 60.0
"""Seconds of silence from the very start until the archive is asked whether there are events at all."""

UNHEARD_EVENTS = 3
"""Events that the archive shows and the stream never brought, to say that it brings none."""

SETTLE_SECONDS = 15.0
"""Seconds that the archive gets to show what was logged around the end of a silence."""

LONG_SECONDS = 120.0
"""A window longer than that is unlikely: where events go on, somebody else sends heartbeats."""

PLENTY_SECONDS = 1.5
"""Seconds between two events with which more traffic would not help."""

CLOSINGS = 3
"""So many rounds in a row are given to a far side that closes the stream."""


class Phase(StrEnum):
    """What it waits for."""

    OPENING = "opening a live tail"
    LISTENING = "waiting for the first event"
    AIMING = "choosing the moment of the last heartbeat"
    WATCHING = "no heartbeat: waiting until events stop"
    RESTORING = "heartbeat sent: waiting until events come again"
    SETTLING = "waiting until the query shows all of the silence"


class Measurement:
    """Measures the window of one target.

    Attributes:
        estimator: What is known so far.
        phase: What it waits for now.
        beat_at: When the last heartbeat of the round was sent, on the clock that was given, or None.

    Args:
        target: Whose events are watched; its user's tails fall silent meanwhile.
        api: Sends heartbeats, opens sessions and answers for the past.
        connect: Opens streams.
        permit: Lends calls of the quota.
        undisturbed: Looks for others who send heartbeats; asked before each round.
        clock: Seconds since 1970 by any clock that runs evenly: nothing depends on its being right.
        error: Seconds by which the result may be off.
        tell: Called after each round, and when something begins to fail.
        chance: Draws when to send heartbeats where nothing else decides.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a test plays
        self,
        target: Target,
        *,
        api: Api,
        connect: Connect,
        permit: Permit,
        undisturbed: Undisturbed,
        clock: Callable[[], float],
        error: float,
        tell: Callable[[], None] = lambda: None,
        chance: Random | None = None,
    ) -> None:
        self.estimator = Estimator(error)
        self.phase = Phase.OPENING
        self._target = target
        self._undisturbed = undisturbed
        self._clock = clock
        self._tell = tell
        self._chance = chance or Random()  # noqa: S311 - spreads moments, guards nothing
        self._calls = Calls(target, api=api, connect=connect, permit=permit, clock=clock, tell=tell)
        self._sight = Sight()
        self._round: Round | None = None
        self._missing = 0
        self._closings: list[float] = []
        self._began = clock()

    @property
    def trouble(self) -> str:
        """What fails just now, or nothing."""
        return self._calls.trouble

    @property
    def beat_at(self) -> float | None:
        """When the last heartbeat before the silence was sent; None between rounds."""
        return self._round.beat.sent_at if self._round and self.phase is Phase.WATCHING else None

    async def run(self, seconds: float) -> Result:
        """Measure for so long at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._measure()
        except TimeoutError:
            return self._unsettled()
        except OverError as over:
            return self.result(over.ending, over.detail, over.hint)
        return self.result(Ending.MEASURED)

    def result(self, ending: Ending, detail: str = "", hint: str = "") -> Result:
        """Say what is known now."""
        return Result(
            self._target,
            ending,
            self.estimator.estimate,
            detail,
            hint,
            seconds=self._clock() - self._began,
            brought=self._sight.count,
            missing=self._missing,
            more_seconds=None if ending is Ending.MEASURED else self.estimator.more_seconds,
        )

    # --- sessions ----------------------------------------------------------------------------

    async def _measure(self) -> None:
        while not self.estimator.done:
            self.phase, self._round = Phase.OPENING, None
            connection = await self._calls.open()
            playing = asyncio.create_task(self._play(), name="calibrate: play rounds")
            pouring = asyncio.create_task(connection.pour(self._take), name="calibrate: read the stream")
            try:
                await asyncio.wait((playing, pouring), return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended = playing.done()
                for task in (playing, pouring):
                    task.cancel()
                await asyncio.wait((playing, pouring))
            if ended:
                playing.result()
            else:
                pouring.result()
                self._note_closing()
                await self._calls.lost()

    def _note_closing(self) -> None:
        """The stream ended in a round, or before one: that round tells nothing."""
        if self.phase is Phase.WATCHING and self._round is not None:
            self._closings.append(self._clock() - self._round.beat.sent_at)
            if len(self._closings) >= CLOSINGS:
                ages = ", ".join(f"{age:.1f} s" for age in self._closings)
                raise OverError(
                    Ending.CLOSED,
                    f"the stream was closed {ages} after the last heartbeat, before it fell silent",
                    "alike times may be its way to end a session that has run out; else look at the network",
                )

    def _take(self, events: Sequence[Event]) -> None:
        now = self._clock()
        dates = [event.timestamp / 1000 for event in events if event.timestamp]
        dates = [date for date in dates if self._sight.believes(date, now)]
        self.estimator.traffic.note(dates)
        for date in dates:
            self._sight.note(date, now)
            if self._round is not None:
                self._round.deliver(date, now)

    # --- rounds ------------------------------------------------------------------------------

    async def _play(self) -> None:
        """Play rounds until the window is known, or the stream does not come back."""
        await self._first_event()
        while not self.estimator.done:
            if other := await self._undisturbed():
                raise OverError(Ending.DISTURBED, other, "stop it for as long as this takes")
            began = self._clock()
            self.phase = Phase.AIMING
            await self._keep(self.estimator.start_in(began, self._chance.random()))
            played = await self._begin_round()
            await self._until_silent(played)
            await asyncio.sleep(self.estimator.restore_in(self._clock(), self._chance.random()))
            self.phase = Phase.RESTORING
            await self._calls.heartbeat(played)
            resumed = await self._until_resumed(played)
            if resumed is not None:
                self.phase = Phase.SETTLING
                await self._settle(played, resumed)
            self._round = None
            self._closings.clear()
            self._missing += played.missing
            self.estimator.add(played, self._clock() - began)
            self._tell()
            if resumed is None:
                return

    async def _first_event(self) -> None:
        """Keep the stream going until it brings an event."""
        self.phase = Phase.LISTENING
        opened_at, count = self._clock(), self._sight.count
        ask_at = opened_at + UNHEARD_SECONDS
        while self._sight.count == count:
            await self._calls.heartbeat()
            await self._sight.more(KEEP_SECONDS)
            now = self._clock()
            if now < ask_at:
                continue
            ask_at = now + UNHEARD_SECONDS
            unheard = await self._calls.look(opened_at + KEEP_SECONDS, now - self._sight.patience)
            if len(unheard) >= UNHEARD_EVENTS and not self._sight.count:
                raise OverError(
                    Ending.NOT_STREAMED,
                    f"the query shows events of the last {now - opened_at:.0f} s, the stream brought none",
                    "use a credential of a user who may tail it; whether an account token may is unknown",
                )

    async def _begin_round(self) -> Round:
        """Send the heartbeat that is the last one for now."""
        beat = await self._calls.heartbeat()
        self._round, self.phase = Round(beat, self._sight.last_date), Phase.WATCHING
        return self._round

    async def _until_silent(self, watched: Round) -> None:
        """Send no heartbeat until an event is certainly missing."""
        pause, looked_at, heard = LOOK_SECONDS, -inf, self._sight.count
        while not self._is_missing(watched.first_missing):
            if heard != self._sight.count:
                heard, pause = self._sight.count, LOOK_SECONDS
            now, quiet_at = self._clock(), self._quiet_at(watched)
            due_at = max(quiet_at, looked_at + pause)
            if now < due_at:
                await self._sight.more(due_at - now)
                continue
            looked_at = now
            shown = await self._calls.look(watched.last, self._sight.date(now))
            watched.show(shown)
            self.estimator.traffic.note(shown)
            if watched.first_missing is None:
                pause = min(LOOK_MOST_SECONDS, pause * 1.25)
            if not shown and now - quiet_at >= STORED_SECONDS:
                await self._find_stored()

    def _is_missing(self, date: float | None) -> bool:
        return date is not None and self._sight.date(self._clock()) - date >= self._sight.patience

    def _quiet_at(self, watched: Round) -> float:
        """From when on the stream is silent for longer than it usually is between two events."""
        last_at = max(watched.beat.answered_at, self._sight.last_at or 0.0)
        gap = self.estimator.traffic.gap or 0.0
        return last_at + max(LOOK_SECONDS, 1.2 * gap + 1)

    async def _find_stored(self) -> None:
        first = self._sight.first_date
        if first is not None and not await self._calls.look(first, self._sight.last_date):
            raise OverError(
                Ending.NOT_STORED,
                "the query shows none of the events that the stream brought, so a silence cannot be told from"
                " a lack of traffic",
                "turn on Workers Logs in the Worker's configuration: [observability] enabled = true",
            )

    async def _until_resumed(self, silent: Round) -> float | None:
        """Keep the stream going until it brings an event again, and give its date.

        None where it stays silent although the archive shows new events.
        """
        restored_at = self._clock()
        look_at = restored_at + SETTLE_SECONDS
        while silent.resumed is None:
            await self._sight.more(KEEP_SECONDS)
            await self._calls.heartbeat()
            now = self._clock()
            if now < look_at or silent.resumed is not None:
                continue
            look_at = now + SETTLE_SECONDS
            begin, end = (self._sight.date(at) for at in (restored_at, now - self._sight.patience))
            if begin < end and len(await self._calls.look(begin, end)) >= UNHEARD_EVENTS:
                break
        return silent.resumed

    async def _settle(self, silent: Round, resumed: float) -> None:
        """Learn what was logged between the silence and the event that ended it."""
        until = self._clock() + SETTLE_SECONDS
        while self._clock() < until:
            shown = await self._calls.look(silent.last, resumed)
            silent.show(shown)
            self.estimator.traffic.note(shown)
            if resumed in shown:
                return
            await self._calls.heartbeat()
            await asyncio.sleep(LOOK_SECONDS)

    async def _keep(self, seconds: float) -> None:
        """Let time pass, and nothing lapse."""
        until = self._clock() + seconds
        while self._clock() < until:
            await self._calls.heartbeat()
            await asyncio.sleep(min(max(0.0, until - self._clock()), KEEP_SECONDS))

    # --- what is told ------------------------------------------------------------------------

    def _unsettled(self) -> Result:
        """Say why the time was not enough."""
        estimate, heard = self.estimator.estimate, self._sight
        if self._calls.trouble:
            return self.result(Ending.FAILED, self._calls.trouble)
        if self.phase is Phase.OPENING:
            detail = "no live tail was open when the time was up"
            return self.result(Ending.FAILED, detail, "look at the network, or raise --for")
        contradicting = estimate.rounds > LEAST_ROUNDS and not estimate.consistent
        if contradicting or (estimate.rounds and estimate.error <= self.estimator.error):
            detail = f"only {estimate.agreeing} of {estimate.rounds} rounds agree"
            return self.result(
                Ending.INCONSISTENT,
                detail,
                "events get lost, the window differs from time to time, or somebody else sends heartbeats for"
                " this user now and then; try again",
            )
        went_on = (heard.last_at or 0.0) - self._round.beat.sent_at if self._round else 0.0
        if self.phase is Phase.WATCHING and went_on >= LONG_SECONDS:
            detail = f"events went on for {went_on:.0f} s after the last heartbeat"
            return self.result(
                Ending.NEVER_SILENT,
                detail,
                "end whatever else sends heartbeats for this user: Cloudflare's dashboard, another keepalive",
            )
        detail = f"{heard.count:,} events came in {self._clock() - self._began:.0f} s"
        plenty = (self.estimator.traffic.gap or inf) <= PLENTY_SECONDS
        hint = "raise --for" if plenty else "send the Worker a request a second meanwhile, or raise --for"
        return self.result(Ending.TOO_LITTLE_TRAFFIC, detail, hint)
