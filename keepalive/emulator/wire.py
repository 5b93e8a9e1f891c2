"""The wire: replies as HTTP, and what a fault does to them on the way."""

from __future__ import annotations

import asyncio
import socket
import struct
from math import ceil, inf
from typing import cast

from aiohttp import web

from keepalive.emulator.api import Verdict
from keepalive.emulator.faults import Fault, FaultKind
from keepalive.emulator.reply import Reply

HUGE_BYTES = 8 * 1024 * 1024
DRIP_SECONDS = 10.0
_DRIPS = 40
_SPOILING = frozenset({FaultKind.DRIP, FaultKind.TRUNCATE, FaultKind.HUGE})
_CHUNK = b" " * 65536


class Slammed(asyncio.Protocol):
    """A connection that is reset as soon as it is accepted: what a client meets in an outage."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Reset it."""
        reset(cast("asyncio.Transport", transport))  # uvloop's are none by name


def reset(transport: asyncio.Transport) -> None:
    """Drop a connection with a TCP reset, not with a polite end."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def headers(verdict: Verdict, *, ray: str, time_factor: float) -> dict[str, str]:
    """Build the headers of a reply. The client lives in real time: all seconds are divided by the factor.

    Args:
        verdict: The call's verdict.
        ray: The request's `cf-ray`.
        time_factor: Emulated seconds in a real one.
    """
    lines = {"cf-ray": ray}
    if reading := verdict.reading:
        quota, reset_in = reading.quota, ceil(reading.reset_in / time_factor)
        lines["Ratelimit"] = f'"default";r={reading.remaining};t={reset_in}'
        lines["Ratelimit-Policy"] = f'"default";q={quota.requests};w={ceil(quota.period / time_factor)}'
    if verdict.reply and (seconds := retry_after(verdict.reply, time_factor)) is not None:
        lines["Retry-After"] = str(seconds)
    if verdict.reply and verdict.reply.location:
        lines["Location"] = verdict.reply.location
    return lines


def retry_after(reply: Reply, time_factor: float) -> int | None:
    """The header `Retry-After` in whole seconds of real time, rounded up, or None for no such header."""
    return None if reply.retry_after is None else ceil(reply.retry_after / time_factor)


async def pause(seconds: float) -> None:
    """Sleep; for ever when the time is infinite, which not every event loop can count down."""
    await (asyncio.Event().wait() if seconds == inf else asyncio.sleep(seconds))


async def send(
    request: web.BaseRequest, verdict: Verdict, lines: dict[str, str], time_factor: float
) -> web.StreamResponse:
    """Send a verdict's reply the way its fault lets it through; without a reply, never answer."""
    reply, fault = verdict.reply, verdict.fault
    if reply is None:
        return await _swallow(request, fault, time_factor)
    if fault is not None and fault.kind in _SPOILING:
        return await _spoil(request, reply, fault, lines, time_factor)
    return web.Response(
        status=reply.status, body=reply.body, headers={**lines, "Content-Type": reply.content_type}
    )


async def _swallow(request: web.BaseRequest, fault: Fault | None, time_factor: float) -> web.StreamResponse:
    """End the connection at once, after the fault's seconds, or never."""
    if fault is not None and fault.kind is not FaultKind.BLACK_HOLE:
        if fault.kind is FaultKind.HANG:
            await pause(inf if fault.seconds is None else fault.seconds / time_factor)
        if request.transport is not None:
            reset(request.transport)
    return await _lost()


async def _spoil(
    request: web.BaseRequest, reply: Reply, fault: Fault, lines: dict[str, str], time_factor: float
) -> web.StreamResponse:
    """Send a reply that no client should take for whole, or wait for."""
    response = web.StreamResponse(status=reply.status, headers={**lines, "Content-Type": reply.content_type})
    size = len(reply.body)
    response.content_length = size + HUGE_BYTES if fault.kind is FaultKind.HUGE else size
    await response.prepare(request)
    match fault.kind:
        case FaultKind.TRUNCATE:
            await response.write(reply.body[: size // 2])
            if request.transport is not None:
                request.transport.close()
            return await _lost()
        case FaultKind.HUGE:
            for _ in range(HUGE_BYTES // len(_CHUNK)):
                await response.write(_CHUNK)
            await response.write(reply.body)
        case _:
            step = ceil(size / _DRIPS)
            starts = range(0, size, step)
            for start in starts:
                await asyncio.sleep((fault.seconds or DRIP_SECONDS) / time_factor / len(starts))
                await response.write(reply.body[start : start + step])
    await response.write_eof()
    return response


async def _lost() -> web.StreamResponse:
    """Wait until the connection is lost: that cancels the task of its request."""
    gone: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await gone
