"""The keeper that leans on a daemon, against a daemon that is scripted, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from keepalive.cloudflare.client import CloudflareClient
from keepalive.config.access import Access
from keepalive.control.answers import FaultSaid, TargetSaid
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged, LeaseLost
from keepalive.core.outcome import Fault
from keepalive.core.plan import Quota
from keepalive.core.target import Target
from keepalive.errors import DaemonRefusedError, DaemonUnreachableError
from keepalive.keeper.bell import Bell
from keepalive.keeper.leased import ESTRANGED_SECONDS, RENEW_SECONDS, Leased, leased
from keepalive.keeper.quota import StayingLender
from tests.support.virtual import LoopClock, Recorder

pytestmark = pytest.mark.looptime

TARGET = Target("prod", "0123456789abcdef0123456789abcdef", "api")
WINDOW = 45.0
AWAY = DaemonUnreachableError("no daemon answers at k.sock (nobody listens there)", "start it")
CROWDED = DaemonRefusedError(409, "the quota holds 3 targets", "release another lease")
STOPPING = DaemonRefusedError(503, "keepalive is stopping", "ask the next one")
UNKNOWN = DaemonRefusedError(404, "there is no such lease", "ask for it anew")
STRANGER = DaemonRefusedError(400, "there is no credential 'prod'", "known here: ops")


def said(state: str = "eligible", ahead: float | None = WINDOW, cause: str = "") -> TargetSaid:
    return TargetSaid(
        target=TARGET.label,
        account_id=TARGET.account_id,
        script_id=TARGET.script_id,
        credential=TARGET.credential,
        state=Eligibility(state),
        eligible_for_seconds=ahead,
        next_beat_in_seconds=None,
        failures=0,
        fault=FaultSaid(cause=cause) if cause else None,
    )


@dataclass
class FakeDaemon:
    """Answers as it is told.

    Attributes:
        answer: How the target stands, or what is raised.
        renewed: When the lease was asked for.
        looked: How often it was looked at.
        forgets: Whether it knows no lease until it is asked for again.
    """

    answer: TargetSaid | Exception = field(default_factory=said)
    renewed: list[float] = field(default_factory=list)
    looked: int = 0
    released: int = 0
    forgets: bool = False
    name: str = "exec-1"
    address: str = "k.sock"

    async def renew(self) -> Sequence[TargetSaid]:
        found = self._answered()
        self.renewed.append(asyncio.get_running_loop().time())
        self.forgets = False
        return found

    async def look(self) -> Sequence[TargetSaid]:
        self.looked += 1
        found = self._answered()
        if self.forgets:
            raise UNKNOWN
        return found

    async def release(self) -> None:
        self.released += 1
        self._answered()

    def _answered(self) -> Sequence[TargetSaid]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer]


class FakeOwn:
    """An engine of this process: eligible from its first moment on, unless it is told otherwise."""

    shared = False

    def __init__(self) -> None:
        self.known = Eligibility.ELIGIBLE
        self.permits: list[str] = []

    @property
    def client(self) -> CloudflareClient:
        raise NotImplementedError

    def state(self, target: Target) -> Eligibility:
        return self.known

    def fault(self, target: Target) -> Fault | None:
        return Fault("own")

    async def changed(self) -> None:
        raise NotImplementedError

    async def permit(self, credential: str) -> None:
        self.permits.append(credential)


class Stage:
    """A keeper, its daemon, and the spans in which this process beat."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self.daemon = daemon
        self.told = Recorder()
        self.beating: list[list[float]] = []
        self.own = FakeOwn()
        self.bell = Bell()
        self.keeper = Leased(
            daemon,
            (TARGET,),
            window=WINDOW,
            begin=self.begin,
            rate_group_of=lambda credential: f"group of {credential}",
            client=CloudflareClient({}, base_url="http://127.0.0.1:1"),
            clock=LoopClock(),
            tell=self.told,
            bell=self.bell,
            lender=StayingLender(Access(()), {"group of prod": Quota()}),
        )

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[FakeOwn]:
        span = [now()]
        self.beating.append(span)
        try:
            yield self.own
        finally:
            span.append(now())

    def state(self) -> Eligibility:
        return self.keeper.state(TARGET)

    def leans(self) -> bool:
        return self.keeper.shared

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.told.events if event.name.startswith("lease.")]


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def leaning(daemon: FakeDaemon | None = None) -> AsyncIterator[Stage]:
    stage = Stage(daemon or FakeDaemon())
    async with leased(stage.keeper):
        yield stage


