"""A query: what was logged in a time that is over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from keepalive.cloudflare.filters import filters_within
from keepalive.cloudflare.telemetry import FrameError, events_in, exactly, written
from keepalive.core.outcome import Accepted, Fault, Transient
from keepalive.core.target import Scope, Target
from keepalive.core.telemetry import Page, Question

LARGEST_REPLY = 4 * 1024 * 1024
"""Bytes of a reply that are read; whoever asked for too much asks again for less."""

_QUERY_ID = "keepalive"
"""Names no saved query: any id serves where the parameters are given."""

_DATASET = "cloudflare-workers"


def request(target: Target, question: Question) -> bytes:
    """Write the body of a query.

    The API wants a time that begins before it ends: one millisecond is asked for with the next one.
    """
    asked: dict[str, object] = {
        "queryId": _QUERY_ID,
        "timeframe": {"from": question.begin, "to": max(question.end, question.begin + 1)},
        "view": "events",
        "limit": question.limit,
        "parameters": {"datasets": [_DATASET], **filters_within(target.script_id, question.wanted)},
    }
    if question.offset is not None:
        asked |= {"offset": question.offset, "offsetDirection": "prev" if question.newer else "next"}
    return json.dumps(asked, separators=(",", ":")).encode()


class Opened(NamedTuple):
    """A reply, parsed once.

    Attributes:
        envelope: What of it says whether it is accepted, or all of it where that cannot be told apart.
        result: What it holds.
    """

    envelope: bytes
    result: object = None


def opened(body: bytes) -> Opened:
    """Take a reply's envelope off.

    Events may hold what the judge's parser refuses, such as half an emoji or two hundred levels of
    nesting: one line that a Worker logged must not make a whole page unreadable.
    """
    try:
        reply = exactly(body)
        if isinstance(reply, dict):
            said = {key: reply[key] for key in ("success", "errors") if key in reply}
            return Opened(written(said).encode(), reply.get("result"))
    except FrameError:
        pass
    return Opened(body)


def page(accepted: Accepted, result: object) -> Page | Transient:
    """Read what an accepted query found.

    A result that does not show its events is never taken for a time without any, unless it counts none.
    """
    found = _inner(result, "events")
    values = found.get("events")
    if values is None and found.get("count") == 0:
        return Page(())
    try:
        return Page(tuple(events_in(values)))
    except FrameError as error:
        fault = Fault("not_accepted", f"a reply with {error.reason}", 200, cf_ray=accepted.cf_ray)
        return Transient(fault, Scope.TARGET)


def _inner(value: object, key: str) -> Mapping[str, object]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}
