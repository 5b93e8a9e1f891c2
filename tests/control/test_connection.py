"""Connections: what a client may not do, however many of it there are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import cast

import pytest

from keepalive.control import connection, question
from keepalive.control.question import LARGEST_BODY
from tests.control.stage import Stage, read_all, staged, until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 64 << 20
LEASE = b"PUT /v1/leases/ci HTTP/1.1\r\nHost: keepalive\r\n"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def error(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    found = json.loads(body)
    assert found.keys() == {"schema", "error", "hint"}
    assert "\n" not in found["error"]
    return str(found["error"])


# --- what is too slow --------------------------------------------------------------------------


async def test_a_client_that_says_nothing_is_dropped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)

    assert await stage.raw(b"") == b""


async def test_a_head_that_drips_is_dropped_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    reader, writer = await stage.connect()
    begun = monotonic()

    async def drip() -> None:
        while True:
            writer.write(b"X")
            await asyncio.sleep(0.01)

    writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
    dripping = asyncio.create_task(drip())
    assert await read_all(reader) == b""
    assert 0.09 < monotonic() - begun < 2
    dripping.cancel()


async def test_the_next_head_has_to_be_as_quick(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    reader, writer = await stage.connect()
    writer.write(HEALTH)
    assert status(await reader.readuntil(b"}\n")) == 200
    writer.write(b"G")

    assert await read_all(reader) == b""


async def test_an_idle_connection_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.05)
    reader, writer = await stage.connect()
    writer.write(HEALTH)
    assert status(await reader.readuntil(b"}\n")) == 200

    assert await read_all(reader) == b""


async def test_a_connection_serves_several_requests(stage: Stage) -> None:
    reader, writer = await stage.connect()
    for _ in range(3):
        writer.write(HEALTH)
        assert status(await reader.readuntil(b"}\n")) == 200


async def test_a_body_that_does_not_come_is_not_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question, "BODY_SECONDS", 0.05)
    answer = await stage.raw(LEASE + b'Content-Length: 60\r\n\r\n{"targets"', tcp=False)

    assert status(answer) == 408
    assert "was not whole" in error(answer)


async def test_who_does_not_read_a_large_answer_is_dropped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.1)
    stage.metrics.page = b"x" * LARGE
    reader, writer = await stage.connect()
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    reading = cast("asyncio.ReadTransport", writer.transport)
    await reader.read(1)
    reading.pause_reading()
    begun = monotonic()
    await until(lambda: monotonic() > begun + 0.15)
    reading.resume_reading()

    assert len(await read_all(reader, LARGE)) < LARGE / 2


async def test_who_reads_slowly_but_steadily_gets_all_of_it(stage: Stage) -> None:
    stage.metrics.page = b"x" * 3_000_000
    answer = await stage.ask_tcp("/metrics")

    assert len(answer.text) == 3_000_000


# --- what is too much --------------------------------------------------------------------------


async def test_a_gigabyte_is_refused_before_it_is_sent(stage: Stage) -> None:
    answer = await stage.raw(LEASE + b"Content-Length: 1073741824\r\n\r\n", tcp=False)

    assert status(answer) == 413
    assert error(answer) == "the body is over 65,536 bytes"


async def test_a_gigabyte_for_a_probe_is_refused_as_well(stage: Stage) -> None:
    answer = await stage.raw(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n"
    )

    assert status(answer) == 413


async def test_a_body_without_end_is_cut_off(stage: Stage) -> None:
    reader, writer = await stage.connect(tcp=False)
    writer.write(LEASE + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    sent = 0
    answer = asyncio.create_task(read_all(reader))
    while not answer.done() and sent < 200:
        writer.write(chunk)
        try:
            await writer.drain()
        except ConnectionError:
            break
        sent += 1

    assert status(await answer) == 413
    assert sent < 200


async def test_a_body_that_is_just_small_enough_is_read(stage: Stage) -> None:
    body = b'{"targets":["cron"],"ttl_seconds":60}'.ljust(LARGEST_BODY)

    assert (await stage.ask("PUT", "/v1/leases/ci", body)).status == 201
    assert (await stage.ask("PUT", "/v1/leases/ci", body + b" ")).status == 413


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"a" * 1_000_000,
    ],
    ids=["line", "value", "headers", "name"],
)
async def test_a_huge_head_is_refused(stage: Stage, head: bytes) -> None:
    answer = await stage.raw(head)

    assert status(answer) == 400
    assert error(answer) == "the request cannot be understood"


# --- what is no HTTP ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"HELO\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        HEALTH[:-2] + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ],
    ids=["tls", "helo", "version", "length", "smuggling", "colon", "hosts"],
)
async def test_what_is_not_http_is_refused_in_a_line(
    stage: Stage, sent: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await stage.raw(sent)

    assert status(answer) in (400, 403)
    assert error(answer)
    assert capfd.readouterr() == ("", "")


async def test_requests_sent_at_once_are_answered_in_order(stage: Stage) -> None:
    paths = ["/healthz", "/nothing", "/v1/status"] * 20
    sent = b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths)
    reader, writer = await stage.connect()
    writer.write(sent)
    answers = [await reader.readuntil(b"}\n") for _ in paths]

    assert [status(answer) for answer in answers] == [200, 404, 404] * 20


async def test_an_upgrade_is_not_taken_up(stage: Stage) -> None:
    answer = await stage.raw(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        most=100,
    )

    assert status(answer) == 200


async def test_an_http_1_0_probe_without_a_host_is_answered(stage: Stage) -> None:
    answer = await stage.raw(b"GET /healthz HTTP/1.0\r\n\r\n")

    assert status(answer) == 200


# --- crowds ------------------------------------------------------------------------------------


def is_over(connected: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    reader, _ = connected
    return reader.at_eof() or reader.exception() is not None


async def test_a_probe_is_answered_among_clients_that_take_all_places(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = [await stage.connect() for _ in range(3 * connection.PLACES)]
    for _, writer in crowd:
        writer.write(b"GET /healthz HTTP/1.1\r\nX: ")

    assert (await stage.ask_tcp("/healthz")).status == 200
    await until(lambda: sum(map(is_over, crowd)) >= 2 * connection.PLACES)
    assert sum(map(is_over, crowd)) <= 2 * connection.PLACES + 1


async def test_the_one_that_waited_longest_leaves_first(stage: Stage) -> None:
    oldest, *others = [await stage.connect() for _ in range(connection.PLACES)]
    newest = await stage.connect()

    with pytest.raises(ConnectionResetError):  # which leaves no port behind that waits for its minute
        await oldest[0].read()
    for reader, writer in (*others, newest):
        writer.write(HEALTH)
        assert status(await reader.readuntil(b"}\n")) == 200


async def test_nobody_who_is_being_answered_is_sent_away(stage: Stage) -> None:
    body = b'{"targets":["cron"],"ttl_seconds":60}'
    reader, writer = await stage.connect(tcp=False)
    writer.write(LEASE + f"Content-Length: {len(body)}\r\n\r\n".encode())
    await asyncio.sleep(0.01)
    for _ in range(2 * connection.PLACES):
        await stage.connect(tcp=False)
    writer.write(body)

    assert status(await reader.readuntil(b"}\n")) == 201


async def test_beats_go_on_among_clients_of_every_bad_kind(stage: Stage) -> None:
    await asyncio.sleep(0.05)
    crowd = [await stage.connect() for _ in range(200)]
    kinds = (
        b"",
        b"GET /h",
        HEALTH[:-2],
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10,
        b"\xff" * 100,
    )
    for number, (_, writer) in enumerate(crowd):
        writer.write(kinds[number % len(kinds)])
    late = monotonic()
    await asyncio.sleep(0.05)

    assert monotonic() - late < 0.25
    assert stage.probe.health().ok
    assert (await stage.ask("GET", "/v1/status")).json["targets"]["eligible"] == 2