async def test_the_daemon_beats_as_long_as_it_is_leant_on() -> None:
    async with leaning() as stage:
        assert stage.state() is Eligibility.ELIGIBLE
        assert stage.leans()
        await asyncio.sleep(200)
    assert stage.beating == []
    steps = [b - a for a, b in zip(stage.daemon.renewed, stage.daemon.renewed[1:], strict=False)]
    assert len(steps) == 9
    assert all(RENEW_SECONDS <= step <= RENEW_SECONDS + 2 for step in steps)
    assert 150 < stage.daemon.looked < 200
    assert stage.daemon.released == 1
    assert stage.names == ["lease.taken"]


async def test_a_change_is_told_and_wakes_who_waits() -> None:
    async with leaning(FakeDaemon(said("pending", None))) as stage:
        waiting = asyncio.create_task(stage.keeper.changed())
        await asyncio.sleep(0.15)
        assert not waiting.done()
        stage.daemon.answer = said()
        await asyncio.sleep(0.15)
        assert waiting.done(), "the first heartbeats are looked for more often"
        stage.daemon.answer = said("denied", None, "authentication")
        await asyncio.sleep(1.1)
        assert stage.state() is Eligibility.DENIED
        assert stage.keeper.fault(TARGET) == Fault("authentication")
    changes = [event for event in stage.told.events if isinstance(event, EligibilityChanged)]
    assert [(change.to_state, change.cause) for change in changes] == [
        (Eligibility.PENDING, "leased"),
        (Eligibility.ELIGIBLE, "leased"),
        (Eligibility.DENIED, "authentication"),
    ]


async def test_a_restart_is_bridged() -> None:
    async with leaning() as stage:
        await asyncio.sleep(5)
        stage.daemon.answer = AWAY
        await asyncio.sleep(3)
        stage.daemon.answer = STOPPING
        await asyncio.sleep(3)
        stage.daemon.answer, back_at = said(ahead=33.0), now()
        await asyncio.sleep(2)
        assert stage.state() is Eligibility.ELIGIBLE
        assert back_at <= stage.daemon.renewed[-1] < back_at + 1.1, "it is renewed at once"
        await asyncio.sleep(60)
    assert stage.beating == []
    assert stage.names == ["lease.taken"]


async def test_a_daemon_that_knows_no_lease_any_more_is_asked_for_it_at_once() -> None:
    async with leaning() as stage:
        await asyncio.sleep(3)
        stage.daemon.forgets = True
        await asyncio.sleep(1.1)
        assert not stage.daemon.forgets
    assert stage.beating == []


async def test_a_daemon_that_stays_away_is_stood_in_for_before_anybody_lapses() -> None:
    async with leaning() as stage:
        await asyncio.sleep(5)
        stage.daemon.answer = AWAY
        gone_at = now()
        await asyncio.sleep(100)
        assert not stage.leans()
        assert stage.state() is Eligibility.ELIGIBLE
        assert stage.keeper.fault(TARGET) == Fault("own")
        await stage.keeper.permit("prod")
        assert stage.own.permits == ["prod"]
        [[began_at]] = stage.beating
        assert began_at - gone_at <= WINDOW / 2 + 1
        stage.daemon.answer, back_at = said(), now()
        await asyncio.sleep(5)
        assert stage.leans()
        [[_, ended_at]] = stage.beating
        assert ended_at - back_at <= 2
    assert stage.names == ["lease.taken", "lease.lost", "lease.taken"]
    [lost] = stage.told.named("lease.lost")
    assert isinstance(lost, LeaseLost)
    assert (lost.cause, lost.hint) == (AWAY.found, AWAY.hint)


