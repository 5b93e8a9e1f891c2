"""Telemetry: what a Worker logged, and how to ask for it. Data only; nothing here is parsed or sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Value = str | int | float | bool


class Event(NamedTuple):
    """One telemetry event.

    Attributes:
        raw: Its JSON as it was received, without a line break.
        event_id: `$metadata.id`, by which it is known in streams and queries; "" where it has none.
        timestamp: When it was logged, in milliseconds of Unix time; 0 where it does not say.
        script: The Worker that logged it; "" where it does not say.
    """

    raw: str
    event_id: str
    timestamp: int
    script: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A leaf of a filter.

    Attributes:
        key: Such as `$metadata.level`.
        operation: One of those that Cloudflare's reference lists, such as `eq` or `includes`.
        kind: The type of the value.
        value: What is compared with; None where the operation needs none.
    """

    key: str
    operation: str
    kind: Literal["string", "number", "boolean"] = "string"
    value: Value | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are wanted: those that meet all of the conditions, or any of them. None: every event."""

    conditions: tuple[Condition | Wanted, ...] = ()
    any_of: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A telemetry query for events.

    Attributes:
        begin: The first moment that is asked about, in milliseconds of Unix time.
        end: The last one.
        wanted: Which events.
        limit: How many at most.
        offset: `$metadata.id` of the event at which the page before this one ended, or None for the first.
        newer: Page towards newer events instead of older ones.
    """

    begin: int
    end: int
    wanted: Wanted = Wanted()
    limit: int = 100
    offset: str | None = None
    newer: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What a query found, in the order of the reply."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A live tail session that waits for its WebSocket. The URL is checked, and secret: it carries a key."""

    url: str = field(repr=False)
