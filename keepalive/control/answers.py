"""The answers: what a daemon says to a command. Read strictly; keys that are new to this version are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keepalive.control.client import Daemon, Reply, named, refusal
from keepalive.core.eligibility import Eligibility
from keepalive.errors import DaemonUnreachableError

Json = dict[str, Any]

PAGE = 1000
"""Items of a page: the most that a daemon gives."""


class Said(BaseModel):
    """A JSON object of the socket; moments stay the ISO 8601 texts that they are."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    def as_json(self) -> Json:
        """The object as it came, for programs."""
        return self.model_dump(mode="json", by_alias=True)


class Answer(Said):
    """A whole answer."""

    version_of_schema: Literal[1] = Field(alias="schema")


class Counts(Said):
    """Targets by state."""

    total: int
    pending: int
    eligible: int
    at_risk: int
    lapsed: int
    denied: int
    refused: int

    @property
    def all_eligible(self) -> bool:
        """True while Cloudflare is assumed to stream to every one of them."""
        return self.eligible + self.at_risk == self.total


class Overview(Answer):
    """`GET /v1/status`: the daemon as a whole; `budget_used` is of the rate group that used most, 0 to 1."""

    version: str
    pid: int
    started_at: str
    uptime_seconds: float
    config: str
    healthy: bool
    ready: bool
    reason: str
    draining: bool
    window_seconds: float
    window_calibrated: bool
    targets: Counts
    budget_used: float


class FaultSaid(Said):
    """Why the last attempt of a target was not accepted."""

    cause: str
    detail: str | None = None
    http_status: int | None = None
    error_code: int | None = None
    cf_ray: str | None = None
    hint: str | None = None


class TargetSaid(Said):
    """One target; of `GET /v1/targets`."""

    target: str
    account_id: str
    script_id: str | None
    credential: str
    state: Eligibility
    eligible_for_seconds: float | None
    next_beat_in_seconds: float | None
    failures: int
    fault: FaultSaid | None


class Key(Said):
    """What a breaker reaches to; None where it reaches to all of them."""

    credential: str | None = None
    account_id: str | None = None
    script_id: str | None = None


class BreakerSaid(Said):
    """What is only probed for now."""

    scope: str
    key: Key
    cause: str
    detail: str | None = None
    hint: str | None = None
    since: str


class GroupSaid(Said):
    """One rate group; of `GET /v1/rate_groups`."""

    rate_group: str
    targets: int
    refused: int
    interval_seconds: float
    nominal_interval_seconds: float
    silent_until: str | None
    throttles: int
    breakers: tuple[BreakerSaid, ...]


class TargetPage(Answer):
    """Some targets, and the cursor of those behind them."""

    targets: tuple[TargetSaid, ...]
    next: str | None


class GroupPage(Answer):
    """Some rate groups, and the cursor of those behind them."""

    rate_groups: tuple[GroupSaid, ...]
    next: str | None


class LeaseFields(Said):
    """One lease, with how its targets stand."""

    lease: str
    targets: tuple[TargetSaid, ...]
    ends_at: str
    ends_in_seconds: float


class LeaseSaid(LeaseFields, Answer):
    """`GET` or `PUT /v1/leases/{id}`."""


class LeasePage(Answer):
    """Some leases, and the cursor of those behind them."""

    leases: tuple[LeaseFields, ...]
    next: str | None


class Reloaded(Answer):
    """`POST /v1/reload`: what is in force now, or why the old one stays."""

    reloaded: bool
    targets: int = 0
    added: int = 0
    removed: int = 0
    credentials: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class Loan(Answer):
    """`POST /v1/rate_groups/{name}/calls`: one call is charged, or when to ask again."""

    granted: bool
    retry_after_seconds: float = 0.0
    reason: str = ""


# --- the questions -------------------------------------------------------------------------------

_Answer = TypeVar("_Answer", bound=Answer)


def overview(daemon: Daemon) -> Overview:
    """Ask how the daemon is.

    Raises:
        DaemonUnreachableError: No daemon that this version understands is there; as with all questions.
        DaemonRefusedError: It will not answer; as with all questions.
    """
    return _read(Overview, daemon, daemon.ask("GET", "/v1/status"))


def targets(
    daemon: Daemon, states: Sequence[Eligibility] = (), most: int | None = None
) -> Iterator[TargetSaid]:
    """Ask for the targets in these states, or for all; at most so many, page by page."""
    query = [("state", state.value) for state in states]
    after = None
    while most is None or most > 0:
        limit = PAGE if most is None else min(PAGE, most)
        page = _read(TargetPage, daemon, daemon.ask("GET", _page("/v1/targets", query, limit, after)))
        yield from page.targets
        most = None if most is None else most - len(page.targets)
        after = page.next
        if after is None:
            return


def rate_groups(daemon: Daemon) -> Iterator[GroupSaid]:
    """Ask for every rate group, page by page."""
    after = None
    while True:
        page = _read(GroupPage, daemon, daemon.ask("GET", _page("/v1/rate_groups", [], PAGE, after)))
        yield from page.rate_groups
        after = page.next
        if after is None:
            return


def reload(daemon: Daemon) -> Reloaded:
    """Have it read its configuration again."""
    return _read(Reloaded, daemon, daemon.ask("POST", "/v1/reload"), 200, 422)


def take_lease(
    daemon: Daemon, name: str, targets: Sequence[str], credential: str | None, ttl: float
) -> LeaseSaid:
    """Have it hold targets for so many seconds from now on; asking again renews it."""
    wish: Json = {"targets": list(targets), "ttl_seconds": ttl}
    body = json.dumps(wish | ({"credential": credential} if credential else {})).encode()
    return _read(LeaseSaid, daemon, daemon.ask("PUT", _lease(name), body), 200, 201)


def lease(daemon: Daemon, name: str) -> LeaseSaid:
    """Ask for one lease."""
    return _read(LeaseSaid, daemon, daemon.ask("GET", _lease(name)))


def leases(daemon: Daemon) -> Iterator[LeaseFields]:
    """Ask for every lease, page by page."""
    after = None
    while True:
        page = _read(LeasePage, daemon, daemon.ask("GET", _page("/v1/leases", [], PAGE, after)))
        yield from page.leases
        after = page.next
        if after is None:
            return


def release_lease(daemon: Daemon, name: str) -> None:
    """Have it let go of a lease."""
    if (answer := daemon.ask("DELETE", _lease(name))).status != 204:
        raise refusal(answer)


def _lease(name: str) -> str:
    return f"/v1/leases/{quote(name, safe='')}"


def take_call(daemon: Daemon, group: str) -> Loan:
    """Have it charge one call to a rate group, which is then sent from here."""
    return _read(Loan, daemon, daemon.ask("POST", f"/v1/rate_groups/{quote(group, safe='')}/calls"))


def _page(path: str, query: Sequence[tuple[str, str]], limit: int, after: str | None) -> str:
    cursor = [("after", after)] if after is not None else []
    return f"{path}?{urlencode([*query, ('limit', str(limit)), *cursor])}"


def _read(model: type[_Answer], daemon: Daemon, reply: Reply, *expected: int) -> _Answer:
    if reply.status not in (expected or (200,)):
        raise refusal(reply)
    try:
        return model.model_validate_json(reply.body)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        where = named(daemon.address) if daemon.address else "the daemon"
        found = f"{where} answered what this version does not understand ({key or 'no JSON object'})"
        hint = "start the daemon again in this version, or name its socket with --socket"
        raise DaemonUnreachableError(found, hint) from None
