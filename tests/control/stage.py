"""A daemon's control server on real sockets, with a real scheduler that beats at a fake Cloudflare."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, UnixConnector

from keepalive.cloudflare.client import CloudflareClient
from keepalive.config.configuration import Configuration
from keepalive.control.health import Probe
from keepalive.control.parts import About, Parts
from keepalive.control.server import Control
from keepalive.engine.clock import BootClock
from keepalive.engine.scheduler import Scheduler
from keepalive.leases import Leases
from keepalive.reload import Reload
from keepalive.sinks.history import History
from tests.support.configured import TWO_TARGETS, Folder
from tests.support.virtual import FakeClient, Recorder

Json = dict[str, Any]


class FixedMetrics:
    """A page of metrics that says what was asked for."""

    def __init__(self) -> None:
        self.page = b"# EOF\n"
        self.accepts: list[str] = []

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        self.accepts.append(accept)
        return self.page, "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.text)
        return found


@dataclass
class Stage:
    """What is running, and ways to ask it.

    Attributes:
        text: The configuration, which a reload reads again.
    """

    folder: Folder
    text: str
    told: Recorder = field(default_factory=Recorder)
    fake: FakeClient = field(default_factory=FakeClient)
    metrics: FixedMetrics = field(default_factory=FixedMetrics)
    clock: BootClock = field(default_factory=BootClock)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def __post_init__(self) -> None:
        configuration = self.read()
        self.history = History(self.clock.wall_at)
        self.scheduler = Scheduler(self.fake, self.clock, self.tell, chance=lambda: 0.5)
        self.scheduler.apply(configuration.plan)
        self.reload = Reload(
            configuration,
            self.read,
            scheduler=self.scheduler,
            client=CloudflareClient(configuration.credentials, base_url="http://127.0.0.1:1"),
            clock=self.clock,
            tell=self.tell,
        )
        self.leases = Leases(self.reload, self.clock, self.tell, self.scheduler.keep_leases)
        self.probe = Probe(self.scheduler, self.clock.now, lambda: self.leases.guests)
        self.socket = self.folder.path / "k.sock"
        self.control = self.opens()

    def tell(self, event: Any) -> None:
        self.history(event)
        self.told(event)

    def read(self) -> Configuration:
        return self.folder.read(self.text)

    @property
    def parts(self) -> Parts:
        return Parts(
            about=About(version="1.2.3", config="keepalive.toml", started_at=self.clock.now()),
            heartbeat=lambda: self.reload.configuration.settings.heartbeat,
            scheduler=self.scheduler,
            probe=self.probe,
            clock=self.clock,
            metrics=self.metrics,
            history=self.history,
            leases=self.leases,
            reload=self.reload,
        )

    def opens(self, socket: str | None = None, mode: str = "0600", listen: str = "127.0.0.1:0") -> Control:
        """A control server of these parts."""
        where = str(self.socket) if socket is None else socket
        return Control(self.parts, socket=where, mode=mode, listen=listen, tell=self.tell)

    @property
    def port(self) -> int:
        return int(self.control.addresses["127.0.0.1:0"].rpartition(":")[2])

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask over the socket."""
        async with ClientSession(connector=UnixConnector(str(self.socket))) as client:
            return await _ask(client, method, "http://keepalive" + path, body, headers)

    async def ask_tcp(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask over TCP."""
        async with ClientSession() as client:
            return await _ask(client, method, f"http://127.0.0.1:{self.port}{path}", None, headers)

    async def raw(self, sent: bytes, *, tcp: bool = True, most: int = 1 << 20) -> bytes:
        """Send bytes, and read until the other side ends the connection, or so many came."""
        reader, writer = await self.connect(tcp=tcp)
        writer.write(sent)
        with suppress(ConnectionError):
            await writer.drain()
        return await read_all(reader, most)

    async def connect(self, *, tcp: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that ends with the stage."""
        if tcp:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        else:
            reader, writer = await asyncio.open_unix_connection(str(self.socket))
        self.writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        """End the connections."""
        for writer in self.writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def read_all(reader: asyncio.StreamReader, most: int = 1 << 20) -> bytes:
    found = b""
    with suppress(ConnectionError):
        while len(found) < most and (piece := await reader.read(65_536)):
            found += piece
    return found


async def _ask(
    client: ClientSession,
    method: str,
    url: str,
    body: bytes | Json | None,
    headers: Mapping[str, str] | None,
) -> Answer:
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    async with client.request(method, url, data=data, headers=headers, skip_auto_headers=()) as response:
        return Answer(response.status, dict(response.headers), await response.text())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing here sets an event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(task: Any, name: str = "errand") -> AsyncIterator[None]:
    """An errand for as long as this is entered."""
    errand = asyncio.create_task(task, name=name)
    try:
        yield
    finally:
        errand.cancel()
        with suppress(asyncio.CancelledError):
            await errand


@asynccontextmanager
async def staged(path: Path, text: str = TWO_TARGETS, *, beating: bool = True) -> AsyncIterator[Stage]:
    """A daemon that answers, and beats unless that is left out."""
    stage = Stage(Folder(path), text)
    async with AsyncExitStack() as stack:
        if beating:
            await stack.enter_async_context(running(stage.scheduler.run(), "scheduler"))
        await stack.enter_async_context(running(stage.control.run(), "control"))
        stack.push_async_callback(stage.close)
        await until(lambda: len(stage.control.addresses) == 2)
        yield stage
