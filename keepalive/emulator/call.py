"""A call: one request as it arrived, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from keepalive.emulator.standing import Place


class Route(StrEnum):
    """The kinds of path that the emulator knows; `unknown` is everything else."""

    HEARTBEAT = "heartbeat"
    PREPARE = "prepare"
    QUERY = "query"
    VERIFY = "verify"
    STREAM = "stream"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        at: When it had arrived with its whole body, in emulated seconds since the start.
        wall_ms: The same moment as Unix time in milliseconds.
        method: The HTTP method.
        path: The path as it was sent, escapes kept, without the query string.
        query: The parameters of the query string. The stream's holds a secret key.
        headers: Names in lower case. They hold the caller's secret: never print them.
        body: As sent.
        address: The caller's address.
    """

    at: float
    wall_ms: int
    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    address: str


@dataclass(frozen=True, slots=True)
class Whence:
    """Who asks for what, as far as the request tells: what faults aim at."""

    route: Route
    user: str | None = None
    account_id: str | None = None
    script_id: str | None = None

    @property
    def place(self) -> Place | None:
        """Whom a heartbeat from here would speak for; None where user or account is unknown."""
        if self.user is None or self.account_id is None:
            return None
        return Place(self.user, self.account_id, self.script_id)


@dataclass(frozen=True, slots=True)
class Arrival:
    """The record of one request and its verdict.

    Attributes:
        at: When it had arrived, in emulated seconds since the start.
        method: The HTTP method.
        path: The path as it was sent, without the query string.
        headers: Names in lower case; kept out of the repr because they hold the caller's secret.
        body: As sent.
        route: Which kind of path it asked for.
        user: Whose credential signed it; None if nobody's.
        account_id: The account in its path.
        script_id: The script in its body; None for the whole account.
        status: The status that was answered; None where the caller got no answer.
        code: Cloudflare's error code in the answer.
        retry_after: The header `Retry-After` of the answer, in seconds of real time.
        fault: The kind of fault that was played, where one was.
    """

    at: float
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    route: Route
    user: str | None
    account_id: str | None
    script_id: str | None
    status: int | None
    code: int | None = None
    retry_after: int | None = None
    fault: str | None = None

    @property
    def accepted(self) -> bool:
        """True when a plain success was sent back, whole."""
        return self.status is not None and self.status < 300 and self.fault is None
