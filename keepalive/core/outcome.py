"""An outcome: how one attempt ended. Always a value, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from keepalive.core.target import Scope, Target


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a reply said of the quota: what is left of it, how large it is, or both.

    Attributes:
        remaining: Requests left until the reset, at least 0, where the reply names them.
        reset_in: Seconds until the quota is full again; above 0 and at most a day; 0 where it is not named.
        requests: Size of the quota, where the reply names it.
        period: Seconds that the quota spans, where the reply names it.
    """

    remaining: int | None = None
    reset_in: float = 0.0
    requests: int | None = None
    period: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt was not accepted, for logs and people.

    It holds no secret, and no text of the server's longer than 200 characters.

    Attributes:
        cause: A stable word for programs: `timeout`, `connect`, `reset`, `tls`, `dns`, `http_503`,
            `not_json`, `not_accepted`, `too_large`, `redirect`, `throttled`, `authentication` …
        detail: What was seen, in one line.
        http_status: The reply's status, where there was one.
        error_code: Cloudflare's own code, where the envelope had one.
        cf_ray: The reply's `cf-ray`, which Cloudflare Support asks for.
        hint: What a person should change and where, or "".
    """

    cause: str
    detail: str = ""
    http_status: int | None = None
    error_code: int | None = None
    cf_ray: str | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The heartbeat counts: the renewal runs from the moment this attempt was sent."""

    headroom: Headroom | None = None
    cf_ray: str | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """429: the whole rate group has to be silent.

    Attributes:
        fault: Why.
        retry_after: Seconds that the server asked for (above 0), or None where it named no time.
    """

    fault: Fault
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """The server understood and refused. Believed once repeated, and probed for ever after."""

    fault: Fault
    scope: Scope


@dataclass(frozen=True, slots=True)
class Transient:
    """A passing fault.

    Attributes:
        fault: Why.
        scope: `Scope.ORIGIN` when nothing below 500 came back (refused, reset, hung, 5xx): the API
            itself may be down. `Scope.TARGET` when there was an answer, but not one that accepts.
        hung: True when the attempt ran into its timeout.
        headroom: The quota, where the reply spoke of it.
    """

    fault: Fault
    scope: Scope = Scope.ORIGIN
    hung: bool = False
    headroom: Headroom | None = None


Outcome = Accepted | Throttled | Denied | Transient


class Order(NamedTuple):
    """Leave to send one attempt now, already charged to the ledger.

    Attributes:
        serial: Counts the orders of one group; identifies this one.
        target: Whom to speak for.
        number: 1 for the first attempt of a heartbeat, counting up until one is accepted.
        hedge: True when another attempt of this target is still unanswered.
        due_at: When the attempt was due, on the engine's clock.
        timeout: Seconds after which the attempt is given up.
    """

    serial: int
    target: Target
    number: int
    hedge: bool
    due_at: float
    timeout: float


class Attempt(NamedTuple):
    """One order carried out: `sent_at` and `done_at` are moments of the engine's clock."""

    order: Order
    sent_at: float
    done_at: float
    outcome: Outcome
