"""The Python API, and what its page says of it."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

import keepalive
from keepalive.emulator import Emulator, Fault, FaultKind, World
from keepalive.keeper import quota
from keepalive.keeper.following import tail
from tests.support.configured import ACCOUNT_ID, Folder

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
WORLD = replace(World.simple(scripts=("api", "web")), events_per_second=50.0)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with a token in it, and a folder with nothing in it."""
    monkeypatch.setattr(quota, "_SPENT", {})
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("CLOUDFLARE_", "KEEPALIVE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "emulated-token")


@pytest.fixture
async def cloudflare(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD) as emulator:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", emulator.base_url)
        yield emulator


def written(block: str, name: str) -> Callable[..., Awaitable[Any]]:
    """A function of the page."""
    names: dict[str, Any] = {}
    exec(compile(block, "docs/python.md", "exec"), names)  # noqa: S102 - our own page
    function: Callable[..., Awaitable[Any]] = names[name]
    return function


async def test_a_target_is_eligible_while_the_block_runs(cloudflare: Emulator) -> None:
    async with keepalive.hold(account_id=ACCOUNT_ID, script_id="api") as session:
        assert session.target.label == f"{ACCOUNT_ID}/api"
        async with asyncio.timeout(5):
            await session.eligible()
        assert session.state is keepalive.Eligibility.ELIGIBLE
        assert (session.reason, session.shared) == ("", False)
        assert cloudflare.eligible(ACCOUNT_ID, "api")
        assert not cloudflare.eligible(ACCOUNT_ID, "web")
    sent = len(cloudflare.requests)
    await asyncio.sleep(0.05)
    assert len(cloudflare.requests) == sent
    assert len(asyncio.all_tasks()) <= 2


async def test_what_is_given_counts_more_than_the_environment(
    cloudflare: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "of-somebody-else")
    monkeypatch.setenv("CLOUDFLARE_API_KEY", "a-key")
    monkeypatch.setenv("CLOUDFLARE_EMAIL", "ops@example.com")
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "f" * 32)
    monkeypatch.setenv("KEEPALIVE_CREDENTIALS__DEFAULT__API_TOKEN", "of-a-third")
    monkeypatch.setenv("KEEPALIVE_SCRIPTS", "web")
    given = {"account_id": ACCOUNT_ID, "api_token": "emulated-token", "base_url": cloudflare.base_url}
    async with keepalive.hold(**given) as session, asyncio.timeout(5):
        await session.eligible()
        assert session.target == ("default", ACCOUNT_ID, None)
    [arrival] = cloudflare.requests
    assert arrival.headers["authorization"] == "Bearer emulated-token"
    assert arrival.body == b"{}"


async def test_a_configuration_may_say_everything(cloudflare: Emulator, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    file = folder.write(
        "other.toml",
        f'[cloudflare]\nbase_url = "{cloudflare.base_url}"\n'
        '[credentials.prod]\napi_token = "emulated-token"\n'
        f'[[targets]]\naccount_id = "{ACCOUNT_ID}"\nscripts = ["web"]\n',
    )
    async with keepalive.hold(script_id="api", config=file) as session, asyncio.timeout(5):
        await session.eligible()
        assert session.target == ("prod", ACCOUNT_ID, "api")


async def test_a_file_that_nobody_named_is_not_read(cloudflare: Emulator, tmp_path: Path) -> None:
    Folder(tmp_path).write("keepalive.toml", "[broken")
    async with keepalive.hold(account_id=ACCOUNT_ID, script_id="api") as session, asyncio.timeout(5):
        await session.eligible()


async def test_a_refusal_is_raised_with_its_reason(cloudflare: Emulator) -> None:
    async with keepalive.hold(account_id=ACCOUNT_ID, script_id="nowhere") as session, asyncio.timeout(10):
        with pytest.raises(keepalive.NotEligibleError, match=r"nowhere is denied: .*; deploy the Worker"):
            await session.eligible()


async def test_transitions_are_told_as_they_come(cloudflare: Emulator) -> None:
    cloudflare.faults.add(Fault(kind=FaultKind.STATUS, status=503, count=2))
    async with keepalive.hold(account_id=ACCOUNT_ID, script_id="api") as session, asyncio.timeout(5):
        async for change in session.transitions():
            assert change == (keepalive.Eligibility.PENDING, keepalive.Eligibility.ELIGIBLE, "")
            break


async def test_what_the_block_raises_is_raised(cloudflare: Emulator) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with keepalive.hold(account_id=ACCOUNT_ID, script_id="api"):
            raise LookupError("mine")


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"script_id": "api"}, keepalive.ConfigError, "set CLOUDFLARE_ACCOUNT_ID"),
        ({"account_id": "short"}, keepalive.ConfigError, "32 characters"),
        ({"account_id": ACCOUNT_ID, "script_id": "a/b"}, keepalive.TargetError, "has a slash"),
        ({"account_id": ACCOUNT_ID, "credential": "prod"}, keepalive.TargetError, "no credential"),
        ({"account_id": ACCOUNT_ID, "api_token": ""}, keepalive.ConfigError, "CLOUDFLARE_API_TOKEN"),
        ({"account_id": ACCOUNT_ID, "base_url": "http://example.com"}, keepalive.ConfigError, "base_url"),
    ],
)
async def test_what_cannot_be_meant_is_told(given: dict[str, str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=re.escape(said)):
        async with keepalive.hold(**given):
            pytest.fail("it began")


async def test_events_are_logged_by_the_standard_logger(
    cloudflare: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "keepalive")
    async with keepalive.hold(account_id=ACCOUNT_ID, script_id="api") as session, asyncio.timeout(5):
        await session.eligible()
    assert [message.split()[0] for message in caplog.messages] == [
        *("lease.unavailable", "daemon.started", "eligibility.changed", "daemon.ready")
    ]
    assert "emulated-token" not in caplog.text


async def test_a_tail_gives_each_event_once_and_ends_with_its_loop(cloudflare: Emulator) -> None:
    events = []
    async with asyncio.timeout(10):
        async for event in tail(account_id=ACCOUNT_ID, script_id="api"):
            assert isinstance(event, keepalive.Event)
            events.append(event)
            if len(events) == 20:
                break
    assert len({event.event_id for event in events}) == 20
    assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)
    assert {event.script for event in events} == {"api"}
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - tasks set no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("filters", [["level = error"], "level = error"])
async def test_a_tail_takes_filters(cloudflare: Emulator, filters: Sequence[str]) -> None:
    errors = tail(account_id=ACCOUNT_ID, script_id="api", filters=filters)
    async with asyncio.timeout(10), aclosing(errors):
        event = await anext(errors)
    assert isinstance(event, keepalive.Event)
    assert json.loads(event.raw)["$metadata"]["level"] == "error"


