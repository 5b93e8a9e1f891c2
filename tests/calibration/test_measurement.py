"""Measurements of a local Cloudflare whose window they are not told, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from math import inf
from random import Random

import pytest
from pydantic import SecretStr

from keepalive.calibration.measurement import Measurement, Phase
from keepalive.calibration.ports import Connect, Undisturbed
from keepalive.calibration.result import Ending, Result
from keepalive.calibration.round import Beat, Round
from keepalive.cloudflare.auth import ApiToken
from keepalive.cloudflare.client import CloudflareClient
from keepalive.core.outcome import Accepted
from keepalive.core.outcome import Fault as Failure
from keepalive.core.target import Target
from keepalive.core.telemetry import Event, Prepared
from keepalive.emulator import Emulator, Fault, FaultKind, Route, World
from keepalive.livetail.connection import Opener
from keepalive.livetail.ports import Connection, Ended
from tests.support.emulated import ACCOUNT_ID, TOKEN

pytestmark = pytest.mark.looptime

TARGET = Target("prod", ACCOUNT_ID, "api")
MINUTE = 60.0
LONG = 30 * MINUTE


class Bench:
    """A measurement, and what it measures."""

    def __init__(self, emulator: Emulator, client: CloudflareClient, connect: Opener) -> None:
        self.emulator = emulator
        self.client = client
        self.connect: Connect = connect
        self.rivals: Undisturbed = alone
        self.permits = self.tells = 0
        self.chance = Random(1)
        self.error = 1.0

    def now(self) -> float:
        return 1_700_000_000.0 + asyncio.get_running_loop().time()

    def measurement(self) -> Measurement:
        return Measurement(
            TARGET,
            api=self.client,
            connect=self.connect,
            permit=self._permit,
            undisturbed=self.rivals,
            clock=self.now,
            error=self.error,
            tell=self._tell,
            chance=self.chance,
        )

    async def measure(self, seconds: float = LONG) -> Result:
        return await self.measurement().run(seconds)

    async def _permit(self) -> None:
        self.permits += 1

    def _tell(self) -> None:
        self.tells += 1


async def alone() -> str:
    return ""


def worker(window: float, events_per_second: float = 1.0, indexing_lag: float = 5.0) -> World:
    world = replace(World.simple(window=window), events_per_second=events_per_second)
    return replace(world, indexing_lag=indexing_lag)


@asynccontextmanager
async def bench(
    world: World, *faults: Fault, ahead: float = 0.0, seed: int = 0, token: str = TOKEN
) -> AsyncIterator[Bench]:
    """A bench whose Cloudflare has a clock that is ahead of ours."""
    began = asyncio.get_running_loop().time()

    def wall_clock() -> float:
        return 1_700_000_000.0 + began + ahead

    async with (
        Emulator(world, faults=faults, wall_clock=wall_clock, seed=seed) as emulator,
        CloudflareClient({"prod": ApiToken(SecretStr(token))}, base_url=emulator.base_url) as client,
        Opener() as connect,
    ):
        yield Bench(emulator, client, connect)


async def measured(
    world: World, *faults: Fault, seconds: float = LONG, ahead: float = 0.0, seed: int = 0
) -> Result:
    async with bench(world, *faults, ahead=ahead, seed=seed) as stage:
        return await stage.measure(seconds)


def assert_found(result: Result, window: float, off: float = 1.0) -> None:
    assert result.ending is Ending.MEASURED
    assert result.estimate.window == pytest.approx(window, abs=off)
    assert result.estimate.error <= off
    assert result.estimate.at_least - 0.001 <= window <= result.estimate.at_most + 0.001


@pytest.mark.parametrize("window", [5.0, 12.34, 30.0, 45.0, 61.7, 90.0, 120.0])
async def test_with_an_event_a_second_the_window_is_found_to_a_second(window: float) -> None:
    result = await measured(worker(window))
    assert_found(result, window)
    assert result.seconds < 4 * window + MINUTE


@pytest.mark.parametrize(
    ("events_per_second", "minutes"), [(0.05, 12), (0.2, 6), (3.0, 4)], ids=["0.05/s", "0.2/s", "3/s"]
)
async def test_with_less_traffic_it_takes_more_rounds(events_per_second: float, minutes: float) -> None:
    result = await measured(worker(45.0, events_per_second))
    assert_found(result, 45.0)
    assert result.seconds < minutes * MINUTE


async def test_events_may_be_further_apart_than_the_window_is_long() -> None:
    assert_found(await measured(worker(5.0, 0.05)), 5.0)


async def test_more_traffic_than_a_page_of_the_query_holds_makes_it_exact() -> None:
    assert_found(await measured(worker(6.0, 60.0)), 6.0, off=0.2)


@pytest.mark.parametrize("lag", [0.0, 20.0, 70.0])
async def test_it_does_not_matter_how_long_indexing_takes(lag: float) -> None:
    assert_found(await measured(worker(20.0, indexing_lag=lag)), 20.0)


@pytest.mark.parametrize("ahead", [-3600.0, -2.5, 0.7, 3600.0])
async def test_a_clock_that_is_wrong_does_not_matter(ahead: float) -> None:
    assert_found(await measured(worker(20.0), ahead=ahead), 20.0)


@pytest.mark.parametrize("seed", range(4))
async def test_lost_events_do_not_spoil_it(seed: int) -> None:
    lossy = Fault(kind=FaultKind.SILENCE, probability=0.05)
    assert_found(await measured(worker(30.0), lossy, seed=seed), 30.0)


async def test_passing_faults_only_cost_time() -> None:
    faults = (
        Fault(kind=FaultKind.STATUS, status=503, probability=0.1),
        Fault(kind=FaultKind.RESET, probability=0.05),
        Fault(kind=FaultKind.STATUS, status=429, retry_after=5, count=1, after=40),
    )
    assert_found(await measured(worker(30.0), *faults), 30.0)


async def test_a_stream_that_breaks_is_opened_again() -> None:
    faults = (
        Fault(kind=FaultKind.OUTAGE, after=20, until=25),
        Fault(kind=FaultKind.CLOSE, after=80, count=1),
    )
    async with bench(worker(20.0), *faults) as stage:
        assert_found(await stage.measure(), 20.0)
        opened = [arrival for arrival in stage.emulator.requests if arrival.route is Route.STREAM]
        assert len([arrival for arrival in opened if arrival.status == 101]) == 3


async def test_every_call_is_lent_by_the_quota() -> None:
    async with bench(worker(10.0)) as stage:
        await stage.measure()
        calls = [arrival for arrival in stage.emulator.requests if arrival.route is not Route.STREAM]
        assert stage.permits == len(calls)
        assert {arrival.route for arrival in calls} == {Route.PREPARE, Route.HEARTBEAT, Route.QUERY}


@pytest.mark.parametrize("window", [4.0, 30.0])
async def test_it_lets_nothing_lapse_but_once_in_each_round(window: float) -> None:
    async with bench(worker(window)) as stage:
        result = await stage.measure()
        (tally,) = stage.emulator.tallies().values()
        assert tally.lapses == result.estimate.rounds


async def test_a_worker_without_traffic_is_named_and_needs_some() -> None:
    result = await measured(worker(30.0, 0.0), seconds=5 * MINUTE)
    assert result.ending is Ending.TOO_LITTLE_TRAFFIC
    assert result.detail == "0 events came in 300 s"
    assert result.more_seconds is None
    assert result.estimate.at_most == inf


async def test_a_time_that_is_too_short_for_any_traffic_blames_no_traffic() -> None:
    result = await measured(worker(30.0, 1.0), seconds=20)
    assert result.ending is Ending.TOO_LITTLE_TRAFFIC
    assert result.hint == "raise --for"


async def test_a_cloudflare_that_never_answers_is_not_taken_for_a_worker_without_traffic() -> None:
    result = await measured(worker(30.0), Fault(kind=FaultKind.HANG), seconds=3)
    assert (result.ending, result.detail) == (
        Ending.FAILED,
        "no live tail was open when the time was up",
    )


async def test_too_little_traffic_is_told_with_how_much_longer_it_takes() -> None:
    result = await measured(worker(45.0, 0.05), seconds=5 * MINUTE)
    assert result.ending is Ending.TOO_LITTLE_TRAFFIC
    assert result.estimate.at_least < 45.0 <= result.estimate.at_most + 0.001
    assert result.more_seconds is not None
    whole = await measured(worker(45.0, 0.05))
    assert result.seconds + result.more_seconds == pytest.approx(whole.seconds, rel=0.5)


async def test_events_that_are_not_stored_are_named() -> None:
    result = await measured(worker(30.0, indexing_lag=1e6))
    assert result.ending is Ending.NOT_STORED
    assert "[observability]" in result.hint


async def test_a_stream_that_brings_nothing_is_named() -> None:
    result = await measured(worker(30.0), Fault(kind=FaultKind.SILENCE))
    assert result.ending is Ending.NOT_STREAMED


async def test_somebody_elses_heartbeats_are_suspected_where_events_never_stop() -> None:
    async with bench(worker(30.0)) as stage:

        async def beat() -> None:
            while True:
                assert isinstance(await stage.client.heartbeat(TARGET, timeout=5), Accepted)
                await asyncio.sleep(15)

        beating = asyncio.create_task(beat())
        result = await stage.measure(10 * MINUTE)
        beating.cancel()
        await asyncio.wait([beating])
    assert result.ending is Ending.NEVER_SILENT
    assert "dashboard" in result.hint


@pytest.mark.parametrize("every", [65.0, 90.0])
async def test_heartbeats_of_somebody_else_like_a_clock_make_no_window_longer(every: float) -> None:
    async with bench(worker(45.0)) as stage:

        async def beat() -> None:
            while True:
                await asyncio.sleep(every)
                assert isinstance(await stage.client.heartbeat(TARGET, timeout=5), Accepted)

        beating = asyncio.create_task(beat())
        result = await stage.measure(15 * MINUTE)
        beating.cancel()
        await asyncio.wait([beating])
    if result.ending is Ending.MEASURED:
        assert_found(result, 45.0)
    else:
        assert result.ending is Ending.INCONSISTENT
        assert "somebody else" in result.hint


async def test_a_rival_that_appears_ends_it() -> None:
    async with bench(worker(20.0)) as stage:
        looks = iter(["", "", "a daemon has begun"])

        async def look() -> str:
            return next(looks)

        stage.rivals = look
        result = await stage.measure()
    assert (result.ending, result.detail) == (Ending.DISTURBED, "a daemon has begun")
    assert result.estimate.rounds == 2


async def test_a_refusal_is_believed_once_it_was_repeated() -> None:
    async with bench(worker(20.0), token="another-token") as stage:
        result = await stage.measure()
        assert len(stage.emulator.requests) == 3
    assert result.ending is Ending.FAILED
    assert result.detail.startswith("live tails are refused: ")
    assert result.hint


def silence(window: float) -> Round:
    """A round that says this window, to a tenth of a second."""
    seen = Round(Beat(100.0, 100.0), 99.0)
    seen.deliver(99.95 + window, 99.95 + window)
    seen.show([100.05 + window])
    seen.restore(300.0)
    seen.accept(300.0)
    seen.deliver(300.05, 300.05)
    return seen


async def test_rounds_that_contradict_each_other_are_told() -> None:
    async with bench(worker(20.0)) as stage:
        measurement = stage.measurement()
        for window in (45.0, 45.0, 45.0, 50.0, 60.0):
            measurement.estimator.add(silence(window), 60.0)
        result = await measurement.run(1.0)
    assert (result.ending, result.detail) == (Ending.INCONSISTENT, "only 3 of 5 rounds agree")


async def test_what_fails_when_the_time_is_up_is_the_reason() -> None:
    result = await measured(worker(20.0), Fault(kind=FaultKind.OUTAGE, after=10), seconds=2 * MINUTE)
    assert result.ending is Ending.FAILED
    assert "connection" in result.detail


class Spoiling:
    """Opens streams that do not do as the emulator's.

    Attributes:
        opened: How many there were.

    Args:
        opener: Opens the real one.
        over: Says, ten times a second, whether a stream is closed now.
        passed: Says what becomes of the events that came.
    """

    def __init__(
        self,
        opener: Connect,
        *,
        over: Callable[[], bool] = lambda: False,
        passed: Callable[[int, Sequence[Event]], Sequence[Event]] = lambda _, events: events,
    ) -> None:
        self.opened = 0
        self._opener = opener
        self._over = over
        self._passed = passed

    async def __call__(self, prepared: Prepared, *, timeout: float) -> Connection | Failure:
        connection = await self._opener(prepared, timeout=timeout)
        assert not isinstance(connection, Failure)
        self.opened += 1
        number, pour = self.opened, connection.pour

        async def spoilt(
            into: Callable[[Sequence[Event]], None], *, unread: Callable[[], None] = lambda: None
        ) -> Ended:
            passed = partial(self._passed, number)
            pouring = asyncio.create_task(pour(lambda events: into(passed(events)), unread=unread))
            try:
                while not self._over():  # noqa: ASYNC110 - in virtual time, and nothing tells when it ends
                    await asyncio.sleep(0.1)
            finally:
                pouring.cancel()
                await asyncio.wait([pouring])
            return Ended("closed")

        connection.pour = spoilt  # type: ignore[method-assign]
        return connection


async def test_a_stream_that_is_closed_instead_of_falling_silent_is_told_with_its_age() -> None:
    async with bench(worker(20.0)) as stage:
        stage.connect = Spoiling(stage.connect, over=lambda: not stage.emulator.eligible(ACCOUNT_ID, "api"))
        result = await stage.measure()
    assert result.ending is Ending.CLOSED
    assert result.detail.startswith("the stream was closed 20.0 s, 20.1 s, 20.")


async def test_streams_that_are_closed_now_and_then_only_cost_rounds() -> None:
    async with bench(worker(10.0, 0.5)) as stage:
        rounds: list[int] = []

        def over() -> bool:
            played = measurement.estimator.estimate.rounds
            cut = measurement.phase is Phase.WATCHING and played > 0 and played not in rounds
            rounds.extend([played] if cut else [])
            return cut

        stage.connect, stage.error = Spoiling(stage.connect, over=over), 0.25
        measurement = stage.measurement()
        assert_found(await measurement.run(LONG), 10.0, off=0.25)
    assert len(rounds) >= 3


async def test_a_stream_that_no_heartbeat_brings_back_is_replaced_and_said_to_be() -> None:
    async with bench(worker(20.0)) as stage:
        silent: set[int] = set()

        def passed(number: int, events: Sequence[Event]) -> Sequence[Event]:
            if measurement.phase is Phase.RESTORING:
                silent.add(number)
            return () if number in silent else events

        stage.connect = Spoiling(stage.connect, passed=passed)
        measurement = stage.measurement()
        result = await measurement.run(LONG)
    assert result.ending is Ending.MEASURED
    assert result.estimate.assumed
    assert result.estimate.at_least < 20.0 <= result.estimate.at_most + 1.0
    assert len(silent) == result.estimate.rounds


async def test_an_event_that_is_dated_an_hour_ahead_does_not_outlast_every_silence() -> None:
    async with bench(worker(20.0)) as stage:
        count = 0

        def passed(_: int, events: Sequence[Event]) -> Sequence[Event]:
            nonlocal count
            count += len(events)
            ahead_ms = 3_600_000 if count % 10 == 0 else 0
            return [event._replace(timestamp=event.timestamp + ahead_ms) for event in events]

        stage.connect = Spoiling(stage.connect, passed=passed)
        assert_found(await stage.measure(), 20.0)


async def test_one_that_is_cancelled_still_says_what_is_known() -> None:
    async with bench(worker(20.0, 0.2)) as stage:
        measurement = stage.measurement()
        running = asyncio.create_task(measurement.run(LONG))
        await asyncio.sleep(2 * MINUTE)
        running.cancel()
        await asyncio.wait([running])
        result = measurement.result(Ending.INTERRUPTED)
    assert running.cancelled()
    assert result.estimate.rounds >= 1
    assert result.estimate.at_least < 20.0 <= result.estimate.at_most + 0.001


async def test_it_tells_what_it_waits_for() -> None:
    async with bench(worker(20.0)) as stage:
        measurement = stage.measurement()
        running = asyncio.create_task(measurement.run(LONG))
        phases = {measurement.phase}
        while not running.done():
            phases.add(measurement.phase)
            assert (measurement.beat_at is not None) == (measurement.phase is Phase.WATCHING)
            await asyncio.sleep(0.5)
        assert phases >= {Phase.OPENING, Phase.LISTENING, Phase.WATCHING, Phase.RESTORING, Phase.SETTLING}
        assert stage.tells == running.result().estimate.rounds
