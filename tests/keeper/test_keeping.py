"""Who keeps targets eligible, against an emulated Cloudflare and a daemon that answers by the book."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from keepalive.config import Configuration
from keepalive.config.access import Access
from keepalive.control.client import Daemon
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import LeaseUnavailable
from keepalive.core.outcome import Accepted
from keepalive.core.target import Target
from keepalive.emulator import Emulator, Quota, World
from keepalive.engine.clock import BootClock
from keepalive.keeper import quota
from keepalive.keeper.keeping import keeping
from keepalive.keeper.own import NO_ROOM, Own
from keepalive.keeper.ports import Keeper
from keepalive.keeper.tenancy import Tenancy
from tests.support.answering import Answer, Asked, Script, answering, overview
from tests.support.configured import ACCOUNT_ID, Folder
from tests.support.virtual import Recorder

API, CRON = Target("prod", ACCOUNT_ID, "api"), Target("prod", ACCOUNT_ID, "cron")
WORLD = World.simple(scripts=("api", "cron"))


@pytest.fixture(autouse=True)
def nothing_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "_SPENT", {})


def configured(
    folder: Path, emulator: Emulator, more: str = "", signed_by: str = 'api_token = "emulated-token"'
) -> Configuration:
    return Folder(folder).read(
        f'[cloudflare]\nbase_url = "{emulator.base_url}"\n[credentials.prod]\n{signed_by}\n'
        f'[[targets]]\naccount_id = "{ACCOUNT_ID}"\nscripts = ["api"]\n{more}'
    )


@asynccontextmanager
async def kept(
    configuration: Configuration, folder: Path, *targets: Target, lean: bool = True
) -> AsyncIterator[tuple[Keeper, Recorder]]:
    told = Recorder()
    async with keeping(
        configuration,
        targets or (CRON,),
        Access((folder / "k.sock",)),
        tell=told,
        clock=BootClock(),
        prefix="test",
        lean=lean,
    ) as keeper:
        yield keeper, told


async def until_it_holds(keeper: Keeper, target: Target = CRON) -> None:
    async with asyncio.timeout(5):
        while not keeper.state(target).holds:
            await keeper.changed()


def target_said(target: Target) -> dict[str, Any]:
    return {
        "target": target.label,
        "account_id": target.account_id,
        "script_id": target.script_id,
        "credential": target.credential,
        "state": "eligible",
        "eligible_for_seconds": 44.0,
        "next_beat_in_seconds": 14.0,
        "failures": 0,
        "fault": None,
    }


class Book(Script):
    """A daemon that grants every lease."""

    def __init__(self, config: str) -> None:
        super().__init__()
        self.answers["GET", "/v1/status"] = Answer(200, overview(config=config))
        self.answers["POST", "/v1/rate_groups/default/calls"] = Answer(200, {"schema": 1, "granted": True})

    @property
    def leases(self) -> list[str]:
        return [asked.path.rpartition("/")[2] for asked in self.asked if "/leases/" in asked.path]

    @property
    def released(self) -> list[str]:
        return [asked.path.rpartition("/")[2] for asked in self.asked if asked.method == "DELETE"]

    def grant(self, name: str, *targets: Target) -> None:
        said = {
            "schema": 1,
            "lease": name,
            "targets": [target_said(target) for target in targets],
            "ends_at": "2026-01-31T12:00:00.000Z",
            "ends_in_seconds": 60.0,
        }
        self.answers["PUT", f"/v1/leases/{name}"] = Answer(201, said)
        self.answers["GET", f"/v1/leases/{name}"] = Answer(200, said)


@contextmanager
def daemon(folder: Path, config: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("secrets.token_hex", lambda size: "ab")
    book = Book(config)
    with answering(folder / "k.sock", book):
        yield book


async def test_without_a_daemon_this_process_beats_for_these_targets_alone(tmp_path: Path) -> None:
    async with Emulator(WORLD) as emulator:
        async with kept(configured(tmp_path, emulator), tmp_path) as (keeper, told):
            assert keeper.state(CRON) is Eligibility.PENDING
            await until_it_holds(keeper)
            assert isinstance(keeper, Own)
            assert emulator.eligible(ACCOUNT_ID, "cron")
            assert not emulator.eligible(ACCOUNT_ID, "api"), "that one was not asked for"
            assert keeper.state(API) is Eligibility.PENDING
            assert keeper.fault(API) is None
            await keeper.permit("prod")
        [alone] = told.named("lease.unavailable")
    assert isinstance(alone, LeaseUnavailable)
    assert alone.cause.startswith("no daemon answers at ")
    assert alone.cause.endswith(", so the quota is not shared")


async def test_a_refusal_is_told_with_its_reason(tmp_path: Path) -> None:
    async with (
        Emulator(World.simple(scripts=("api",))) as emulator,
        kept(configured(tmp_path, emulator), tmp_path) as (keeper, _),
        asyncio.timeout(10),
    ):
        while keeper.state(CRON) is not Eligibility.DENIED:
            await keeper.changed()
        fault = keeper.fault(CRON)
    assert fault is not None
    assert fault.error_code == 10007


async def test_what_the_quota_cannot_hold_is_refused(tmp_path: Path) -> None:
    async with Emulator(World.simple(scripts=("api", "cron"), quota=Quota(20, 300, 300))) as emulator:
        configuration = configured(tmp_path, emulator, "[rate_groups.default]\nrequests = 20\nshare = 1.0\n")
        async with kept(configuration, tmp_path, API, CRON) as (keeper, _):
            await until_it_holds(keeper, API)
            assert keeper.state(CRON) is Eligibility.REFUSED
            assert keeper.fault(CRON) == NO_ROOM


async def test_a_daemon_with_the_same_configuration_is_leant_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(WORLD) as emulator:
        configuration = configured(tmp_path, emulator)
        (tmp_path / "link.toml").symlink_to(tmp_path / "k.toml")
        with daemon(tmp_path, str(tmp_path / "link.toml"), monkeypatch) as book:
            book.grant("test-1-ab", CRON)
            book.answers["DELETE", "/v1/leases/test-1-ab"] = Answer(204, {})
            async with kept(configuration, tmp_path) as (keeper, told):
                assert keeper.shared
                assert keeper.state(CRON) is Eligibility.ELIGIBLE
                await keeper.permit("prod")
        [wish] = [json.loads(asked.body) for asked in book.asked if asked.method == "PUT"]
        assert wish == {"targets": [CRON.label], "credential": "prod", "ttl_seconds": 60.0}
        assert list(emulator.requests) == []
        assert [event.name for event in told.events] == ["lease.taken", "eligibility.changed"]


async def test_who_speaks_beside_a_daemon_has_the_secret_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepalive.reload.WATCH_SECONDS", 0.01)
    token = Folder(tmp_path).write("prod.token", "of-yesterday")
    async with Emulator(WORLD) as emulator:
        configuration = configured(tmp_path, emulator, signed_by='api_token_file = "prod.token"')
        with daemon(tmp_path, str(configuration.path), monkeypatch) as book:
            book.grant("test-1-ab", CRON)
            async with kept(configuration, tmp_path) as (keeper, told):
                token.write_text("emulated-token")
                async with asyncio.timeout(5):
                    while not told.named("config.reloaded"):  # noqa: ASYNC110 - a sink sets no event
                        await asyncio.sleep(0.01)
                assert isinstance(await keeper.client.heartbeat(CRON, timeout=5), Accepted)


async def test_one_with_another_configuration_only_counts_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(WORLD) as emulator:
        configuration = configured(tmp_path, emulator)
        with daemon(tmp_path, "/etc/keepalive/keepalive.toml", monkeypatch) as book:
            async with kept(configuration, tmp_path) as (keeper, told):
                await until_it_holds(keeper)
                assert not keeper.shared
        assert book.leases == []
        assert len([asked for asked in book.asked if asked.method == "POST"]) == len(emulator.requests) == 1
    [alone] = told.named("lease.unavailable")
    assert isinstance(alone, LeaseUnavailable)
    assert alone.cause == f"the daemon at {tmp_path}/k.sock runs by /etc/keepalive/keepalive.toml"


async def test_one_is_not_asked_where_only_this_process_knows_the_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(WORLD) as emulator:
        configuration = configured(tmp_path, emulator)
        with daemon(tmp_path, str(configuration.path), monkeypatch) as book:
            async with kept(configuration, tmp_path, lean=False) as (keeper, _):
                await until_it_holds(keeper)
                assert not keeper.shared
        assert book.leases == []


async def test_each_credential_has_a_lease_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Target("ops", ACCOUNT_ID, "cron")
    async with Emulator(WORLD) as emulator:
        more = 'credential = "prod"\n[credentials.ops]\napi_token = "other-token"\n'
        configuration = configured(tmp_path, emulator, more)
        with daemon(tmp_path, str(configuration.path), monkeypatch) as book:
            book.grant("test-1-ab.0", API)
            book.grant("test-1-ab.1", other)
            async with kept(configuration, tmp_path, API, other) as (keeper, _):
                assert keeper.state(API).holds
                assert keeper.state(other).holds
        assert set(book.leases) == {"test-1-ab.0", "test-1-ab.1"}
        assert book.released == ["test-1-ab.0", "test-1-ab.1"], "also where the daemon forgot the first"


async def test_a_daemon_that_hangs_is_asked_once_before_this_process_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepalive.keeper.tenancy.SECONDS", 0.05)
    async with Emulator(WORLD) as emulator:
        configuration = configured(tmp_path, emulator)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung:
            hung.bind(str(tmp_path / "k.sock"))
            hung.listen()
            hung.settimeout(0)
            async with kept(configuration, tmp_path) as (keeper, told):
                await until_it_holds(keeper)
            with hung.accept()[0], pytest.raises(BlockingIOError):
                hung.accept()
    [alone] = told.named("lease.unavailable")
    assert isinstance(alone, LeaseUnavailable)
    assert "did not answer" in alone.cause


async def test_a_question_that_nobody_waits_for_any_more_is_not_asked_after_the_release(
    tmp_path: Path,
) -> None:
    book = Book("environment")
    with answering(tmp_path / "k.sock", book):
        tenancy = Tenancy(Daemon(Access((tmp_path / "k.sock",))), "test-1", [API])
        book.grant("test-1", API)
        with tenancy._turn:
            asking = asyncio.create_task(tenancy.renew())
            await asyncio.sleep(0.01)
            asking.cancel()
            releasing = asyncio.create_task(tenancy.release())
            await asyncio.sleep(0.01)
        await releasing
        assert len(await tenancy.renew()) == 1
    assert [asked.method for asked in book.asked] == ["DELETE", "PUT"]


async def test_what_was_granted_is_let_go_where_the_rest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Target("ops", ACCOUNT_ID, "cron")
    async with Emulator(WORLD) as emulator:
        more = 'credential = "prod"\n[credentials.ops]\napi_token = "emulated-token"\n'
        configuration = configured(tmp_path, emulator, more)
        with daemon(tmp_path, str(configuration.path), monkeypatch) as book:
            book.grant("test-1-ab.0", API)
            book.answers["PUT", "/v1/leases/test-1-ab.1"] = Answer(400, {"schema": 1, "error": "no"})
            async with kept(configuration, tmp_path, API, other) as (keeper, _):
                assert not keeper.shared
                assert book.released == ["test-1-ab.0", "test-1-ab.1"]


async def test_a_daemon_that_refuses_is_no_reason_not_to_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Asked) -> Answer:
        return Answer(400, {"schema": 1, "error": "there is no credential 'prod'", "hint": "known here: ops"})

    async with Emulator(WORLD) as emulator:
        configuration = configured(tmp_path, emulator)
        with daemon(tmp_path, str(configuration.path), monkeypatch) as book:
            book.answers["PUT", "/v1/leases/test-1-ab"] = refuse
            async with kept(configuration, tmp_path) as (keeper, told):
                await until_it_holds(keeper)
                assert not keeper.shared
    [alone] = told.named("lease.unavailable")
    assert isinstance(alone, LeaseUnavailable)
    assert (alone.cause, alone.hint) == ("there is no credential 'prod'", "known here: ops")
