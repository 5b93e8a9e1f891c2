"""A model of Cloudflare for tails in virtual time: it kills, goes silent, reorders, repeats and lags."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from zlib import crc32

from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Denied, Fault, Throttled, Transient
from keepalive.core.target import Target
from keepalive.core.telemetry import Event, Page, Prepared, Question, Wanted
from keepalive.livetail.ports import Ended
from keepalive.livetail.record import Changed, Gap, Record, State
from keepalive.livetail.stream import Stream

BEGAN_MS = 1_700_000_000_000
TARGET = Target("default", "a" * 32, "api")


@dataclass
class World:
    """What the model plays.

    Attributes:
        rate: Events a second.
        lag: Seconds until an event is indexed; each has up to a tenth more of its own.
        latency: Seconds until an event is streamed; each has up to as much again, which reorders them.
        repeats: The chance that an event is streamed twice.
        stored: False where the archive holds nothing.
        ahead: Seconds by which the tail's wall clock is ahead.
        quiet: Spans in which nothing is logged.
        revoked: Spans in which nothing is streamed, and the keeper does not know.
        lapsed: The same, and the keeper knows.
        silent_archive: Spans in which queries fail.
        closed: Spans in which sessions cannot be prepared.
        denies: Answers each query instead, when set.
    """

    rate: float = 20.0
    lag: float = 3.0
    latency: float = 0.1
    repeats: float = 0.02
    stored: bool = True
    ahead: float = 0.0
    seed: int = 0
    quiet: list[tuple[float, float]] = field(default_factory=list)
    revoked: list[tuple[float, float]] = field(default_factory=list)
    lapsed: list[tuple[float, float]] = field(default_factory=list)
    silent_archive: list[tuple[float, float]] = field(default_factory=list)
    closed: list[tuple[float, float]] = field(default_factory=list)
    denies: Denied | None = None


def _within(spans: Sequence[tuple[float, float]], at: float) -> bool:
    return any(begin <= at < end for begin, end in spans)


class ModelConnection:
    """One stream of the model's."""

    def __init__(self, model: Model) -> None:
        self._loop = asyncio.get_running_loop()
        self.up_at = self.heard_at = self._loop.time()
        self.ended = asyncio.Event()
        self.cause = "closed"
        self.dead = False
        self._model = model
        self._into: Callable[[Sequence[Event]], None] | None = None
        self.bring_junk: Callable[[], None] = lambda: None

    def bring(self, event: Event) -> None:
        if self._into is not None and not self.dead and not self.ended.is_set():
            self.heard_at = self._loop.time()
            self._into((event,))

    async def pour(
        self, into: Callable[[Sequence[Event]], None], *, unread: Callable[[], None] = lambda: None
    ) -> Ended:
        self._into, self.bring_junk = into, unread
        while not self.ended.is_set():
            try:
                async with asyncio.timeout(4.0):
                    await self.ended.wait()
            except TimeoutError:
                if not self.dead:
                    self.heard_at = max(self.heard_at, self._loop.time() - 1.0)  # an answered ping
                elif self._loop.time() > self.heard_at + 18:
                    self.cause = "silent"
                    self.ended.set()
        self._model.open.discard(self)
        return Ended(self.cause)

    async def answers(self) -> bool:
        await asyncio.sleep(0.05)
        if self.dead:
            await self.ended.wait()
        self.heard_at = self._loop.time()
        return not self.ended.is_set()

    async def close(self) -> None:
        self.ended.set()


