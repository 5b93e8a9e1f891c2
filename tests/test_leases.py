"""Leases: who is held, for how long, and what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from keepalive.cloudflare.client import CloudflareClient
from keepalive.config import Configuration
from keepalive.core.eligibility import Eligibility
from keepalive.core.target import Target
from keepalive.engine.scheduler import Scheduler
from keepalive.errors import LeaseError, TargetError
from keepalive.leases import LONGEST_TTL, MOST_TARGETS, Leases
from keepalive.reload import Reload
from tests.support.configured import ACCOUNT_ID, OTHER, TWO_TARGETS, Folder
from tests.support.virtual import FakeClient, LoopClock, MemoryStore, Recorder

pytestmark = pytest.mark.looptime

CROWDED = f"""{TWO_TARGETS}
[rate_groups.default]
requests = 60
"""

API = Target("prod", ACCOUNT_ID, "api")
CRON = Target("prod", ACCOUNT_ID, "cron")


class NoThreads(ThreadPoolExecutor):
    """A process that has no memory for one more thread."""

    def submit(self, *_: object, **__: object) -> NoReturn:
        raise RuntimeError("can't start new thread")


class Daemon:
    """A scheduler with a fake client, and what is leased of it."""

    def __init__(self, folder: Folder, text: str, store: MemoryStore | None = None) -> None:
        self.folder, self.text = folder, text
        self.may_read = threading.Event()
        self.may_read.set()
        self.told, self.fake, self.clock = Recorder(), FakeClient(), LoopClock()
        configuration = self.read()
        self.scheduler = Scheduler(self.fake, self.clock, self.told, chance=lambda: 0.5, store=store)
        kept = self.scheduler.kept_leases
        leased = tuple(target for lease in kept for target in lease.targets)
        self.scheduler.apply(configuration.plan_with(leased))
        self.reload = Reload(
            configuration,
            self.read,
            scheduler=self.scheduler,
            client=CloudflareClient(configuration.credentials, base_url="http://127.0.0.1:1"),
            clock=self.clock,
            tell=self.told,
            leased=leased,
        )
        self.leases = Leases(self.reload, LoopClock(), self.told, self.scheduler.keep_leases, kept)

    def read(self) -> Configuration:
        assert self.may_read.wait(5)
        return self.folder.read(self.text)

    def names(self) -> list[str]:
        """What was told of leases, in order."""
        return [event.name for event in self.told.events if event.name.startswith("lease.")]


@asynccontextmanager
async def running(
    path: Path, text: str = TWO_TARGETS, store: MemoryStore | None = None
) -> AsyncIterator[Daemon]:
    daemon = Daemon(Folder(path), text, store)
    tasks = [asyncio.create_task(daemon.scheduler.run()), asyncio.create_task(daemon.leases.run())]
    await asyncio.sleep(1)
    yield daemon
    daemon.scheduler.drain("test")
    await tasks[0]
    tasks[1].cancel()


async def test_a_leased_target_beats_at_once_and_for_as_long_as_its_lease(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        assert await daemon.leases.put("tail", ("cron",), None, 60)
        await asyncio.sleep(59)
        held = daemon.fake.times(CRON)
        await asyncio.sleep(60)

    assert held[0] == pytest.approx(1, abs=0.1)
    assert len(held) >= 4
    assert daemon.fake.times(CRON) == held
    assert len(daemon.fake.times(API)) >= 8
    assert daemon.names() == ["lease.granted", "lease.ended"]


async def test_a_renewal_moves_the_end_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.leases.put("tail", ("cron",), None, 20)
        await asyncio.sleep(10)
        due_in = daemon.scheduler.due_in(CRON)
        assert not await daemon.leases.put("tail", (f"{ACCOUNT_ID}/cron",), "prod", 100)

        assert daemon.scheduler.due_in(CRON) == due_in
        assert [lease.ends_at for lease in daemon.leases] == [pytest.approx(111, abs=0.1)]
        await asyncio.sleep(90)
        assert daemon.leases.holders(CRON) == ("tail",)
    assert daemon.names() == ["lease.granted"]


async def test_what_is_released_is_held_no_more_unless_somebody_else_wants_it(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.leases.put("one", ("cron", "api"), None, 600)
        await daemon.leases.put("two", ("cron",), None, 600)

        assert await daemon.leases.release("one")
        assert daemon.scheduler.group_of(CRON) is not None
        assert await daemon.leases.release("two")
        assert daemon.scheduler.group_of(CRON) is None
        assert daemon.scheduler.group_of(API) is not None, "the configuration names it too"
        assert not await daemon.leases.release("two")


async def test_only_what_the_configuration_does_not_name_is_a_guest(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.leases.put("one", ("api", "cron"), None, 600)
        assert daemon.leases.holders(API) == ("one",)
        assert daemon.leases.guests == (CRON,)


async def test_a_lease_outlives_a_reload(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.leases.put("tail", ("cron",), None, 600)
        daemon.text = TWO_TARGETS.replace('["api", "web"]', '["api"]') + OTHER
        event = await daemon.reload.again()

        assert event.name == "config.reloaded"
        assert daemon.scheduler.group_of(CRON) is not None
        assert daemon.scheduler.group_of(Target("prod", ACCOUNT_ID, "web")) is None


async def test_asking_again_during_a_reload_waits_until_the_target_is_held(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.leases.put("kept", ("mail",), None, 600)
        daemon.may_read.clear()
        reloading = asyncio.create_task(daemon.reload.again())
        await asyncio.sleep(0)
        first = asyncio.create_task(daemon.leases.put("tail", ("cron",), None, 600))
        await asyncio.sleep(0)
        second = asyncio.create_task(daemon.leases.put("tail", ("cron",), None, 600))
        for _ in range(10):
            await asyncio.sleep(0)

        assert not await daemon.leases.put("kept", ("mail",), None, 600), "what is held is renewed at once"
        assert not first.done()
        assert not second.done()
        daemon.may_read.set()
        assert not await second
        assert daemon.scheduler.group_of(CRON) is not None
        assert await first
        await reloading


async def test_a_lease_is_granted_where_no_thread_is_to_be_had(tmp_path: Path) -> None:
    async with running(tmp_path, TWO_TARGETS + OTHER, MemoryStore()) as daemon:
        asyncio.get_running_loop().set_default_executor(NoThreads())
        assert await daemon.leases.put("tail", (f"{ACCOUNT_ID}/cron",), "other", 60)
        assert daemon.scheduler.group_of(Target("other", ACCOUNT_ID, "cron")) is not None
        await asyncio.sleep(61)
    assert daemon.names() == ["lease.granted", "lease.ended"]


async def test_a_lease_of_a_credential_that_is_gone_rests_until_it_is_back(tmp_path: Path) -> None:
    async with running(tmp_path, TWO_TARGETS + OTHER) as daemon:
        await daemon.leases.put("tail", (f"{ACCOUNT_ID}/cron",), "other", 600)
        leased = Target("other", ACCOUNT_ID, "cron")
        assert daemon.scheduler.group_of(leased) is daemon.scheduler.groups["other"]

        daemon.text = TWO_TARGETS
        await daemon.reload.again()
        assert daemon.scheduler.group_of(leased) is None
        daemon.text = TWO_TARGETS + OTHER
        await daemon.reload.again()
        assert daemon.scheduler.group_of(leased) is not None


async def test_what_the_quota_cannot_hold_is_refused_with_the_reason_and_changes_nothing(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, CROWDED) as daemon:
        await daemon.leases.put("tail", ("cron",), None, 600)
        with pytest.raises(LeaseError, match="rate group default holds 3 targets") as raised:
            await daemon.leases.put("more", ("mail",), None, 600)

        assert raised.value.crowded
        assert [lease.name for lease in daemon.leases] == ["tail"]
        assert not daemon.told.named("target.refused")


async def test_leases_go_on_in_the_next_process_with_their_renewals_and_their_ends(tmp_path: Path) -> None:
    store = MemoryStore()
    async with running(tmp_path, store=store) as daemon:
        await daemon.leases.put("tail", ("cron",), None, 60)
        await daemon.leases.put("gone", ("mail",), None, 600)
        await daemon.leases.release("gone")
        await asyncio.sleep(20)
    now = asyncio.get_running_loop().time()
    following = store.reopen(now)
    async with running(tmp_path, store=following) as after:
        assert [lease.name for lease in after.leases] == ["tail"]
        assert [lease.ends_at for lease in after.leases] == pytest.approx([61], abs=1)
        assert after.leases.holders(CRON) == ("tail",)
        standing = after.scheduler.groups["default"].standing_of(CRON, after.clock.now())
        assert standing is not None
        assert standing.state.holds
        await asyncio.sleep(45)

        assert after.scheduler.group_of(CRON) is None
        assert after.names() == ["lease.ended"]
    assert following.reopen(now).leases == ()


@pytest.mark.parametrize(
    ("name", "references", "ttl", "said"),
    [
        ("no/name", ("api",), 60, "is no name for a lease"),
        ("x" * 129, ("api",), 60, "is no name for a lease"),
        ("tail", (), 60, "no target"),
        ("tail", ("api",) * (MOST_TARGETS + 1), 60, "1,001 targets"),
        ("tail", ("api",), 0.5, "for 0.5 seconds"),
        ("tail", ("api",), LONGEST_TTL + 1, "write 1 to 86,400 seconds"),
        ("tail", ("api",), float("nan"), "for nan seconds"),
    ],
)
async def test_what_cannot_be_granted_is_told(
    tmp_path: Path, name: str, references: tuple[str, ...], ttl: float, said: str
) -> None:
    daemon = Daemon(Folder(tmp_path), TWO_TARGETS)
    with pytest.raises(LeaseError, match=said):
        await daemon.leases.put(name, references, None, ttl)
    assert not list(daemon.leases)


async def test_a_reference_that_names_no_target_is_told(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path), TWO_TARGETS)
    with pytest.raises(TargetError, match="no credential"):
        await daemon.leases.put("tail", ("api",), "staging", 60)
    assert not list(daemon.leases)


async def test_leases_that_come_and_go_cannot_lapse_what_the_configuration_names(tmp_path: Path) -> None:
    scripts = ", ".join(f'"s{index}"' for index in range(40))
    refused: list[LeaseError] = []
    async with running(tmp_path, TWO_TARGETS.replace('"api", "web"', scripts)) as daemon:
        for turn in range(80):
            try:
                await daemon.leases.put("tail", tuple(f"x{turn}-{each}" for each in range(20)), None, 600)
            except LeaseError as error:
                refused.append(error)
            await asyncio.sleep(1)
        await daemon.leases.release("tail")
        await asyncio.sleep(300)
        assert daemon.scheduler.tally.counts[Eligibility.LAPSED] == 0
        assert await daemon.leases.put("tail", ("cron",), None, 600)

    assert len(refused) > 60
    assert refused[0].crowded
    assert "have come and gone" in refused[0].found
    assert "ask again in " in refused[0].hint
    assert not [each for each in daemon.told.events if getattr(each, "to_state", None) is Eligibility.LAPSED]


async def test_a_lease_that_is_renewed_needs_no_room(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.leases.put("kept", ("cron",), None, 600)
        for turn in range(2000):
            if daemon.scheduler.room_in("default"):
                break
            await daemon.leases.put("tail", (f"x{turn}",), None, 600)
        with pytest.raises(LeaseError):
            await daemon.leases.put("tail", ("one-more",), None, 600)
        assert not await daemon.leases.put("kept", ("cron",), None, 600)
        assert await daemon.leases.put("another", ("cron", "api"), None, 600)
