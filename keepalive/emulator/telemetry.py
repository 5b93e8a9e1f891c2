"""Telemetry: the events that the emulated scripts log. A function of time: nothing is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil, floor
from typing import NamedTuple
from zlib import crc32

from keepalive.emulator.bodies import QueryBody
from keepalive.emulator.reply import Json


class Event(NamedTuple):
    """One event.

    Attributes:
        event_id: Its `$metadata.id`. Ids sort by time, so that one serves as the cursor of a query.
        timestamp: When it was logged, in milliseconds of Unix time.
        body: The event as it is sent.
    """

    event_id: str
    timestamp: int
    body: Json


class Telemetry:
    """Every script logs `rate` events a second: number n falls due n / `rate` seconds after `began_ms`."""

    def __init__(self, rate: float, began_ms: int) -> None:
        self._rate = rate
        self._began_ms = began_ms

    def due_ms(self, number: int) -> float:
        """When event `number` of each script is logged, in milliseconds of Unix time."""
        return self._began_ms + number * 1000 / self._rate if self._rate else float("inf")

    def next_number(self, now_ms: float) -> int:
        """The first event that is still to come."""
        return floor((now_ms - self._began_ms) / 1000 * self._rate) + 1

    def event(self, account_id: str, script_id: str, number: int) -> Event:
        """Event `number` of a script: every tenth is an exception, every third a plain line of text."""
        timestamp = floor(self.due_ms(number))
        failed = number % 10 == 9
        level, message = ("error", f"request {number} failed") if failed else ("info", f"request {number}")
        event_id = f"{timestamp:012x}{number:06x}{crc32(f'{account_id}/{script_id}'.encode()):08x}"
        return Event(
            event_id,
            timestamp,
            {
                "dataset": "cloudflare-workers",
                "timestamp": timestamp,
                "source": message if number % 3 == 2 else {"level": level, "message": message},
                "$workers": {
                    "scriptName": script_id,
                    "eventType": "fetch",
                    "outcome": "exception" if failed else "ok",
                    "requestId": f"{event_id[-16:].upper()}",
                    "cpuTimeMs": 1 + number % 7,
                    "wallTimeMs": 5 + number % 40,
                    "event": {"request": {"method": "GET", "path": f"/{number}"}},
                },
                "$metadata": {
                    "id": event_id,
                    "service": script_id,
                    "trigger": f"GET /{number}",
                    "origin": "fetch",
                    "type": "cf-worker",
                    "level": level,
                    "message": message,
                    **({"error": message} if failed else {}),
                },
            },
        )

    def query(
        self, account_id: str, scripts: Iterable[str], asked: QueryBody, indexed_ms: int
    ) -> list[Event]:
        """Find logged events, newest first.

        Which way Cloudflare sorts is not documented; newest first is what its dashboard shows. From the
        event that `offset` names, `next` pages towards older ones and `prev` towards newer ones.

        Args:
            account_id: Whose events.
            scripts: Which scripts of the account log at all.
            asked: What is looked for.
            indexed_ms: Up to which moment events are indexed, in milliseconds of Unix time.
        """
        offset, newer = asked.offset, asked.direction == "prev"
        end_ms = min(asked.timeframe.end, indexed_ms)
        found = (
            event
            for event in self._newest_first(account_id, scripts, asked.timeframe.begin, end_ms)
            if (offset is None or (event.event_id > offset if newer else event.event_id < offset))
            and asked.parameters.matches(event.body)
        )
        if newer and offset is not None:
            return list(found)[-asked.limit :]
        return list(islice(found, asked.limit))

    def _newest_first(
        self, account_id: str, scripts: Iterable[str], begin_ms: int, end_ms: int
    ) -> Iterator[Event]:
        if not self._rate:
            return
        first = max(1, ceil((begin_ms - self._began_ms) / 1000 * self._rate))
        last = floor((end_ms - self._began_ms + 1) / 1000 * self._rate)
        for number in range(last, first - 1, -1):
            events = [self.event(account_id, script, number) for script in scripts]
            yield from sorted((one for one in events if begin_ms <= one.timestamp <= end_ms), reverse=True)