class Model:
    """The far side, the keeper and the opener of connections in one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.logged: list[Event] = []
        self.records: list[Record] = []
        self.at: list[float] = []
        self.open: set[ModelConnection] = set()
        self.queries = 0
        self.prepared: list[float] = []
        self.outcomes: list[Throttled | Denied | Transient] = []
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._chance = Random(world.seed)
        self._news = asyncio.Event()

    @property
    def now(self) -> float:
        return self._loop.time() - self._began

    def deliver(self, record: Record) -> None:
        self.records.append(record)
        self.at.append(self.now)

    def wall_clock(self) -> float:
        return BEGAN_MS / 1000 + self.now + self.world.ahead

    async def log(self, seconds: float) -> None:
        """Log events for so long."""
        world = self.world
        number = 0
        while self.now < seconds:
            await asyncio.sleep(1 / world.rate)
            if _within(world.quiet, self.now):
                continue
            number += 1
            date = BEGAN_MS + int(self.now * 1000)
            event_id = f"{date:014d}-{number:06d}"
            body = {"timestamp": date, "number": number, "$metadata": {"id": event_id}}
            event = Event(json.dumps(body), event_id, date, "api")
            self.logged.append(event)
            if not _within(world.revoked, self.now) and not _within(world.lapsed, self.now):
                for connection in self.open:
                    for _ in range(1 + (self._chance.random() < world.repeats)):
                        delay = world.latency * (1 + self._chance.random())
                        self._loop.call_later(delay, connection.bring, event)

    @property
    def states(self) -> list[State]:
        return [record.state for record in self.records if isinstance(record, Changed)]

    @property
    def gaps(self) -> list[Gap]:
        return [record for record in self.records if isinstance(record, Gap)]

    @property
    def told(self) -> list[Event]:
        return [record for record in self.records if isinstance(record, Event)]

    async def until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self.now))

    def kill(self, *, half_open: bool = False) -> None:
        """Break every connection; half-open ones only bring nothing any more."""
        for connection in tuple(self.open):
            connection.dead = True
            if not half_open:
                connection.ended.set()

    async def prepare(
        self, target: Target, wanted: Wanted, *, timeout: float
    ) -> Prepared | Throttled | Denied | Transient:
        await asyncio.sleep(0.05)
        self.prepared.append(self.now)
        if _within(self.world.closed, self.now):
            return Transient(Fault("connect"))
        return self.outcomes.pop(0) if self.outcomes else Prepared("wss://example.com/secret")

    async def connect(self, prepared: Prepared, *, timeout: float) -> ModelConnection | Fault:
        await asyncio.sleep(0.05)
        connection = ModelConnection(self)
        self.open.add(connection)
        return connection

    async def query(
        self, target: Target, question: Question, *, timeout: float
    ) -> Page | Throttled | Denied | Transient:
        await asyncio.sleep(0.1)
        self.queries += 1
        if self.world.denies is not None:
            return self.world.denies
        if _within(self.world.silent_archive, self.now):
            return Transient(Fault("http_503"))
        now_ms = BEGAN_MS + self.now * 1000
        found = [
            event
            for event in (reversed(self.logged) if self.world.stored else ())
            if question.begin <= event.timestamp <= question.end
            and event.timestamp + self._lag_ms(event) <= now_ms
            and (question.offset is None or event.event_id < question.offset)
        ]
        return Page(tuple(found[: question.limit]))

    def _lag_ms(self, event: Event) -> float:
        return self.world.lag * 1000 * (1 + crc32(event.event_id.encode()) / 2**32 / 10)

    def state(self, target: Target) -> Eligibility:
        return Eligibility.LAPSED if _within(self.world.lapsed, self.now) else Eligibility.ELIGIBLE

    async def changed(self) -> None:
        edges = [edge for span in self.world.lapsed for edge in span if edge > self.now]
        await (asyncio.sleep(min(edges) - self.now + 0.02) if edges else asyncio.Event().wait())

    async def permit(self, credential: str) -> None:
        await asyncio.sleep(0.01)


@asynccontextmanager
async def tailing(far: World | Model, *, since: float | None = None) -> AsyncIterator[Model]:
    """Let a stream tail a model: one that is there, or a new one in which nothing is logged yet."""
    model = Model(far) if isinstance(far, World) else far
    world = model.world
    stream = Stream(
        TARGET,
        Wanted(),
        model.deliver,
        api=model,
        keeper=model,
        connect=model.connect,
        wall_clock=model.wall_clock,
        chance=Random(world.seed),
    )
    since_ms = None if since is None else BEGAN_MS + int(since * 1000)
    running = asyncio.create_task(stream.run(since_ms))
    try:
        yield model
    finally:
        running.cancel()
        await asyncio.wait((running,))


@dataclass(frozen=True)
class Account:
    """What became of the events that were logged between two moments."""

    missing: list[str]
    repeated: list[str]
    inside_gaps: int
    disorder_ms: int

    @property
    def faithful(self) -> bool:
        return not (self.missing or self.repeated)


def account(model: Model, begin: float, end: float) -> Account:
    """Hold the records against what was logged from `begin` to `end`, in seconds since the model's start."""
    told = [record for record in model.records if isinstance(record, Event)]
    gaps = [record for record in model.records if isinstance(record, Gap)]
    ids = [event.event_id for event in told]
    span = (BEGAN_MS + begin * 1000, BEGAN_MS + end * 1000)
    expected = [event for event in model.logged if span[0] <= event.timestamp <= span[1]]
    counted = Counter(ids)
    lost = [event for event in expected if event.event_id not in counted]
    uncovered = [
        event for event in lost if not any(gap.from_ms <= event.timestamp <= gap.to_ms for gap in gaps)
    ]
    disorder = latest = 0
    for event in told:
        latest = max(latest, event.timestamp)
        disorder = max(disorder, latest - event.timestamp)
    return Account(
        missing=[event.event_id for event in uncovered],
        repeated=sorted(each for each, times in counted.items() if times > 1),
        inside_gaps=len(lost) - len(uncovered),
        disorder_ms=disorder,
    )
