"""A scene: everything that the demo shows at one moment, as plain values. Seconds are real ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from keepalive.core.eligibility import Eligibility
from keepalive.demo.scores import Mark
from keepalive.emulator import Tally


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 lapse`, `2 lapses`; `many` where the plural takes more than an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


class Held(NamedTuple):
    """What the emulator measured of some targets, each from its first accepted heartbeat on.

    Attributes:
        ratio: Eligible target-seconds over all, 0 to 1; 1 before any passed.
        lapses: How often eligibility ran out.
    """

    ratio: float
    lapses: int

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Self:
        """Sum up."""
        tallies = list(tallies)
        eligible = sum(tally.eligible for tally in tallies)
        known = eligible + sum(tally.lapsed for tally in tallies)
        return cls(eligible / known if known else 1.0, sum(tally.lapses for tally in tallies))

    @property
    def percent(self) -> str:
        """The ratio for people, rounded down: 100 % means that nothing was lost."""
        return f"{int(self.ratio * 100_000) / 1000:.3f} %"


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One target of keepalive.

    Attributes:
        name: Its script.
        credential: Who speaks for it; its rate group has the same name.
        state: What it is.
        left: Seconds until its deadline, at least 0.
        marks: Its latest attempts, the newest first.
        heartbeats: Accepted ones.
        retries: Attempts after a failed one.
        hedges: Attempts beside an unanswered one.
    """

    name: str
    credential: str
    state: Eligibility
    left: float
    marks: tuple[Mark, ...]
    heartbeats: int
    retries: int
    hedges: int


class QuotaUse(NamedTuple):
    """What a rate group has used of its quota, by the emulator's count; `silent_for` is in seconds."""

    group: str
    used: int
    requests: int
    silent_for: float


@dataclass(frozen=True, slots=True)
class Contestant:
    """Keepalive or the naive loop, as the emulator sees it.

    Attributes:
        held: What was measured so far.
        eligible: Each target's eligibility at this moment.
        attempts: Requests so far.
        told: What else there is to say of them, for people.
    """

    name: str
    held: Held
    eligible: tuple[bool, ...]
    attempts: int
    told: str


@dataclass(frozen=True, slots=True)
class Weather:
    """The fault that is played, or the one that comes next; `seconds` until it ends or begins."""

    name: str
    playing: bool
    seconds: float

    def __str__(self) -> str:
        """Say it in one line."""
        if self.playing:
            return f"now: {self.name}, {self.seconds:.1f} s left"
        return f"now: all is well; next: {self.name}, in {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of the demo.

    Attributes:
        elapsed: Seconds since the start.
        speed: How many times as fast as real Cloudflare all this runs.
        window: Seconds that an accepted heartbeat lasts.
        weather: What goes wrong.
        targets: Keepalive's targets, in the order of the plan.
        quotas: Keepalive's rate groups.
        contestants: Keepalive and the naive loop.
    """

    elapsed: float
    speed: float
    window: float
    weather: Weather
    targets: tuple[TargetRow, ...]
    quotas: tuple[QuotaUse, ...]
    contestants: tuple[Contestant, ...]
