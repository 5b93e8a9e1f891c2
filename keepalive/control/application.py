"""The application: which routes there are, and what becomes of a request that none of them can answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from aiohttp import web

from keepalive.control.connection import Connection
from keepalive.control.hosts import is_ours
from keepalive.control.question import LARGEST_BODY, too_large
from keepalive.control.reply import Reply, refusal
from keepalive.errors import RequestError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_UNREAD = frozenset({403, 408, 413})
"""Refusals after which the connection ends: whatever else comes there would have to be read first."""


def application(routes: Iterable[web.RouteDef], names: frozenset[str], elsewhere: str) -> web.Application:
    """Answer by these routes, and in a line of JSON where there is none.

    Args:
        routes: Who answers what.
        names: The hosts that a request may ask for.
        elsewhere: What to do instead of asking for a path that is not there.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, Connection):
            raise TypeError(f"a {type(connection).__name__} knows no limits")
        connection.begin()
        try:
            answered = await _answered(request, handler, names, elsewhere)
            if request.method == "HEAD" and isinstance(answered, Reply):
                answered.leave_out_body()
            connection.send()
            with suppress(ConnectionError):
                await answered.prepare(request)
                await answered.write_eof()
        finally:
            connection.end()
        return answered

    served = web.Application(client_max_size=LARGEST_BODY, middlewares=[answer])
    served.add_routes(routes)
    return served


async def _answered(
    request: web.Request, handler: Handler, names: frozenset[str], elsewhere: str
) -> web.StreamResponse:
    """What a handler says, or in one line why there is no answer."""
    try:
        _check(request, names)
        return await handler(request)
    except RequestError as error:
        refused = refusal(error.status, error.found, error.hint)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        refused = refusal(405, f"{request.method} is not for this path", f"use {allowed}", {"Allow": allowed})
    except web.HTTPException as error:
        refused = refusal(error.status, "there is nothing at this path", elsewhere)
    except Exception as error:  # noqa: BLE001 - a bug in an answer must not stop the heartbeats
        refused = refusal(500, f"{type(error).__name__} in the answer", "please report it")
    if refused.status in _UNREAD:
        refused.force_close()
    return refused


def _check(request: web.Request, names: frozenset[str]) -> None:
    if not is_ours(request.headers.getall("Host", []), names):
        raise RequestError(403, "the Host header names another machine", "ask by address, or by localhost")
    if (request.content_length or 0) > LARGEST_BODY:
        raise too_large()
