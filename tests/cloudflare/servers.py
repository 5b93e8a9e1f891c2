"""Servers on loopback that say exactly what a test wants, byte by byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

SUCCESS = b'{"errors":[],"messages":[{"message":"Successful request"}],"result":{},"success":true}'


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def named(self) -> dict[str, str]:
        names = dict(self.headers)
        assert len(names) == len(self.headers), "a header was sent twice"
        return names


Talk = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    port: int = 0
    scheme: str = "http"
    connections: int = 0
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/client/v4"


def reply(status: int = 200, body: bytes = SUCCESS, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def saying(*replies: bytes) -> Talk:
    """Answer the first request by the first reply, and so on; the last one is repeated."""
    left = list(replies)

    async def talk(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return talk


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    method, path, _ = first.split(" ")
    length = int(dict(headers).get("content-length", "0"))
    return Request(method, path, headers, await reader.readexactly(length))


@asynccontextmanager
async def served(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(scheme="https" if tls else "http")

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        while request := await read_request(reader):
            server.requests.append(request)
            await talk(request, writer)

    async with _listening(converse, tls) as server.port:
        yield server


@asynccontextmanager
async def greeting(words: bytes) -> AsyncIterator[Server]:
    """A server that speaks first, whatever it is spoken to in."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await reader.read()

    async with _listening(converse, None) as port:
        yield Server(port)


@asynccontextmanager
async def tunnelling(port: int, answer: bytes = b"HTTP/1.1 200 Established\r\n\r\n") -> AsyncIterator[Server]:
    """A proxy whose every tunnel ends at one port of loopback, whatever was asked for."""
    proxy = Server()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.connections += 1
        if request := await read_request(reader):
            proxy.requests.append(request)
            writer.write(answer)
            if b" 200 " in answer:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
                finally:
                    far_writer.transport.abort()

    async with _listening(converse, None) as proxy.port:
        yield proxy


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
    writer.close()


@asynccontextmanager
async def _listening(
    converse: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None,
) -> AsyncIterator[int]:
    """Serve on a free port; every conversation is over when the block is left."""
    tasks: set[asyncio.Task[None]] = set()

    async def own(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await converse(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(own, "127.0.0.1", 0, ssl=tls, backlog=256)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tuple(tasks), return_exceptions=True)
        await server.wait_closed()
