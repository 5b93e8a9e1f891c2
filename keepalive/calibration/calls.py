"""The calls of a measurement: each waits for the quota, and is repeated while it fails in passing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from keepalive.calibration.archive import Archive
from keepalive.calibration.ports import Api, Connect, Connection, Permit
from keepalive.calibration.result import Ending, OverError
from keepalive.calibration.round import Beat, Round
from keepalive.core.outcome import Accepted, Denied, Fault, Throttled, Transient
from keepalive.core.target import Target
from keepalive.core.telemetry import Prepared, Wanted

TIMEOUT_SECONDS = 5.0
OPEN_SECONDS = 10.0

PAUSE_SECONDS = 2.0
THROTTLED_SECONDS = 60.0
"""Until the next try: after a passing fault, and after a 429 that names no time."""

DENIALS = 3
"""A refusal is believed once it was repeated so often."""

_HEARTBEATS, _QUERIES, _SESSIONS, _STREAMS = "heartbeats", "queries", "live tails", "streams"


class Calls:
    """Sends what a measurement asks for, and knows what fails.

    Args:
        target: Whom they speak for.
        api: Sends heartbeats, prepares sessions and answers for the past.
        connect: Opens streams.
        permit: Lends calls of the quota.
        clock: Seconds.
        tell: Called when something begins to fail.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a test plays
        self,
        target: Target,
        *,
        api: Api,
        connect: Connect,
        permit: Permit,
        clock: Callable[[], float],
        tell: Callable[[], None],
    ) -> None:
        self._target = target
        self._api = api
        self._connect = connect
        self._permit = permit
        self._clock = clock
        self._tell = tell
        self._archive = Archive(target, api, permit)
        self._troubles: dict[str, str] = {}
        self._denials: dict[str, int] = {}

    @property
    def trouble(self) -> str:
        """What began to fail last and still does, in one line, or nothing."""
        return next(reversed(self._troubles.values()), "")

    async def heartbeat(self, silent: Round | None = None) -> Beat:
        """Send a heartbeat until one is accepted.

        Args:
            silent: The round whose silence it ends.

        Raises:
            OverError: They are refused.
        """
        while True:
            await self._permit()
            sent_at = self._clock()
            if silent is not None:
                silent.restore(sent_at)
            outcome = await self._api.heartbeat(self._target, timeout=TIMEOUT_SECONDS)
            if isinstance(outcome, Accepted):
                beat = Beat(sent_at, self._clock())
                if silent is not None:
                    silent.accept(beat.answered_at)
                self._well(_HEARTBEATS)
                return beat
            await self._bear(_HEARTBEATS, outcome)

    async def look(self, begin: float, end: float) -> list[float]:
        """Look up when events were logged, as `Archive.look` does, until it answers.

        Raises:
            OverError: Queries are refused.
        """
        while True:
            found = await self._archive.look(begin, end)
            if isinstance(found, list):
                self._well(_QUERIES)
                return found
            await self._bear(_QUERIES, found)

    async def open(self) -> Connection:
        """Open a stream.

        Raises:
            OverError: It is refused.
        """
        while True:
            await self._permit()
            prepared = await self._api.prepare(self._target, Wanted(), timeout=OPEN_SECONDS)
            if not isinstance(prepared, Prepared):
                await self._bear(_SESSIONS, prepared)
                continue
            self._well(_SESSIONS)
            connection = await self._connect(prepared, timeout=OPEN_SECONDS)
            if not isinstance(connection, Fault):
                self._well(_STREAMS)
                return connection
            await self._bear(_STREAMS, Transient(connection))

    async def lost(self) -> None:
        """A stream ended: say so, and wait a little before the next one."""
        await self._bear(_STREAMS, Transient(Fault("closed", "the stream was closed; opening another")))

    def _well(self, what: str) -> None:
        self._troubles.pop(what, None)
        self._denials.pop(what, None)

    async def _bear(self, what: str, outcome: Throttled | Denied | Transient) -> None:
        """Tell what fails, and wait until it makes sense to try again."""
        fault = outcome.fault
        self._denials[what] = self._denials.get(what, 0) + isinstance(outcome, Denied)
        if self._denials[what] >= DENIALS:
            raise OverError(Ending.FAILED, f"{what} are refused: {fault.detail or fault.cause}", fault.hint)
        trouble = f"{what}: {fault.detail or fault.cause}" + (f"; {fault.hint}" if fault.hint else "")
        if self._troubles.get(what) != trouble:
            self._troubles.pop(what, None)
            self._troubles[what] = trouble
            self._tell()
        if isinstance(outcome, Throttled):
            await asyncio.sleep(outcome.retry_after or THROTTLED_SECONDS)
        else:
            await asyncio.sleep(PAUSE_SECONDS)
