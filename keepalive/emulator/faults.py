"""Faults: what goes wrong on the way, to whom, when and how often. The seed makes chance repeatable."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from enum import StrEnum
from math import inf
from random import Random
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keepalive.emulator.call import Route, Whence


class FaultKind(StrEnum):
    """What can go wrong."""

    OUTAGE = "outage"  # connections are reset as they are accepted, requests and streams on open ones too
    BLACK_HOLE = "black_hole"  # connections are accepted, nothing is ever answered
    RESET = "reset"  # the connection is reset in place of an answer
    HANG = "hang"  # no answer for `seconds` (else for ever), then a reset
    DRIP = "drip"  # the true answer, spread over `seconds`
    TRUNCATE = "truncate"  # half of the true answer, then the end of the connection
    HUGE = "huge"  # the true answer, with megabytes of white space before it
    STATUS = "status"  # an error in Cloudflare's envelope
    HTML = "html"  # a page of a proxy
    REDIRECT = "redirect"  # 307 to another path of the same server
    NOT_ACCEPTED = "not_accepted"  # 200 with `success: false`
    CLOSE = "close"  # an open stream is closed
    CUT = "cut"  # an open stream is reset, without a word
    HALF_OPEN = "half_open"  # an open stream stays open for good, brings nothing and answers no ping
    SILENCE = "silence"  # an open stream stays open and loses its frames


OF_NETWORK = frozenset({FaultKind.OUTAGE, FaultKind.BLACK_HOLE})
"""They strike everybody, before a request is read: such a request never reached Cloudflare."""

OF_FRAME = frozenset({FaultKind.CLOSE, FaultKind.CUT, FaultKind.HALF_OPEN, FaultKind.SILENCE})
"""They strike frames of an open stream; one draw each."""

REMEMBERED_STRIKES = 10_000

_NEEDS = {
    "status": frozenset({FaultKind.STATUS, FaultKind.HTML}),
    "code": frozenset({FaultKind.STATUS}),
    "retry_after": frozenset({FaultKind.STATUS}),
    "seconds": frozenset({FaultKind.HANG, FaultKind.DRIP}),
}
_AIMS = ("probability", "count", "routes", "user", "account", "script")


class Fault(BaseModel):
    """One line of a fault script. Seconds are emulated seconds; moments count from the start.

    Attributes:
        kind: What goes wrong.
        probability: The chance that it strikes one request (or one frame), 0 to 1.
        after: It strikes from this moment on.
        until: It strikes before this moment.
        count: It strikes so many times and then rests.
        routes: It strikes only these kinds of path; all when empty.
        user: It strikes only this user.
        account: It strikes only this account.
        script: It strikes only requests that name this script.
        status: The status to answer, for `status` (400 to 599) and `html` (200 to 599, else 502).
        code: Cloudflare's error code, for `status`; else the usual one of that status.
        retry_after: The header `Retry-After`, for `status`; no such header when left out.
        seconds: How long, for `hang` (for ever when left out) and `drip` (10 s when left out).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: FaultKind
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    after: Annotated[float, Field(ge=0)] = 0.0
    until: Annotated[float, Field(gt=0, allow_inf_nan=True)] = inf
    count: Annotated[int, Field(ge=1)] | None = None
    routes: frozenset[Route] = frozenset()
    user: str | None = None
    account: str | None = None
    script: str | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    code: int | None = None
    retry_after: Annotated[float, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, kinds in _NEEDS.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"`{name}` belongs to {' and '.join(sorted(kinds))}, not to {self.kind}")
        if self.kind is FaultKind.STATUS and (self.status is None or self.status < 400):
            raise ValueError("kind `status` needs a `status` from 400 to 599")
        if self.kind in OF_NETWORK and (aims := self.model_fields_set.intersection(_AIMS)):
            raise ValueError(f"{self.kind} strikes everybody: leave out `{min(aims)}`")
        if self.kind in OF_FRAME and not self.routes <= {Route.STREAM}:
            raise ValueError(f"{self.kind} strikes open streams only: leave out `routes`")
        if self.until <= self.after:
            raise ValueError("`until` must lie behind `after`")
        return self

    def in_force(self, now: float) -> bool:
        """True between `after` and `until`."""
        return self.after <= now < self.until

    def aims_at(self, whence: Whence) -> bool:
        """True for those whom this fault is meant for."""
        return (
            (not self.routes or whence.route in self.routes)
            and self.user in (None, whence.user)
            and self.account in (None, whence.account_id)
            and self.script in (None, whence.script_id)
        )


class Strike(NamedTuple):
    """A fault struck, at a moment in emulated seconds."""

    at: float
    kind: FaultKind


class Faults:
    """The fault script: the first fault that strikes is played. It may be changed at any time.

    Attributes:
        strikes: The last faults of single requests and frames that struck, oldest first.
    """

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self.strikes: deque[Strike] = deque(maxlen=REMEMBERED_STRIKES)
        self._faults: list[Fault] = []
        self._left: list[float] = []
        self._chance = Random(seed)  # noqa: S311 - repeatable chance, no secret
        self.add(*faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(self, *faults: Fault) -> None:
        """Put faults behind those that are there."""
        self._faults.extend(faults)
        self._left.extend(inf if fault.count is None else fault.count for fault in faults)

    def clear(self) -> None:
        """Let everything work again."""
        self._faults.clear()
        self._left.clear()

    def network(self, now: float) -> Fault | None:
        """Say what the network itself suffers from now."""
        return next((one for one in self._faults if one.kind in OF_NETWORK and one.in_force(now)), None)

    def request(self, now: float, whence: Whence) -> Fault | None:
        """Draw the fault of one request."""
        return self._draw(now, whence, of_frame=False)

    def frame(self, now: float, whence: Whence) -> Fault | None:
        """Draw the fault of one frame of an open stream."""
        return self.network(now) or self._draw(now, whence, of_frame=True)

    def _draw(self, now: float, whence: Whence, *, of_frame: bool) -> Fault | None:
        for index, fault in enumerate(self._faults):
            if (
                fault.kind not in OF_NETWORK
                and (fault.kind in OF_FRAME) is of_frame
                and self._left[index] > 0
                and fault.in_force(now)
                and fault.aims_at(whence)
                and self._chance.random() < fault.probability
            ):
                self._left[index] -= 1
                self.strikes.append(Strike(now, fault.kind))
                return fault
        return None
