"""Fakes of the engine's ports for a virtual loop (the `looptime` marker): time passes without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from keepalive.core.events import Event
from keepalive.core.outcome import Accepted, Fault, Outcome, Transient
from keepalive.core.target import Target
from keepalive.engine.clock import wait


class LoopClock:
    """The loop's own time, which looptime moves."""

    def __init__(self) -> None:
        self.suspended = 0.0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def wait(self, wake: asyncio.Event, until: float) -> float:
        await wait(wake, until - self.now())
        slept, self.suspended = self.suspended, 0.0
        return slept


@dataclass
class Sent:
    target: Target
    at: float


Answer = Callable[[Target, float], Awaitable[Outcome]]


async def accept(target: Target, timeout: float) -> Outcome:
    await asyncio.sleep(0.05)
    return Accepted()


async def hang(target: Target, timeout: float) -> Outcome:
    await asyncio.sleep(timeout)
    return Transient(Fault("timeout"), hung=True)


async def refuse(target: Target, timeout: float) -> Outcome:
    await asyncio.sleep(0.001)
    return Transient(Fault("connect"))


@dataclass
class FakeClient:
    """Answers as `answer` says, and remembers what was sent."""

    answer: Answer = accept
    sent: list[Sent] = field(default_factory=list)
    drops: int = 0

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        self.sent.append(Sent(target, asyncio.get_running_loop().time()))
        return await self.answer(target, timeout)

    async def drop_connections(self) -> None:
        self.drops += 1

    def times(self, target: Target) -> list[float]:
        return [sent.at for sent in self.sent if sent.target == target]


@dataclass
class Recorder:
    """A sink that keeps what it is told."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]
