from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import pytest

from keepalive.calibration.calls import PAUSE_SECONDS, THROTTLED_SECONDS, Calls
from keepalive.calibration.ports import Connection
from keepalive.calibration.result import Ending, OverError
from keepalive.calibration.round import Beat, Round
from keepalive.core.outcome import Accepted, Denied, Fault, Outcome, Throttled, Transient
from keepalive.core.target import Scope, Target
from keepalive.core.telemetry import Event, Page, Prepared, Question, Wanted

pytestmark = pytest.mark.looptime

TARGET = Target("prod", "0" * 32, "api")
SLOW = Transient(Fault("timeout", "no answer within 5 s"), hung=True)
FULL = Throttled(Fault("throttled", "HTTP 429", hint="wait"), 7.0)
BARE = Throttled(Fault("throttled", "HTTP 429"))
REFUSED = Denied(Fault("authentication", "Authentication error", hint="mend the token"), Scope.CREDENTIAL)
FOUND = Page((Event("{}", "1", 1500, "api"),))


class Answering:
    """An API whose answers are given in advance, and the calls to it."""

    def __init__(
        self, heartbeats: Iterable[Outcome] = (), queries: Iterable[Page | Transient | Denied] = ()
    ) -> None:
        self._heartbeats: Iterator[Outcome] = iter(heartbeats)
        self._queries = iter(queries)
        self.sent_at: list[float] = []
        self.permits = 0
        self.told: list[str] = []
        self.calls = Calls(
            TARGET, api=self, connect=self.connect, permit=self.permit, clock=now, tell=self.tell
        )

    async def permit(self) -> None:
        self.permits += 1

    def tell(self) -> None:
        self.told.append(self.calls.trouble)

    async def heartbeat(self, target: Target, *, timeout: float) -> Outcome:
        self.sent_at.append(now())
        await asyncio.sleep(0.25)
        return next(self._heartbeats)

    async def prepare(self, target: Target, wanted: Wanted, *, timeout: float) -> Prepared | Denied:
        return REFUSED

    async def query(self, target: Target, question: Question, *, timeout: float) -> Page | Transient | Denied:
        return next(self._queries)

    async def connect(self, prepared: Prepared, *, timeout: float) -> Connection | Fault:
        raise NotImplementedError


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_heartbeat_counts_at_some_moment_between_its_sending_and_its_answer() -> None:
    began = now()
    beat = await Answering([Accepted()]).calls.heartbeat()
    assert beat == pytest.approx((began, began + 0.25))


async def test_it_is_repeated_while_it_fails_and_each_try_is_lent() -> None:
    api = Answering([SLOW, SLOW, Accepted()])
    beat = await api.calls.heartbeat()
    assert beat.sent_at == api.sent_at[2] == pytest.approx(api.sent_at[0] + 2 * (PAUSE_SECONDS + 0.25))
    assert api.permits == 3
    assert api.told == ["heartbeats: no answer within 5 s"]
    assert api.calls.trouble == ""


@pytest.mark.parametrize(("refusal", "seconds"), [(FULL, 7.0), (BARE, THROTTLED_SECONDS)])
async def test_a_429_is_waited_for(refusal: Throttled, seconds: float) -> None:
    api = Answering([refusal, Accepted()])
    await api.calls.heartbeat()
    assert api.sent_at[1] - api.sent_at[0] == pytest.approx(seconds + 0.25)


async def test_a_silence_is_ended_by_the_first_try_or_by_the_last() -> None:
    api, silent = Answering([SLOW, Accepted()]), Round(Beat(0.0, 0.0), 0.0)
    await api.calls.heartbeat(silent)
    assert silent.restored == pytest.approx((api.sent_at[0], api.sent_at[1] + 0.25))


async def test_a_refusal_counts_by_what_is_refused_and_only_while_nothing_is_accepted() -> None:
    api = Answering([REFUSED, REFUSED, Accepted(), REFUSED, REFUSED, REFUSED], [FOUND])
    await api.calls.heartbeat()
    assert await api.calls.look(1.0, 2.0) == [1.5]
    with pytest.raises(OverError, match="heartbeats are refused: Authentication error") as over:
        await api.calls.heartbeat()
    assert (over.value.ending, over.value.hint) == (Ending.FAILED, "mend the token")


async def test_what_began_to_fail_last_is_told() -> None:
    api = Answering([SLOW, Accepted()], [SLOW, REFUSED, FOUND])
    looking = asyncio.create_task(api.calls.look(1.0, 2.0))
    await asyncio.sleep(1.0)
    beating = asyncio.create_task(api.calls.heartbeat())
    await asyncio.sleep(0.5)
    assert api.calls.trouble == "heartbeats: no answer within 5 s"
    await asyncio.sleep(1.0)
    assert api.calls.trouble == "queries: Authentication error; mend the token"
    await asyncio.wait([looking, beating])
    assert api.calls.trouble == ""


async def test_a_session_that_is_refused_ends_it() -> None:
    with pytest.raises(OverError, match="live tails are refused"):
        await Answering().calls.open()
