"""Looking after tokens that end: who is asked about, when, at whose cost, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from keepalive.cloudflare.client import CloudflareClient
from keepalive.cloudflare.verification import TokenActive, TokenUnverifiable
from keepalive.config import Configuration
from keepalive.core.events import (
    ConfigReloaded,
    CredentialExpiring,
    CredentialVerified,
    Event,
    LeaseGranted,
    Sink,
)
from keepalive.core.outcome import Denied, Fault, Outcome, Throttled, Transient
from keepalive.core.target import Scope, Target
from keepalive.engine.scheduler import Scheduler
from keepalive.expiry import (
    AGAIN_SECONDS,
    FIRST_LOOK_SECONDS,
    JITTER,
    LOOK_SECONDS,
    REQUESTS,
    SETTLE_SECONDS,
    STEP_SECONDS,
    TELL_SECONDS,
    Expiry,
)
from keepalive.reload import Reload
from tests.support.configured import ACCOUNT_ID, OTHER, TWO_TARGETS, Folder
from tests.support.virtual import FakeClient, LoopClock, Recorder

pytestmark = pytest.mark.looptime

EPOCH = datetime(2026, 1, 31, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0

OTHERS_TARGET = f"""
[[targets]]
credential = "other"
account_id = "{ACCOUNT_ID}"
scripts = ["cron"]
"""
KEYS = f"""
[credentials.legacy]
email = "ops@example.com"
api_key = "key-of-ops"
[credentials.service]
user_service_key = "key-of-service"
[[targets]]
credential = "legacy"
account_id = "{ACCOUNT_ID}"
scripts = ["api"]
[[targets]]
credential = "service"
account_id = "{ACCOUNT_ID}"
scripts = ["api"]
"""


class Calendar(LoopClock):
    """The loop's time, which began at `EPOCH`."""

    def wall_at(self, moment: float) -> float:
        return EPOCH.timestamp() + moment


class Asked(NamedTuple):
    credential: str
    account_id: str
    at: float
    spent: int


Answer = TokenActive | TokenUnverifiable | Outcome


def endless() -> Answer:
    return TokenActive(None)


def ending(after: timedelta) -> Callable[[], Answer]:
    return lambda: TokenActive(EPOCH + after)


class Daemon:
    """A scheduler that holds targets, a client that answers as a test says, and who looks after tokens."""

    def __init__(self, folder: Folder, text: str, answer: Callable[[], Answer]) -> None:
        self.folder, self.text, self.answer = folder, text, answer
        self.told, self.clock = Recorder(), Calendar()
        self.sinks: list[Sink] = [self.told]
        self.asked: list[Asked] = []
        self.answers_in = 0.1
        configuration = self.read()
        self.scheduler = Scheduler(FakeClient(), self.clock, self._tell, chance=lambda: 0.5)
        self.scheduler.apply(configuration.plan)
        self.reload = Reload(
            configuration,
            self.read,
            scheduler=self.scheduler,
            client=CloudflareClient(configuration.credentials, base_url="http://127.0.0.1:1"),
            clock=self.clock,
            tell=self._tell,
        )
        self.expiry = Expiry(self.reload, self.scheduler, self, self.clock, self._tell, chance=lambda: 0.5)
        self.sinks.append(self.expiry)

    def _tell(self, event: Event) -> None:
        for sink in self.sinks:
            sink(event)

    def read(self) -> Configuration:
        return self.folder.read(self.text)

    async def verify(
        self,
        credential: str,
        account_id: str,
        *,
        timeout: float,
        leave: Callable[[], Awaitable[Outcome | None]],
    ) -> Answer:
        assert await leave() is None
        group = self.reload.configuration.rate_group_of(credential)
        self.asked.append(Asked(credential, account_id, self.clock.now(), self.spent(group)))
        await asyncio.sleep(self.answers_in)
        return await leave() or self.answer()

    def spent(self, name: str = "default") -> int:
        return self.scheduler.groups[name].budget.ledger.count(self.clock.now())

    def times(self, credential: str = "prod") -> list[float]:
        return [asked.at for asked in self.asked if asked.credential == credential]


@asynccontextmanager
async def running(
    path: Path, text: str = TWO_TARGETS, answer: Callable[[], Answer] = endless
) -> AsyncIterator[Daemon]:
    daemon = Daemon(Folder(path), text, answer)
    task = asyncio.create_task(daemon.expiry.run())
    try:
        yield daemon
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_short_run_asks_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await asyncio.sleep(FIRST_LOOK_SECONDS - 1)
        assert (daemon.asked, daemon.spent()) == ([], 0)


