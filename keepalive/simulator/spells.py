"""A spell: one fault, with its beginning, its end and those whom it touches."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from keepalive.core.target import Scope, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """The root: something is wrong from `start` on, for `length` seconds of virtual time."""

    start: float = 0.0
    length: float = inf

    @property
    def end(self) -> float:
        """The first moment at which it is over."""
        return self.start + self.length

    @property
    def cause(self) -> str:
        """What a lapse blames it by."""
        return type(self).__name__.lower()

    def overlaps(self, begin: float, until: float) -> bool:
        """Whether it was on at any moment from `begin` to `until`."""
        return self.start <= until and begin < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpell(Spell):
    """A fault of the machine that keepalive runs on; two of them never overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend(MachineSpell):
    """The machine sleeps: nothing runs, no answer is heard, and its connections are dead when it wakes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(MachineSpell):
    """The process is killed, and another one starts `length` seconds later with what the first had saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSpell(Spell):
    """A fault of the network or of Cloudflare. Each empty set means everybody."""

    groups: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()
    targets: frozenset[Target] = frozenset()

    def touches(self, group: str, target: Target) -> bool:
        """Whether an attempt for this target of this rate group can suffer from it."""
        return (
            (not self.groups or group in self.groups)
            and (not self.credentials or target.credential in self.credentials)
            and (not self.targets or target in self.targets)
        )


class Loss(StrEnum):
    """How an outage shows itself."""

    REFUSED = "refused"
    BLACK_HOLE = "black_hole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(RemoteSpell):
    """Nothing gets through, neither requests nor answers that are under way when it begins."""

    loss: Loss = Loss.BLACK_HOLE

    @property
    def cause(self) -> str:
        """What a lapse blames it by: `outage.refused` or `outage.black_hole`."""
        return f"outage.{self.loss}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaky(RemoteSpell):
    """Some attempts fail, each by its own draw. The three parts add up to 1 at most.

    All of them reach Cloudflare and count against the quota, none renews: the worst of both.

    Attributes:
        reset: Part of the attempts whose connection is reset.
        unavailable: Part that is answered by 503.
        hang: Part that is never answered.
    """

    reset: float = 0.0
    unavailable: float = 0.0
    hang: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(RemoteSpell):
    """Every answer takes `seconds` longer. Cloudflare counts the request when it arrives."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle(RemoteSpell):
    """Every request is answered by 429, which names `retry_after` seconds or no time at all."""

    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(RemoteSpell):
    """Every request is answered by one error.

    Attributes:
        status: The HTTP status; from 500 on a passing fault, below it a refusal.
        scope: How far the client takes a refusal to reach.
    """

    status: int = 503
    scope: Scope = Scope.TARGET
