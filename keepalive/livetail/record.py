"""Records: what a tail yields. Events, and what the tail itself has to say of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keepalive.core.eligibility import Eligibility
from keepalive.core.telemetry import Event


class State(StrEnum):
    """What a tail is now. Silence means something else in each: no traffic, no eligibility, no connection."""

    CONNECTED = "connected"  # a stream is open, and no heartbeat was accepted yet
    ELIGIBLE = "eligible"
    AT_RISK = "at_risk"
    LAPSED = "lapsed"  # a stream is open, and Cloudflare is assumed to send nothing
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class Gap:
    """Events may be missing here, and could not be had.

    Attributes:
        from_ms: The first moment that is in doubt, in milliseconds of Unix time, by the events' own dates.
        to_ms: The last one.
        reason: A stable word: `not_indexed` (the archive shows nothing so late yet), `not_stored` (it shows
            nothing of this Worker at all), `unconfirmed` (nothing came that could be looked for), `timeout`
            (neither the quota nor the archive had an answer in time), `too_many`, `stalled` (found too late
            to be told in order), `disconnected`, `unreadable` (something came that could not be read),
            `interrupted` (the tail ended first), or the cause of the query's fault.
    """

    from_ms: int
    to_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """So many events were lost here, because whoever reads the tail was too slow."""

    count: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The tail is something else from now on.

    Attributes:
        state: What it is.
        cause: Why, in one line for people, or "".
    """

    state: State
    cause: str = ""


Record = Event | Gap | Dropped | Changed


def state_of(eligibility: Eligibility, *, connected: bool) -> State:
    """Say what a tail is, by its connection and by what its keeper knows."""
    if not connected:
        return State.DISCONNECTED
    match eligibility:
        case Eligibility.ELIGIBLE:
            return State.ELIGIBLE
        case Eligibility.AT_RISK:
            return State.AT_RISK
        case Eligibility.PENDING:
            return State.CONNECTED
        case Eligibility.LAPSED | Eligibility.DENIED | Eligibility.REFUSED:
            return State.LAPSED
