"""A result: what one simulation showed, in figures that promises can be held against."""

from __future__ import annotations

from dataclasses import dataclass

from keepalive.core.target import Target


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt before a lapse. `ended_at` and `ending` are what the client saw, or would have seen."""

    sent_at: float
    ended_at: float
    number: int
    hedge: bool
    ending: str


@dataclass(frozen=True, slots=True)
class Lapse:
    """A target was not eligible, on Cloudflare's side, from `start` to `until`.

    Attributes:
        group: Its rate group.
        target: Which one.
        start: When its window ran out.
        until: When it was renewed, or the end of the simulation.
        causes: The spells that were on since its last renewal; none means that nobody else is to blame.
        broken: Whether Cloudflare answered this very target by errors when its window ran out.
        tries: The attempts since its last renewal, the last hundred at most.
    """

    group: str
    target: Target
    start: float
    until: float
    causes: tuple[str, ...]
    broken: bool
    tries: tuple[Try, ...]


@dataclass(frozen=True, slots=True)
class FalseClaim:
    """The group called a target eligible from `start` to `until`, and it was not."""

    group: str
    target: Target
    start: float
    until: float


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What one rate group showed.

    Attributes:
        name: The group.
        held: Targets that it did not refuse.
        refused: Targets that it did.
        allowed: Calls that it may send in one period of its quota.
        worst_period: Calls that it did send in its worst sliding period.
        calls: Calls that it sent in all.
        blocks: How often it drove Cloudflare into blocking the user.
        silence_calls: Calls sent between 250 ms after a 429 and the end of its `Retry-After`.
        wakes: How often it was asked for orders.
    """

    name: str
    held: int
    refused: int
    allowed: int
    worst_period: int
    calls: int
    blocks: int
    silence_calls: int
    wakes: int


@dataclass(frozen=True, slots=True)
class Result:
    """What one simulation showed.

    Attributes:
        scenario: Its name.
        seed: Its seed.
        duration: Seconds of virtual time.
        groups: Each rate group's part.
        renewals: Requests that Cloudflare accepted.
        extra_beats: Those that came less than half an interval after the one before.
        held_seconds: Target-seconds since each first acceptance.
        lapses: Every lapse since each first acceptance.
        false_claims: Where the client's opinion was better than the truth.
        never_accepted: Held targets that Cloudflare never accepted.
        worst_second: Calls of all groups in the worst sliding second.
        remaining: How much of the window was left at each renewal: `remaining[s]` counts `s` to `s + 1`
            seconds. Neither first acceptances nor those after a lapse are in it.
    """

    scenario: str
    seed: int
    duration: float
    groups: tuple[GroupResult, ...]
    renewals: int
    extra_beats: int
    held_seconds: float
    lapses: tuple[Lapse, ...]
    false_claims: tuple[FalseClaim, ...]
    never_accepted: tuple[Target, ...]
    worst_second: int
    remaining: tuple[int, ...]

    @property
    def well(self) -> bool:
        """Whether everybody was held, became eligible and stayed so, within the quota."""
        refused = any(group.refused for group in self.groups)
        return not (self.lapses or self.never_accepted or refused or self.overshoot > 0)

    @property
    def preventable(self) -> tuple[Lapse, ...]:
        """The lapses of targets that were not broken themselves just then."""
        return tuple(lapse for lapse in self.lapses if not lapse.broken)

    @property
    def calls(self) -> int:
        """Calls sent by all groups."""
        return sum(group.calls for group in self.groups)

    @property
    def overshoot(self) -> int:
        """Calls above what a group may send, in the worst period of the worst group; at most 0 is well."""
        return max(group.worst_period - group.allowed for group in self.groups)

    @property
    def eligible_ratio(self) -> float:
        """Eligible target-seconds over all of them, 0 to 1."""
        lapsed = sum(lapse.until - lapse.start for lapse in self.lapses)
        return 1 - lapsed / self.held_seconds if self.held_seconds else 0.0

    @property
    def calls_per_target_minute(self) -> float:
        """Calls for each held target and minute."""
        held = sum(group.held for group in self.groups)
        return self.calls / held / (self.duration / 60) if held else 0.0