async def test_each_token_is_asked_about_once_and_charged_to_its_own_rate_group(tmp_path: Path) -> None:
    async with running(tmp_path, TWO_TARGETS + OTHER + OTHERS_TARGET) as daemon:
        await asyncio.sleep(FIRST_LOOK_SECONDS + 5)

        assert {(asked.credential, asked.account_id) for asked in daemon.asked} == {
            ("prod", ACCOUNT_ID),
            ("other", ACCOUNT_ID),
        }
        assert len(daemon.asked) == 2
        assert (daemon.spent("default"), daemon.spent("other")) == (REQUESTS, REQUESTS)


async def test_the_tokens_of_a_fleet_are_asked_about_one_after_the_other(tmp_path: Path) -> None:
    names = [f"user{number}" for number in range(20)]
    fleet = "".join((OTHER + OTHERS_TARGET).replace("other", name) for name in names)
    async with running(tmp_path, fleet) as daemon:
        daemon.answers_in = 0.0
        await asyncio.sleep(FIRST_LOOK_SECONDS + 3 * len(names) * STEP_SECONDS + 1)

        assert sorted(asked.credential for asked in daemon.asked) == sorted(names)
        gaps = [later.at - earlier.at for earlier, later in pairwise(daemon.asked)]
        assert min(gaps) >= STEP_SECONDS - 1e-6


async def test_nothing_is_asked_about_keys_which_no_call_verifies(tmp_path: Path) -> None:
    async with running(tmp_path, KEYS) as daemon:
        await asyncio.sleep(2 * DAY)

        assert (daemon.asked, daemon.spent()) == ([], 0)


async def test_a_token_that_no_target_needs_is_asked_about_once_a_lease_needs_it(tmp_path: Path) -> None:
    async with running(tmp_path, TWO_TARGETS + OTHER) as daemon:
        await asyncio.sleep(2 * DAY)
        assert daemon.times("other") == []

        await daemon.reload.hold_too((Target("other", ACCOUNT_ID, "cron"),))
        daemon.expiry(LeaseGranted(at=daemon.clock.now(), lease="tail", targets=1, ttl=600.0))
        leased_at = daemon.clock.now()
        await asyncio.sleep(60)

        assert daemon.times("other") == [pytest.approx(leased_at + SETTLE_SECONDS, abs=1)]


