"""Putting another configuration in force: what it changes, and what it must not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keepalive.cloudflare.client import CloudflareClient
from keepalive.config import Configuration, mark
from keepalive.core.events import BreakerClosed, ConfigRejected, ConfigReloaded, EligibilityChanged
from keepalive.core.outcome import Accepted, Denied, Fault, Outcome
from keepalive.core.target import Scope, Target
from keepalive.engine.scheduler import Scheduler
from keepalive.reload import WATCH_SECONDS, Reload
from tests.support.configured import ACCOUNT_ID, TARGETS, Folder
from tests.support.virtual import FakeClient, LoopClock, Recorder

pytestmark = pytest.mark.looptime

CONFIG = """
[heartbeat]
interval = "15s"
[credentials.prod]
api_token_file = "prod.token"
[credentials.other]
api_token_file = "other.token"
rate_group = "other"
""" + TARGETS.replace("scripts", 'credential = "prod"\nscripts')
OTHER = f"""
[[targets]]
credential = "other"
account_id = "{ACCOUNT_ID}"
scripts = ["cron"]
"""

API = Target("prod", ACCOUNT_ID, "api")


@dataclass
class Daemon:
    """A scheduler with a fake client, and a reload that reads a real folder."""

    folder: Folder
    told: Recorder = field(default_factory=Recorder)
    refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folder.write("prod.token", "first-token-of-prod")
        self.folder.write("other.token", "first-token-of-other")
        self.write(CONFIG)
        configuration = self.read()
        self.clock = LoopClock()
        self.fake = FakeClient(self._answer)
        self.scheduler = Scheduler(self.fake, self.clock, self.told, chance=lambda: 0.5)
        self.scheduler.apply(configuration.plan)
        self.client = CloudflareClient(configuration.credentials, base_url="http://127.0.0.1:1")
        self.reload = Reload(
            configuration,
            self.read,
            scheduler=self.scheduler,
            client=self.client,
            clock=self.clock,
            tell=self.told,
        )

    def write(self, text: str) -> None:
        self.file = self.folder.write("keepalive.toml", text)

    def read(self) -> Configuration:
        from keepalive.config import load  # noqa: PLC0415

        return load(self.file, {}, {}, self.folder.path)

    async def _answer(self, target: Target, timeout: float) -> Outcome:
        await asyncio.sleep(0.05)
        if target.credential in self.refused:
            return Denied(Fault("authentication", http_status=401), Scope.CREDENTIAL)
        return Accepted()

    async def run(self, seconds: float) -> None:
        """Run for a while from now on; called again it goes on."""
        if not hasattr(self, "_running"):
            self._running = asyncio.create_task(self.scheduler.run())
        await asyncio.sleep(seconds)

    async def end(self) -> None:
        self.scheduler.drain("test")
        await self._running


async def test_unchanged_targets_keep_their_deadlines_and_newcomers_beat_at_once(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    await daemon.run(5)
    due_at = daemon.clock.now() + daemon.scheduler.due_in(API)
    daemon.write(CONFIG + OTHER)

    event = await daemon.reload.again()
    assert daemon.clock.now() + daemon.scheduler.due_in(API) == pytest.approx(due_at)
    await daemon.run(1)

    assert isinstance(event, ConfigReloaded)
    assert (event.targets, event.added, event.removed) == (3, 1, 0)
    assert (event.credentials, event.restart_needed) == ((), ())
    assert len(daemon.fake.times(API)) == 1
    (first,) = daemon.fake.times(Target("other", ACCOUNT_ID, "cron"))
    assert first == pytest.approx(5, abs=0.1)
    await daemon.end()


async def test_a_broken_file_leaves_the_old_configuration_in_force_and_says_why(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    await daemon.run(5)
    daemon.write(CONFIG.replace("interval", "intervall"))

    event = await daemon.reload.again()
    await daemon.run(10)

    assert isinstance(event, ConfigRejected)
    assert event.faults == ("keepalive.toml:3: heartbeat.intervall: unknown key; did you mean `interval`?",)
    assert daemon.told.named("config.rejected") == [event]
    assert len(daemon.fake.times(API)) == 2
    await daemon.end()


async def test_a_reader_that_trips_over_a_file_does_not_stop_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(Folder(tmp_path))

    def trip() -> Configuration:
        raise RecursionError

    monkeypatch.setattr(daemon.reload, "_load", trip)
    event = await daemon.reload.again()
    assert isinstance(event, ConfigRejected)
    assert event.faults == ("RecursionError: please report it",)


async def test_targets_that_are_gone_are_let_go(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    await daemon.run(5)
    daemon.write(CONFIG.replace('["api", "web"]', '["web"]'))

    event = await daemon.reload.again()
    await daemon.run(30)

    assert isinstance(event, ConfigReloaded)
    assert (event.targets, event.removed) == (1, 1)
    assert len(daemon.fake.times(API)) == 1
    gone = [
        told for told in daemon.told.events if isinstance(told, EligibilityChanged) and told.to_state is None
    ]
    assert [told.target for told in gone] == [API]
    await daemon.end()


async def test_what_counts_only_after_a_restart_is_named(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    daemon.write(CONFIG + '[log]\nlevel = "debug"\n[state]\npath = "elsewhere.db"\n')

    event = await daemon.reload.again()

    assert isinstance(event, ConfigReloaded)
    assert event.restart_needed == ("log.level", "state.path")
    assert event.level == "warning"


async def test_a_new_interval_counts_from_the_next_beat(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    await daemon.run(3)
    daemon.write(CONFIG.replace('"15s"', '"5s"'))

    await daemon.reload.again()
    await daemon.run(17)

    times = daemon.fake.times(API)
    assert times[1] == pytest.approx(5, abs=0.6)
    assert len(times) == 5
    await daemon.end()


async def test_a_rotated_secret_is_used_within_seconds_and_what_it_was_refused_is_tried_at_once(
    tmp_path: Path,
) -> None:
    daemon = Daemon(Folder(tmp_path))
    daemon.refused = {"prod"}
    watching = asyncio.create_task(daemon.reload.watch())
    await daemon.run(200)
    before = len(daemon.fake.sent)
    daemon.folder.write("prod.token", "second-token-of-prod")
    daemon.refused = set()

    await daemon.run(WATCH_SECONDS + 1)

    assert len(daemon.fake.sent) > before
    (event,) = daemon.told.named("config.reloaded")
    assert isinstance(event, ConfigReloaded)
    assert event.credentials == ("prod",)
    assert [told.scope for told in daemon.told.events if isinstance(told, BreakerClosed)] == [
        Scope.CREDENTIAL
    ]
    assert daemon.scheduler.tally.all_eligible
    watching.cancel()
    await daemon.end()


async def test_a_secret_rotated_to_nothing_leaves_the_old_one_in_use_until_it_is_mended(
    tmp_path: Path,
) -> None:
    daemon = Daemon(Folder(tmp_path))
    watching = asyncio.create_task(daemon.reload.watch())
    await daemon.run(5)
    daemon.folder.write("prod.token", "")
    await daemon.run(2 * WATCH_SECONDS)
    (event,) = daemon.told.named("config.rejected")
    assert isinstance(event, ConfigRejected)
    assert "the secret is empty" in event.faults[0]
    assert "first-token" not in str(event)

    daemon.folder.write("prod.token", "second-token-of-prod")
    await daemon.run(WATCH_SECONDS + 1)

    assert len(daemon.told.named("config.reloaded")) == 1
    watching.cancel()
    await daemon.end()


async def test_a_secret_is_rotated_while_the_rest_of_the_file_is_being_edited(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    watching = asyncio.create_task(daemon.reload.watch())
    await daemon.run(5)
    daemon.write("[[[ half an edit")
    daemon.folder.write("prod.token", "second-token-of-prod")

    await daemon.run(WATCH_SECONDS + 1)

    assert [event.name for event in daemon.told.events if event.name.startswith("config.")] == [
        "config.reloaded"
    ]
    watching.cancel()
    await daemon.end()


async def test_a_file_that_is_only_touched_changes_nothing(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    watching = asyncio.create_task(daemon.reload.watch())
    await daemon.run(5)
    daemon.folder.write("prod.token", "first-token-of-prod")

    await daemon.run(2 * WATCH_SECONDS)

    assert [event for event in daemon.told.events if event.name.startswith("config.")] == []
    watching.cancel()
    await daemon.end()


async def test_a_secret_that_was_rotated_right_after_it_was_read_is_noticed(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    daemon.folder.write("prod.token", "second-token-of-prod")
    watching = asyncio.create_task(daemon.reload.watch())

    await daemon.run(WATCH_SECONDS + 1)

    assert len(daemon.told.named("config.reloaded")) == 1
    watching.cancel()
    await daemon.end()


async def test_a_secret_of_a_credential_that_a_reload_brought_is_watched_from_its_reading_on(
    tmp_path: Path,
) -> None:
    daemon = Daemon(Folder(tmp_path))
    watching = asyncio.create_task(daemon.reload.watch())
    await daemon.run(1)
    daemon.folder.write("new.token", "first-token-of-new")
    daemon.write(CONFIG + '[credentials.new]\napi_token_file = "new.token"\n')
    await daemon.reload.again()
    daemon.folder.write("new.token", "second-token-of-new")

    await daemon.run(WATCH_SECONDS + 1)

    last = daemon.told.named("config.reloaded")[-1]
    assert isinstance(last, ConfigReloaded)
    assert last.credentials == ("new",)
    watching.cancel()
    await daemon.end()


async def test_a_rotation_and_a_reload_at_once_end_with_the_credentials_of_the_new_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(Folder(tmp_path))
    signed: list[set[str]] = []
    monkeypatch.setattr(daemon.client, "replace_credentials", lambda each: signed.append(set(each)))
    watching = asyncio.create_task(daemon.reload.watch())
    await daemon.run(1)
    daemon.folder.write("new.token", "first-token-of-new")
    daemon.folder.write("prod.token", "second-token-of-prod")
    daemon.write(CONFIG + '[credentials.new]\napi_token_file = "new.token"\n')

    await asyncio.gather(daemon.reload.again(), daemon.reload._rotate({}))

    assert signed[-1] == {"prod", "other", "new"}
    watching.cancel()
    await daemon.run(0)
    await daemon.end()


async def test_a_file_that_could_not_be_read_is_tried_again_when_its_mode_changes(tmp_path: Path) -> None:
    daemon = Daemon(Folder(tmp_path))
    file = daemon.folder.write("prod.token", "second-token-of-prod")
    before = mark(file)

    file.chmod(0o640)

    assert mark(file) != before
    assert mark(tmp_path / "gone") == ()
