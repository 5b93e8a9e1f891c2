"""A question: what a request asks for, read and checked before anybody acts on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiohttp import web
from multidict import MultiMapping

from keepalive.config.wording import quote
from keepalive.control.connection import BODY_SECONDS
from keepalive.control.pages import DEFAULT_LIMIT, LARGEST_LIMIT, Cursor
from keepalive.core.eligibility import Eligibility
from keepalive.core.target import Target
from keepalive.errors import RequestError

LARGEST_BODY = 65_536
"""Bytes: a lease of a thousand targets takes most of it where scripts have long names."""

_EXAMPLE = '{"targets": ["ACCOUNT/SCRIPT"], "ttl_seconds": 600}'
_FOR_EVER = 1e9
_PAGING = ("limit", "after")
_FILTERS = ("credential", "account_id", "script_id", "rate_group")


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is asked for."""

    limit: int
    after: Cursor | None

    @classmethod
    def read(cls, query: MultiMapping[str], *others: str) -> Paging:
        """Read `limit` and `after`; `others` are further parameters that the caller reads.

        Raises:
            RequestError: One of them is wrong, or there is one that nobody knows.
        """
        _check_known(query, (*_PAGING, *others))
        after = query.get("after", "")
        return cls(read_limit(query), Cursor.read(after) if after else None)


def read_limit(query: MultiMapping[str], *, only: bool = False) -> int:
    """Read `limit`; `only` where there is no other parameter.

    Raises:
        RequestError: It is no number from 1 to 1,000, or something else is given.
    """
    if only:
        _check_known(query, ("limit",))
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= LARGEST_LIMIT):
        raise RequestError(400, f"`limit` is {quote(text)}", f"write a number from 1 to {LARGEST_LIMIT:,}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which targets are asked for; None where it does not matter. An empty script is the whole account."""

    states: frozenset[Eligibility] | None
    credential: str | None
    account_id: str | None
    script_id: str | None
    rate_group: str | None

    @classmethod
    def read(cls, query: MultiMapping[str]) -> Filter:
        """Read it.

        Raises:
            RequestError: A state is unknown.
        """
        states = frozenset(map(_state, query.getall("state", [])))
        return cls(states or None, *(query.get(name) for name in _FILTERS))

    def names(self, target: Target) -> bool:
        """Whether a target is asked for, its state aside."""
        return (
            self.credential in (None, target.credential)
            and self.account_id in (None, target.account_id)
            and self.script_id in (None, target.script_id or "")
        )

    def wants(self, state: Eligibility) -> bool:
        """Whether those in this state are asked for."""
        return self.states is None or state in self.states


FILTER_PARAMETERS = ("state", *_FILTERS)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to lease, for how many seconds."""

    targets: tuple[str, ...]
    credential: str | None
    ttl: float

    @classmethod
    def read(cls, body: bytes) -> Wish:
        """Read it from JSON.

        Raises:
            RequestError: It is none, says what to write instead.
        """
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise RequestError(400, "the body is no JSON", f"send {_EXAMPLE}") from None
        match found:
            case {"targets": list(targets), "ttl_seconds": int() | float() as ttl, **others} if (
                not isinstance(ttl, bool)
                and abs(ttl) < _FOR_EVER
                and all(isinstance(t, str) for t in targets)
            ):
                credential = others.pop("credential", None)
                if not others and (credential is None or isinstance(credential, str)):
                    return cls(tuple(targets), credential, float(ttl))
        hint = f'send {_EXAMPLE}, and "credential" where there are several'
        raise RequestError(400, "the body is no lease", hint)


async def read_body(request: web.Request) -> bytes:
    """The whole body.

    Raises:
        RequestError: It is too large, or does not come in time.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        found = f"the body was not whole within {BODY_SECONDS:g} s"
        raise RequestError(408, found, "send as many bytes as Content-Length says, at once") from None
    except web.RequestPayloadError:
        raise RequestError(
            400, "the body cannot be read", "mend its encoding, or give Content-Length"
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None


def too_large() -> RequestError:
    """Nobody has to send as much as that."""
    return RequestError(413, f"the body is over {LARGEST_BODY:,} bytes", "take several leases instead")


def check_parameters(query: Mapping[str, str]) -> None:
    """Let no parameter pass where none is known.

    Raises:
        RequestError: There is one.
    """
    _check_known(query, ())


def _check_known(query: Mapping[str, str] | MultiMapping[str], known: Collection[str]) -> None:
    for name in query:
        if name not in known:
            hint = f"it may be {', '.join(f'`{each}`' for each in known)}" if known else "leave it out"
            raise RequestError(400, f"there is no parameter {quote(name)}", hint)


def _state(text: str) -> Eligibility:
    try:
        return Eligibility(text)
    except ValueError:
        hint = f"write one of {', '.join(Eligibility)}, and `state` again for another"
        raise RequestError(400, f"`state` is {quote(text)}", hint) from None
