"""The pool over real sockets: what is given up, when, and what is kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from benchmarks.daemon import until
from keepalive.cloudflare.auth import ApiToken
from keepalive.cloudflare.client import CloudflareClient
from keepalive.core.outcome import Accepted, Outcome, Transient
from keepalive.core.target import Target
from tests.cloudflare.servers import Request, Server, reply, served

CREDENTIALS = {"prod": ApiToken(SecretStr("canary-token"))}
TARGET = Target("prod", "0123456789abcdef0123456789abcdef", "api")
SHORT = 0.04


def cause(outcome: Outcome) -> str:
    assert isinstance(outcome, Transient)
    return outcome.fault.cause


@dataclass
class Nat:
    """A server behind something that can forget its connections, or let requests wait."""

    server: Server
    client: CloudflareClient
    seen: list[asyncio.StreamWriter] = field(default_factory=list)
    forgotten: set[asyncio.StreamWriter] = field(default_factory=set)
    losing: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, _: Request, writer: asyncio.StreamWriter) -> None:
        if writer not in self.seen:
            self.seen.append(writer)
        if writer in self.forgotten or self.losing:
            self.losing = False
            return
        await self.open.wait()
        writer.write(reply())

    def forget(self) -> None:
        """All connections of now are dead, without a word."""
        self.forgotten.update(self.seen)

    async def fill(self, count: int) -> None:
        """Open so many connections, idle afterwards."""
        self.open.clear()
        beats = [asyncio.create_task(self.beat()) for _ in range(count)]
        await self.arrivals(count)
        self.open.set()
        assert await asyncio.gather(*beats) == [Accepted()] * count

    async def arrivals(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        await until(lambda: len(self.server.requests) >= count)

    async def beat(self, timeout: float = 5.0) -> Outcome:
        return await self.client.heartbeat(TARGET, timeout=timeout)


@asynccontextmanager
async def behind_nat() -> AsyncIterator[Nat]:
    async def talk(request: Request, writer: asyncio.StreamWriter) -> None:
        await nat.answer(request, writer)

    async with served(talk) as server, CloudflareClient(CREDENTIALS, base_url=server.url) as client:
        nat = Nat(server, client)
        nat.open.set()
        yield nat


async def test_connections_that_died_without_a_word_are_given_up_together_after_one_timeout() -> None:
    async with behind_nat() as nat:
        await nat.fill(5)
        nat.forget()

        assert cause(await nat.beat(SHORT)) == "timeout"
        assert await nat.beat() == Accepted()
        assert nat.client.connections_opened == 6


async def test_new_connections_that_die_too_are_given_up_in_their_turn() -> None:
    async with behind_nat() as nat:
        for spell in range(1, 4):
            assert await nat.beat() == Accepted()
            nat.forget()
            assert cause(await nat.beat(SHORT)) == "timeout"
            assert nat.client.connections_opened == spell


async def test_one_request_that_hangs_costs_the_others_no_connection() -> None:
    async with behind_nat() as nat:
        await nat.fill(3)
        nat.losing = True
        hung = asyncio.create_task(nat.beat(SHORT))
        await nat.arrivals(4)
        assert await nat.beat() == Accepted()
        assert cause(await hung) == "timeout"

        assert [await nat.beat() for _ in range(4)] == [Accepted()] * 4
        assert nat.client.connections_opened == 3


async def test_an_attempt_under_way_is_answered_on_the_connection_that_was_given_up() -> None:
    async with behind_nat() as nat:
        nat.open.clear()
        patient = asyncio.create_task(nat.beat())
        await nat.arrivals(1)
        assert cause(await nat.beat(SHORT)) == "timeout"
        nat.open.set()

        assert await patient == Accepted()
        await until(nat.seen[0].is_closing)
        assert await nat.beat() == Accepted()
        assert nat.client.connections_opened == 3


async def test_the_address_of_a_name_is_asked_for_again_after_a_failed_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve, address = socket.getaddrinfo, "127.0.0.9"
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **named: resolve(address, *rest, **named))

    async with (
        behind_nat() as nat,
        CloudflareClient(CREDENTIALS, base_url=f"http://api.example.test:{nat.server.port}/v4") as client,
    ):
        assert cause(await client.heartbeat(TARGET, timeout=2)) == "connect"
        address = "127.0.0.1"
        assert await client.heartbeat(TARGET, timeout=2) == Accepted()
        address = "127.0.0.9"
        assert await client.heartbeat(TARGET, timeout=2) == Accepted()
