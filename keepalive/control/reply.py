"""A reply: JSON that is sent in pieces, so that a client that reads slowly holds little of it in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from aiohttp import web

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

SCHEMA = 1
"""Within a schema keys are only added."""

_PIECE = 65_536
_HEADERS = {"Server": "keepalive", "Cache-Control": "no-store"}


class Reply(web.StreamResponse):
    """What a request is answered. Its body is there as a whole, and is sent no faster than it is read."""

    def __init__(
        self,
        *body: bytes,
        status: int = 200,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status=status, headers={**_HEADERS, **(headers or {})})
        self._left = body
        if body:
            self.headers["Content-Type"] = content_type
            self.content_length = sum(map(len, body))

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body, where that has not been done, and end it."""
        left, self._left = self._left, ()
        for piece in _cut(left):
            await self.write(piece)
        await super().write_eof(data)

    def leave_out_body(self) -> None:
        """Send only the head: the answer to HEAD."""
        self._left = ()


def encode(value: Json) -> bytes:
    """JSON as it goes over the wire."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def reply(value: Mapping[str, Json], *, status: int = 200) -> Reply:
    """An object with the number of its schema."""
    return Reply(encode({"schema": SCHEMA, **value}), b"\n", status=status)


def listing(name: str, items: Sequence[bytes], following: str | None) -> Reply:
    """A page of objects that are JSON already: one by one they never hold the loop for long."""
    opening = f'{{"schema":{SCHEMA},"{name}":['.encode()
    return Reply(opening, b",".join(items), b'],"next":' + encode(following) + b"}\n")


def refusal(status: int, error: str, hint: str, headers: Mapping[str, str] | None = None) -> Reply:
    """What went wrong, in one line, and what to do about it."""
    body = encode({"schema": SCHEMA, "error": error, "hint": hint})
    return Reply(body, b"\n", status=status, headers=headers)


def _cut(body: Sequence[bytes]) -> Iterator[memoryview]:
    for part in body:
        view = memoryview(part)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]
