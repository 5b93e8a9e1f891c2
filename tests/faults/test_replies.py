"""What Cloudflare, or something in its place, may answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from keepalive.core.eligibility import Eligibility
from tests.cloudflare.servers import SUCCESS, Request, Talk, reply, saying, served
from tests.faults.bench import holding
from tests.faults.conftest import Figure

pytestmark = pytest.mark.looptime


def envelope(code: int, message: str = "no") -> bytes:
    errors = [{"code": code, "message": message}]
    return json.dumps({"success": False, "errors": errors, "result": None}).encode()


def turning(bad: bytes, times: int) -> Talk:
    """Well at first, then so many bad answers, then well again."""
    return saying(reply(), *[bad] * times, reply())


EDGE = (520, 521, 522, 523, 524, 525, 526, 530)
PAGE = b"<!doctype html><title>Sign in</title>"
BAD = {
    **{str(status): reply(status, envelope(0)) for status in (408, 409, 425, 500, 502, 503, 504)},
    **{f"edge-{status}": reply(status, b"<html>error code</html>") for status in EDGE},
    "html-200": reply(200, PAGE),
    "success-false": reply(200, envelope(0)),
    "no-success": reply(200, b"{}"),
    "array": reply(200, b"[true]"),
    "empty": reply(200, b""),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "truncated": reply(200, SUCCESS[:40]),
    "nested": reply(200, b"[" * 30_000 + b"]" * 30_000),
    "not-utf-8": reply(200, b'{"success":true,"x":"\xff\xfe"}'),
    "huge": reply(200, b" " * 1_048_576 + SUCCESS),
    "not-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "bad-header": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "long-header": reply(200, SUCCESS, X_Long="x" * 100_000),
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n" + SUCCESS,
}
REFUSALS = {
    **{
        f"{status}-{code}": reply(status, envelope(code))
        for status, code in (
            *((400, 6003), (400, 6111), (400, 7003), (404, 7000), (401, 10000), (403, 10000)),
            *((401, 9109), (403, 9109), (404, 10007), (404, 10090)),
        )
    },
    "html-403": reply(403, PAGE),
}


@pytest.mark.parametrize("bad", REFUSALS.values(), ids=REFUSALS)
async def test_two_refusals_cost_nobody_the_lease(bad: bytes, figure: Figure) -> None:
    async with served(turning(bad, 2)) as server, holding(server.url) as bench:
        await bench.renewed()
        await bench.failed(2)
        await bench.renewed()

    assert bench.became(Eligibility.DENIED, Eligibility.LAPSED) == []
    figure(*bench.outlived())


async def test_a_refusal_is_believed_at_the_third_time_and_probed_until_it_ends(figure: Figure) -> None:
    async with served(turning(REFUSALS["401-10000"], 6)) as server, holding(server.url) as bench:
        await bench.renewed()
        await bench.failed(3)
        assert len(bench.became(Eligibility.DENIED)) == 1
        await bench.renewed()

    assert len(bench.failures) == 6
    figure(*bench.outlived())


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_bad_reply_is_outlived(bad: bytes, figure: Figure) -> None:
    async with served(turning(bad, 2)) as server, holding(server.url) as bench:
        await bench.renewed()
        await bench.failed(2)
        await bench.renewed()

    assert bench.became(Eligibility.DENIED, Eligibility.LAPSED) == []
    assert not any("token-of-prod" in str(event) for event in bench.told.events)
    figure(*bench.outlived())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int, figure: Figure) -> None:
    away = reply(status, b"", Location="/elsewhere")
    async with served(turning(away, 2)) as server, holding(server.url) as bench:
        await bench.renewed()
        await bench.failed(2)
        await bench.renewed()

    assert {request.path for request in server.requests} == {server.requests[0].path}
    assert bench.became(Eligibility.LAPSED) == []
    figure("0 of {} requests went elsewhere", len(server.requests))


async def test_a_server_that_quotes_the_secret(figure: Figure) -> None:
    async def quoting(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(401, envelope(10000, request.named()["authorization"])))

    async with served(quoting) as server, holding(server.url) as bench:
        await bench.failed(2)

    assert not any("token-of-prod" in repr(event) for event in bench.told.events)
    figure("the secret is in 0 of {} events", len(bench.told.events))


async def test_a_slow_drip(figure: Figure) -> None:
    slow = True

    async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
        answer = reply()
        if slow and bench.renewals:
            for index in range(len(answer)):
                writer.write(answer[index : index + 1])
                await asyncio.sleep(0.05)
        writer.write(answer)

    async with served(drip) as server, holding(server.url) as bench:
        await bench.renewed()
        await bench.failed()
        slow = False
        await bench.renewed()

    assert bench.causes == {"timeout"}
    assert bench.became(Eligibility.LAPSED) == []
    figure(*bench.outlived())


async def test_a_server_that_never_answers(figure: Figure) -> None:
    silent = True

    async def mute(_: Request, writer: asyncio.StreamWriter) -> None:
        if not (silent and bench.renewals):
            writer.write(reply())

    async with served(mute) as server, holding(server.url) as bench:
        await bench.renewed()
        await bench.failed()
        silent = False
        await bench.renewed()

    assert bench.causes == {"timeout"}
    assert bench.became(Eligibility.LAPSED) == []
    figure(*bench.outlived())
