"""A beat: one heartbeat of one target, from its first attempt until it is accepted or given up."""

from __future__ import annotations

from operator import not_
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_never

from keepalive.core.outcome import Order
from keepalive.core.target import Target


class Desk(Protocol):
    """What a beat needs: somebody who carries out orders and hands over the next one."""

    async def carry_out(self, order: Order) -> bool:
        """Send one attempt and settle it; True when this beat has nothing more to do."""
        ...

    def due_in(self, target: Target) -> float:
        """Seconds until the group means to try `target` again."""
        ...

    async def next_order(self, target: Target) -> Order | None:
        """Wait for the group's next order for `target`; None when there will be none."""
        ...

    def ended(self) -> None:
        """The beat is over, however it ended."""
        ...


class Beat:
    """One heartbeat of one target.

    The first attempt is plain, so that a healthy beat does not pay for retries. When it fails in passing,
    tenacity replays it: the group says whether and when, and each retry waits for an order of its own, so
    that it holds no slot and obeys order of urgency, budget and breakers like every first attempt.
    """

    __slots__ = ("_desk", "_order", "_target")

    def __init__(self, order: Order, desk: Desk) -> None:
        self._order: Order | None = order
        self._target = order.target
        self._desk = desk

    async def run(self) -> None:
        """Beat until the target is renewed, or there is no more reason to go on."""
        try:
            if not await self._attempt():
                await self._insist()
        finally:
            self._desk.ended()

    async def _insist(self) -> None:
        await self._queue(self._desk.due_in(self._target))
        # One instance per failing beat: its state lives on the instance (jd/tenacity#93).
        retrying = AsyncRetrying(
            retry=retry_if_result(not_), wait=self._wait, sleep=self._queue, stop=stop_never
        )
        await retrying(self._attempt)

    async def _attempt(self) -> bool:
        order, self._order = self._order, None
        return order is None or await self._desk.carry_out(order)

    def _wait(self, _state: RetryCallState) -> float:
        return self._desk.due_in(self._target)

    async def _queue(self, _seconds: float) -> None:
        self._order = await self._desk.next_order(self._target)