async def test_it_asks_again_twice_a_day_a_little_early(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await asyncio.sleep(3 * DAY)

        times = daemon.times()
        assert len(times) == 7
        assert {asked.spent for asked in daemon.asked} == {REQUESTS}  # each is charged, hours after the last
        assert {round(later - earlier) for earlier, later in pairwise(times)} == {
            round(LOOK_SECONDS * (1 - JITTER / 2))
        }


async def test_a_token_without_an_end_is_told_to_those_who_debug_only(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await asyncio.sleep(FIRST_LOOK_SECONDS + 5)

        [event] = [event for event in daemon.told.events if event.name.startswith("credential.")]
        assert isinstance(event, CredentialVerified)
        assert (event.credential, event.expires_on, event.level) == ("prod", None, "debug")


async def test_a_token_that_ends_later_is_no_warning_but_its_end_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, answer=ending(timedelta(days=31))) as daemon:
        await asyncio.sleep(FIRST_LOOK_SECONDS + 5)

        [event] = [event for event in daemon.told.events if event.name.startswith("credential.")]
        assert isinstance(event, CredentialVerified)
        assert event.expires_on == pytest.approx(31 * DAY)


async def test_a_token_that_ends_soon_is_a_warning_once_a_day(tmp_path: Path) -> None:
    async with running(tmp_path, answer=ending(timedelta(days=20))) as daemon:
        await asyncio.sleep(3 * DAY)

        warnings = [event for event in daemon.told.events if isinstance(event, CredentialExpiring)]
        first = warnings[0]
        assert (first.credential, first.level) == ("prod", "warning")
        assert first.expires_on == pytest.approx(20 * DAY)
        assert first.ends_in == pytest.approx(20 * DAY - first.at)
        assert "https://dash.cloudflare.com/profile/api-tokens" in first.hint
        assert [round(event.at - first.at, -1) for event in warnings] == [0, TELL_SECONDS, 2 * TELL_SECONDS]


async def test_a_token_comes_to_be_a_warning_while_the_daemon_runs(tmp_path: Path) -> None:
    async with running(tmp_path, answer=ending(timedelta(days=31))) as daemon:
        await asyncio.sleep(2 * DAY)

        warnings = [event for event in daemon.told.events if isinstance(event, CredentialExpiring)]
        assert warnings
        assert warnings[0].at >= DAY


async def test_a_refusal_is_no_news_here(tmp_path: Path) -> None:
    refusal = Denied(Fault("authentication", http_status=401), Scope.CREDENTIAL)
    async with running(tmp_path, answer=lambda: refusal) as daemon:
        await asyncio.sleep(FIRST_LOOK_SECONDS + 2 * AGAIN_SECONDS)

        assert len(daemon.asked) == 1
        assert [event for event in daemon.told.events if event.name.startswith("credential.")] == []


@pytest.mark.parametrize("fault", [Transient(Fault("timeout"), hung=True), Throttled(Fault("throttled"))])
async def test_whoever_could_not_be_asked_is_asked_again_soon(tmp_path: Path, fault: Outcome) -> None:
    async with running(tmp_path, answer=lambda: fault) as daemon:
        await asyncio.sleep(FIRST_LOOK_SECONDS + AGAIN_SECONDS + 5)

        first, second = daemon.times()
        assert second - first == pytest.approx(AGAIN_SECONDS, abs=1)


async def test_it_waits_while_the_rate_group_is_silent_and_holds_up_no_other(tmp_path: Path) -> None:
    async with running(tmp_path, TWO_TARGETS + OTHER + OTHERS_TARGET) as daemon:
        await asyncio.sleep(FIRST_LOOK_SECONDS - 1)
        now = daemon.clock.now()
        daemon.scheduler.groups["default"].budget.silence(Throttled(Fault("throttled"), 600.0), now, now, 0.0)
        await asyncio.sleep(1200)

        assert daemon.times("prod") == [pytest.approx(now + 600, abs=2)]
        assert daemon.times("other") == [pytest.approx(now, abs=2)]


async def test_a_quota_that_has_nothing_to_lend_is_asked_again_later(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await asyncio.sleep(FIRST_LOOK_SECONDS - 1)
        group, now = daemon.scheduler.groups["default"], daemon.clock.now()
        while group.budget.ready_at(now) <= now:
            group.budget.charge(now)
        await asyncio.sleep(299)
        assert daemon.asked == []

        await asyncio.sleep(10)
        assert len(daemon.asked) == 1


async def test_a_replaced_secret_is_looked_at_soon(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await asyncio.sleep(HOUR)
        daemon.text = TWO_TARGETS.replace("token-of-prod", "another-token-of-prod")
        event = await daemon.reload.again()
        assert isinstance(event, ConfigReloaded)
        assert event.credentials == ("prod",)
        await asyncio.sleep(60)

        assert daemon.times()[1:] == [pytest.approx(HOUR + SETTLE_SECONDS, abs=1)]


async def test_a_secret_that_is_replaced_while_the_old_one_is_asked_about_is_looked_at_too(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        daemon.answers_in = 10.0
        await asyncio.sleep(FIRST_LOOK_SECONDS + 5)
        assert len(daemon.asked) == 1
        daemon.expiry(
            ConfigReloaded(at=daemon.clock.now(), targets=2, added=0, removed=0, credentials=("prod",))
        )
        await asyncio.sleep(60)

        assert len(daemon.asked) == 2


async def test_a_reload_that_changes_no_secret_asks_nothing_again(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await asyncio.sleep(HOUR)
        await daemon.reload.again()
        await asyncio.sleep(60)

        assert len(daemon.asked) == 1


async def test_a_credential_that_a_reload_brings_is_looked_at_and_one_that_left_is_not(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        await asyncio.sleep(HOUR)
        daemon.text = OTHER + OTHERS_TARGET
        await daemon.reload.again()
        await asyncio.sleep(DAY)

        assert daemon.times("other")[0] == pytest.approx(HOUR, abs=10)
        assert len(daemon.times("prod")) == 1


async def test_a_daemon_without_any_token_sleeps_until_it_has_one(tmp_path: Path) -> None:
    async with running(tmp_path, KEYS) as daemon:
        await asyncio.sleep(HOUR)
        daemon.text = KEYS + TWO_TARGETS
        await daemon.reload.again()
        await asyncio.sleep(60)

        assert len(daemon.times("prod")) == 1


async def test_a_token_that_a_reload_takes_away_between_two_requests_is_asked_about_no_more(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, TWO_TARGETS + OTHER + OTHERS_TARGET) as daemon:
        daemon.answers_in = 10
        await asyncio.sleep(FIRST_LOOK_SECONDS + 15)
        assert daemon.asked[-1].credential == "other"
        daemon.text, daemon.answer = TWO_TARGETS, lambda: pytest.fail("the second request was sent")
        await daemon.reload.again()
        await asyncio.sleep(60)
        daemon.answer = endless
        await asyncio.sleep(LOOK_SECONDS)
        assert [asked.credential for asked in daemon.asked] == ["prod", "other", "prod"]