async def test_a_tail_that_cannot_begin_says_why(cloudflare: Emulator) -> None:
    with pytest.raises(keepalive.TargetError, match="has a slash; write the Worker's bare name"):
        await anext(tail(account_id=ACCOUNT_ID, script_id="a/b"))


@pytest.mark.parametrize("since", [-1, inf, nan, 86_401])
async def test_a_tail_that_begins_at_no_moment_says_so(cloudflare: Emulator, since: float) -> None:
    with pytest.raises(keepalive.KeepaliveError, match="since is"):
        await anext(tail(account_id=ACCOUNT_ID, script_id="api", since=since))


@pytest.mark.parametrize("name", ["account_id", "script_id"])
async def test_an_empty_name_is_not_taken_for_none(cloudflare: Emulator, name: str) -> None:
    named = {"account_id": ACCOUNT_ID, "script_id": "api", name: ""}
    with pytest.raises(keepalive.TargetError, match=f"{name} is empty"):
        async with keepalive.hold(**named):
            pytest.fail("it holds the whole account")
    assert not cloudflare.requests


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, keepalive; print(*(name for name in sys.modules if name.startswith('keepalive')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) == {"keepalive", "keepalive._version"}


def test_everything_that_is_named_is_there() -> None:
    code = "import keepalive; print(*(type(getattr(keepalive, name)).__name__ for name in keepalive.__all__))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "module" not in ran.stdout.split()
    with pytest.raises(AttributeError, match="nothing"):
        _ = keepalive.nothing


async def test_cloudflares_own_sdk_prepares_what_keepalive_holds(cloudflare: Emulator) -> None:
    [block] = [block for block in BLOCKS if "AsyncCloudflare" in block]
    first_event = written(block, "first_event")

    async with asyncio.timeout(10):
        event = json.loads(await first_event(ACCOUNT_ID, "api"))

    assert event["$workers"]["scriptName"] == "api"
    paths = [arrival.path.rpartition("/")[2] for arrival in cloudflare.requests]
    assert paths[:3] == ["heartbeat", "live-tail", "connect"]


async def test_the_first_examples_of_the_page_do_what_they_say(
    cloudflare: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (block for block in BLOCKS if "def watch" in block)
    async with asyncio.timeout(10):
        await written(first, "watch")(ACCOUNT_ID)
    assert capsys.readouterr().out == f"{ACCOUNT_ID}/api eligible\n"
    watching = asyncio.ensure_future(written(second, "watch")(ACCOUNT_ID))
    async with asyncio.timeout(5):
        while len(cloudflare.requests) < 2:  # noqa: ASYNC110 - the emulator sets no event
            await asyncio.sleep(0.01)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert capsys.readouterr().out == ""


def test_every_argument_of_the_functions_stands_in_the_page() -> None:
    explained = set(re.findall(r"`([a-z_]+)", PAGE))
    for function in (keepalive.hold, tail):
        assert set(inspect.signature(function).parameters) <= explained
