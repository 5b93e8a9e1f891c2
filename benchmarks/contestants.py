"""The contestants: what a user could take to send heartbeats, each a process that sends them for ever.

Every one of them has `AT_ONCE` targets and beats each again as soon as it was answered, so that as many
heartbeats are under way at a time. `python -m benchmarks.contestants NAME` is what the contest starts.
"""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from benchmarks.fleet import ACCOUNT_ID

AT_ONCE = 64
"""Targets, and so heartbeats under way at a time."""

SCRIPTS = tuple(f"script-{number}" for number in range(AT_ONCE))
TOKEN = "token-of-user0"  # noqa: S105 - the origin asks nobody who he is

INTERVAL = 0.004
"""Seconds between two heartbeats of a target that are asked of keepalive: sooner than any client can."""

CONFIG = f"""\
[heartbeat]
interval = "1s"
[cloudflare]
base_url = "BASE_URL"
max_requests_per_second = 1000000
[credentials.user0]
api_token = "{TOKEN}"
[rate_groups.default]
requests = 250000
period = "10s"
[[targets]]
account_id = "{ACCOUNT_ID}"
scripts = [{", ".join(f'"{script}"' for script in SCRIPTS)}]
[state]
path = "state.db"
[http]
listen = "127.0.0.1:0"
[control]
socket = "control.sock"
[log]
format = "json"
"""
"""Everything is on: metrics, events, state and budget; nothing of it holds a heartbeat back."""


def bare_aiohttp(base_url: str) -> None:
    """What a user writes: a loop for each target around one session of aiohttp."""
    from aiohttp import ClientSession  # noqa: PLC0415 - a contestant imports what it uses, and nothing else

    url = f"{base_url}/accounts/{ACCOUNT_ID}/workers/observability/telemetry/live-tail/heartbeat"

    async def beat(session: ClientSession, script: str) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        while True:
            async with session.post(url, json={"scriptId": script}, headers=headers) as answer:
                answer.raise_for_status()
                await answer.json()

    async def main() -> None:
        async with ClientSession() as session, asyncio.TaskGroup() as tasks:
            for script in SCRIPTS:
                tasks.create_task(beat(session, script))

    asyncio.run(main())


def official_sync(base_url: str) -> None:
    """Cloudflare's SDK, one heartbeat after the other."""
    from cloudflare import Cloudflare  # noqa: PLC0415 - as above

    client = Cloudflare(api_token=TOKEN, base_url=base_url)
    for script in cycle(SCRIPTS):
        client.workers.observability.telemetry.live_tail_heartbeat(account_id=ACCOUNT_ID, script_id=script)


def official_async(base_url: str, *, by_aiohttp: bool = False) -> None:
    """Cloudflare's SDK, a loop for each target, by httpx or by aiohttp."""
    from cloudflare import AsyncCloudflare, DefaultAioHttpClient  # noqa: PLC0415 - as above

    async def beat(client: AsyncCloudflare, script: str) -> None:
        telemetry = client.workers.observability.telemetry
        while True:
            await telemetry.live_tail_heartbeat(account_id=ACCOUNT_ID, script_id=script)

    async def main() -> None:
        transport = DefaultAioHttpClient() if by_aiohttp else None
        async with (
            AsyncCloudflare(api_token=TOKEN, base_url=base_url, http_client=transport) as client,
            asyncio.TaskGroup() as tasks,
        ):
            for script in SCRIPTS:
                tasks.create_task(beat(client, script))

    asyncio.run(main())


def keepalive(base_url: str, *, speed: bool = False) -> None:
    """The real `keepalive run`, but for its interval: no configuration may ask for so short a one.

    Args:
        base_url: Where the API is.
        speed: Whether what the extra `speed` installs is there.
    """
    if not speed:
        without_speed()
    from keepalive import app, cli  # noqa: PLC0415 - as above
    from keepalive.config import Configuration  # noqa: PLC0415 - as above

    real = app.run

    async def driven(configuration: Configuration, *rest: Any, **named: Any) -> None:
        plan = {
            name: replace(group, policy=replace(group.policy, interval=INTERVAL))
            for name, group in configuration.plan.items()
        }
        await real(replace(configuration, plan=plan), *rest, **named)

    app.run = cast("Any", driven)
    file = Path("keepalive.toml")
    file.touch(0o600)
    file.write_text(CONFIG.replace("BASE_URL", base_url), encoding="utf-8")
    sys.argv[1:] = ["run", "--config", str(file.absolute())]
    cli.main()


def without_speed() -> None:
    """Let it be as if the extra `speed` was not installed, in this process."""
    sys.modules.update(dict.fromkeys(("uvloop", "orjson"), cast("Any", None)))


class _RawLine(asyncio.Protocol):
    """Sends one heartbeat, and the next when its answer has come."""

    def __init__(self, request: bytes) -> None:
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write
        self._write(self._request)

    def data_received(self, _data: bytes) -> None:
        self._write(self._request)


def ceiling(base_url: str) -> None:
    """No client at all: the same bytes again and again. What the server and this machine can."""
    import ssl  # noqa: PLC0415 - as above

    import uvloop  # noqa: PLC0415 - as above

    split = urlsplit(base_url)
    body = b'{"scriptId":"script-0"}'
    path = f"{split.path}/accounts/{ACCOUNT_ID}/workers/observability/telemetry/live-tail/heartbeat"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {split.netloc}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )

    async def main() -> None:
        loop, request = asyncio.get_running_loop(), head.encode() + body
        tls = ssl.create_default_context() if split.scheme == "https" else None
        for _ in range(AT_ONCE):
            await loop.create_connection(lambda: _RawLine(request), "127.0.0.1", split.port or 0, ssl=tls)
        await asyncio.Event().wait()

    uvloop.run(main())


CONTESTANTS: Mapping[str, Callable[[str], None]] = {
    "bare": bare_aiohttp,
    "keepalive": keepalive,
    "keepalive-speed": lambda base_url: keepalive(base_url, speed=True),
    "sdk-sync": official_sync,
    "sdk-async": official_async,
    "sdk-async-aiohttp": lambda base_url: official_async(base_url, by_aiohttp=True),
    "ceiling": ceiling,
}


def main() -> None:
    """Beat until killed."""
    parser = ArgumentParser(prog="python -m benchmarks.contestants", description=__doc__)
    parser.add_argument("name", choices=CONTESTANTS)
    parser.add_argument("base_url")
    parser.add_argument("folder", type=Path, help="the working directory, and the home")
    asked = parser.parse_args()
    os.chdir(asked.folder)
    CONTESTANTS[asked.name](asked.base_url)


if __name__ == "__main__":
    main()