async def test_what_the_daemon_renewed_holds_on_until_this_process_has_renewed_it() -> None:
    async with leaning() as stage:
        stage.own.known = Eligibility.PENDING
        stage.daemon.answer = AWAY
        seen: dict[Eligibility, None] = {}
        for _ in range(60):
            await asyncio.sleep(1)
            seen[stage.state()] = None
        assert not stage.leans()
        stage.own.known = Eligibility.ELIGIBLE
        assert stage.state() is Eligibility.ELIGIBLE
    assert list(seen) == [Eligibility.ELIGIBLE, Eligibility.AT_RISK, Eligibility.LAPSED]


async def test_who_waits_is_woken_when_this_process_cannot_stand_in() -> None:
    async with leaning() as stage:
        stage.own.known = Eligibility.REFUSED
        stage.daemon.answer = AWAY
        while stage.state() is not Eligibility.REFUSED:
            await stage.keeper.changed()
        assert not stage.leans()


async def test_who_waits_is_woken_when_the_daemon_does_better_than_this_process() -> None:
    async with leaning() as stage:
        stage.daemon.answer = AWAY
        await asyncio.sleep(40)
        stage.own.known = Eligibility.LAPSED
        stage.bell.ring()
        stage.daemon.answer = said()
        async with asyncio.timeout(5):
            while not stage.state().holds:
                await stage.keeper.changed()
        assert stage.leans()
        await asyncio.sleep(0)
    changes = [event for event in stage.told.events if isinstance(event, EligibilityChanged)]
    assert (changes[-1].from_state, changes[-1].to_state) == (Eligibility.LAPSED, Eligibility.ELIGIBLE)


async def test_a_renewal_that_runs_out_meanwhile_is_not_waited_for() -> None:
    async with leaning(FakeDaemon(said(ahead=20.0))) as stage:
        stage.daemon.answer = AWAY
        await asyncio.sleep(7)
        assert stage.beating == [[pytest.approx(5.5, abs=1.0)]], "a third of the window is left"


async def test_without_room_it_is_refused_and_asked_again_soon() -> None:
    async with leaning(FakeDaemon(CROWDED)) as stage:
        assert stage.state() is Eligibility.REFUSED
        fault = stage.keeper.fault(TARGET)
        assert fault is not None
        assert (fault.cause, fault.detail, fault.hint) == ("quota", CROWDED.found, CROWDED.hint)
        stage.daemon.answer = said()
        await asyncio.sleep(7)
        assert stage.state() is Eligibility.ELIGIBLE
    assert stage.beating == []


async def test_one_that_does_not_know_the_credential_is_left_alone_for_a_while() -> None:
    async with leaning() as stage:
        stage.daemon.answer = STRANGER
        await asyncio.sleep(2)
        assert len(stage.beating) == 1
        asked = stage.daemon.looked + len(stage.daemon.renewed)
        await asyncio.sleep(ESTRANGED_SECONDS - 5)
        assert stage.daemon.looked + len(stage.daemon.renewed) == asked
        stage.daemon.answer = said()
        await asyncio.sleep(10)
        assert stage.leans()


async def test_two_beat_for_a_few_seconds_at_most() -> None:
    async with leaning() as stage:
        stage.daemon.answer = AWAY
        await asyncio.sleep(40)
        stage.daemon.answer, back_at = said("denied", None), now()
        await asyncio.sleep(30)
        assert stage.daemon.released == 1, "it does worse than this process"
        assert stage.daemon.renewed[-1] < back_at + 15
        assert not stage.leans()


@pytest.mark.parametrize("refused", [AWAY, STRANGER, STOPPING])
async def test_it_does_not_begin_where_no_lease_is_to_be_had(refused: Exception) -> None:
    with pytest.raises(type(refused)):
        async with leaning(FakeDaemon(refused)):
            pytest.fail("it began")


async def test_a_lease_that_was_asked_for_is_released_by_who_does_not_wait_for_it() -> None:
    class Slow(FakeDaemon):
        async def renew(self) -> Sequence[TargetSaid]:
            await asyncio.sleep(5)
            return await super().renew()

    daemon = Slow()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), leaning(daemon):
            pytest.fail("it began")
    assert daemon.released == 1


async def test_a_daemon_that_has_gone_holds_up_no_end() -> None:
    async with leaning() as stage:
        stage.daemon.answer = AWAY
    assert now() < 0.1
    assert stage.daemon.released == 1
