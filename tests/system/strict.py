"""A strict server: it reads raw bytes, and refuses every request that is not exactly the reference's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

_USER_AGENT = re.compile(r"keepalive/\d+\.\d+\.\d+\S* \(\+https://[!-~]+\)")
_ACCEPTED = b'{"errors":[],"messages":[{"message":"Successful request"}],"result":{},"success":true}'
_REFUSED = b'{"errors":[{"code":6003,"message":"Invalid request headers"}],"result":null,"success":false}'


class Heartbeat(NamedTuple):
    """All that may differ between two heartbeats."""

    account_id: str
    auth: frozenset[tuple[str, str]]
    body: bytes


class StrictServer:
    """Accepts the heartbeats that are due, each once.

    Attributes:
        due: The heartbeats that have not come yet.
        complaints: What was wrong with the requests that were refused.
        base_url: Where it listens.
    """

    def __init__(self, due: Iterable[Heartbeat]) -> None:
        self.due = set(due)
        self.complaints: list[str] = []
        self.base_url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client ends it."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                wrong = list(self._judge(head.decode("latin-1"), body))
                self.complaints += wrong
                content = _REFUSED if wrong else _ACCEPTED
                status = b"400 Bad Request" if wrong else b"200 OK"
                length_line = b"Content-Length: %d" % len(content)
                lines = (b"HTTP/1.1 " + status, b"Content-Type: application/json", length_line, b"", content)
                writer.write(b"\r\n".join(lines))
                await writer.drain()
        writer.close()

    def _judge(self, head: str, body: bytes) -> Iterable[str]:
        request, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        found = re.fullmatch(
            "POST /client/v4/accounts/([0-9a-f]{32})/workers/observability/telemetry/live-tail/heartbeat"
            " HTTP/1.1",
            request,
        )
        if found is None:
            yield f"the request line {request!r}"
            return
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        fixed = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Host": self.base_url.split("/")[2],
        }
        for name, value in fixed.items():
            if headers.count((name, value)) != 1:
                yield f"{name} is not exactly {value!r}"
        agents = [value for name, value in headers if name == "User-Agent"]
        if len(agents) != 1 or not _USER_AGENT.fullmatch(agents[0]):
            yield f"User-Agent is {agents}"
        auth = [(name, value) for name, value in headers if name not in fixed and name != "User-Agent"]
        heartbeat = Heartbeat(found[1], frozenset(auth), body)
        if len(set(auth)) != len(auth) or heartbeat not in self.due:
            yield f"{heartbeat} is not due"
        self.due.discard(heartbeat)


@asynccontextmanager
async def strict_server(due: Iterable[Heartbeat]) -> AsyncIterator[StrictServer]:
    """A strict server that listens for as long as this is entered."""
    strict = StrictServer(due)
    listener = await asyncio.start_server(strict.answer, "127.0.0.1")
    port = listener.sockets[0].getsockname()[1]
    strict.base_url = f"http://127.0.0.1:{port}/client/v4"
    try:
        yield strict
    finally:
        listener.close()
        await listener.wait_closed()
