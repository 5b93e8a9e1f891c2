"""An event: something that happened, worth telling; the sinks decide what to do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Level(StrEnum):
    """How much a person should care."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The root of all events.

    Attributes:
        at: When it happened, on the engine's clock, even if it was noticed later.
    """

    name: ClassVar[str]
    _level: ClassVar[Level] = Level.INFO
    at: float

    @property
    def level(self) -> Level:
        """How much a person should care."""
        return self._level


Sink = Callable[[Event], None]
"""Takes an event; never blocks, never raises."""
