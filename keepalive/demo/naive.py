"""The naive loop: what a hand-written script does, played for real beside keepalive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

from aiohttp import ClientError, ClientSession, ClientTimeout

from keepalive.emulator import Place


class NaiveLoop:
    """A `setInterval` for each target: a request every interval whatever became of the last; no retry.

    The targets begin one after the other, evenly over an interval, so that every fault meets its fair part
    of them. Like `fetch`, a request waits for its answer without end, and holds up no other.

    Attributes:
        interval: Seconds between two requests for one target.
        attempts: Requests sent.
        errors: What a script would have printed: requests that failed or were not answered 200.
    """

    def __init__(self, base_url: str, token: str, places: Sequence[Place], interval: float) -> None:
        """Make it ready; `interval` is in real seconds."""
        self.attempts = 0
        self.errors = 0
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._places = places
        self.interval = interval

    async def run(self) -> None:
        """Beat until cancelled."""
        loop = asyncio.get_running_loop()
        began, gap = loop.time(), self.interval / len(self._places)
        timeout = ClientTimeout(total=None)
        async with (
            ClientSession(headers=self._headers, timeout=timeout) as http,
            asyncio.TaskGroup() as tasks,
        ):
            for tick in count():
                await asyncio.sleep(began + tick * gap - loop.time())
                place = self._places[tick % len(self._places)]
                tasks.create_task(self._beat(http, place), name=f"naive {place.script_id}")

    async def _beat(self, http: ClientSession, place: Place) -> None:
        telemetry = f"{self._base_url}/accounts/{place.account_id}/workers/observability/telemetry"
        body = {"scriptId": place.script_id} if place.script_id else {}
        self.attempts += 1
        try:
            async with http.post(f"{telemetry}/live-tail/heartbeat", json=body) as response:
                await response.read()
                self.errors += response.status != 200
        except ClientError:
            self.errors += 1
