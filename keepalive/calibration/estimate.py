"""The estimate: what all rounds say of the window, how to narrow it, and how much longer that takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, inf, isfinite, log2

from keepalive.calibration.interval import Agreement, Interval, agreed
from keepalive.calibration.round import Round
from keepalive.calibration.traffic import Traffic

LEAST_ROUNDS = 3
"""Rounds that have to agree: a single one might rest on an event that was lost."""

PROMPT_SECONDS = 1.0
"""How long the promptest event is assumed to be on its way where no heartbeat ever brought a stream back."""

SPREAD_SECONDS = 10.0
"""By up to so much a round starts later than it might, by chance. Rounds that follow each other like a clock
fall into step with another client's heartbeats, and agree on a window that is too long."""

LONGEST_AIM = 60.0
"""Seconds that a heartbeat is put off at most, so that an event comes when it tells most."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of the window, in seconds.

    Attributes:
        at_least: It is longer than that; 0 where nothing is known.
        at_most: It is no longer than that; infinite where nothing is known.
        rounds: Rounds that were played to their end.
        agreeing: How many of them say so.
        assumed: True where no heartbeat brought a stream back: the delay of events is assumed then.
    """

    at_least: float = 0.0
    at_most: float = inf
    rounds: int = 0
    agreeing: int = 0
    assumed: bool = False

    @property
    def bounded(self) -> bool:
        """True when anything is known from both sides."""
        return isfinite(self.at_most)

    @property
    def window(self) -> float:
        """The best guess."""
        return (self.at_least + self.at_most) / 2

    @property
    def error(self) -> float:
        """How far the guess may be off."""
        return (self.at_most - self.at_least) / 2

    @property
    def consistent(self) -> bool:
        """True when no more than one of four rounds says something else."""
        return self.agreeing >= LEAST_ROUNDS and self.rounds - self.agreeing <= self.rounds // 4

    def settled(self, error: float) -> bool:
        """True when it is known to that error."""
        return self.consistent and self.error <= error

    @property
    def safe(self) -> int | None:
        """Whole seconds to configure, rounded down; None where not even one second is known."""
        return floor(self.at_least) or None


class Estimator:
    """Takes rounds, and says what to do next.

    Regular traffic is used for a bisection: the heartbeat is timed so that an event is due in the middle of
    what is still open. Events of other traffic come where they come, and each round narrows it a little.

    Attributes:
        traffic: How events follow each other; whoever learns of some notes them there.

    Args:
        error: Seconds by which the result may be off.
    """

    def __init__(self, error: float) -> None:
        self.traffic = Traffic()
        self._error = error
        self._rounds: list[tuple[Round, float]] = []

    @property
    def error(self) -> float:
        """Seconds by which the result may be off."""
        return self._error

    def add(self, finished: Round, seconds: float) -> None:
        """Take a round that was played to its end, and how long it took with all that belongs to it."""
        self._rounds.append((finished, seconds))

    @property
    def estimate(self) -> Estimate:
        """What is known now."""
        if not self._rounds:
            return Estimate()
        lapse, shift = self._lapse, self._shift
        rounds, told = len(self._rounds), sum(one.shift is not None for one, _ in self._rounds)
        return Estimate(
            at_least=max(0.0, lapse.interval.low - shift.interval.high),
            at_most=max(0.0, lapse.interval.high - shift.interval.low),
            rounds=rounds,
            agreeing=min(lapse.votes, shift.votes + rounds - told if told else rounds),
            assumed=not told,
        )

    @property
    def done(self) -> bool:
        """True when the result is known well enough."""
        return self.estimate.settled(self._error)

    def start_in(self, now: float, draw: float) -> float:
        """Seconds until the heartbeat that starts the next round.

        Args:
            now: The moment.
            draw: From 0 to 1.
        """
        if not self._rounds:
            return self._aim(now, Interval(), draw)
        spread = draw * max(SPREAD_SECONDS, min(LONGEST_AIM, self.traffic.gap or 0.0))
        return spread + self._aim(now + spread, self._lapse.interval, 0.0)

    def restore_in(self, now: float, draw: float) -> float:
        """Seconds until the heartbeat that ends a silence; the arguments are those of `start_in`."""
        return self._aim(now, self._shift.interval if self._rounds else Interval(), draw)

    @property
    def more_seconds(self) -> float | None:
        """How much longer it takes about; None where nobody can tell."""
        estimate, gap = self.estimate, self.traffic.gap
        if not self._rounds or not estimate.bounded or gap is None:
            return None
        each = sum(seconds for _, seconds in self._rounds) / len(self._rounds)
        return each * max(LEAST_ROUNDS - estimate.agreeing, self._rounds_missing(estimate))

    def _rounds_missing(self, estimate: Estimate) -> int:
        """Halving takes the logarithm of what is open; without aiming, twice the rounds are half as wide."""
        ratio = estimate.error / self._error
        if ratio <= 1:
            return 0 if estimate.consistent else 1
        if self.traffic.next_after(0.0) is not None:
            return ceil(log2(ratio))
        return ceil(estimate.rounds * (ratio - 1))

    @property
    def _lapse(self) -> Agreement:
        return agreed([one.lapse for one, _ in self._rounds])

    @property
    def _shift(self) -> Agreement:
        told = [shift for one, _ in self._rounds if (shift := one.shift) is not None]
        if told:
            return agreed(told)
        leads = [
            Interval(one.lead, one.lead + PROMPT_SECONDS) for one, _ in self._rounds if isfinite(one.lead)
        ]
        return agreed(leads)

    def _aim(self, now: float, interval: Interval, draw: float) -> float:
        gap = self.traffic.gap
        if gap is None:
            return 0.0
        if isfinite(interval.middle) and (due := self.traffic.next_after(now + interval.middle)) is not None:
            return min(LONGEST_AIM, due - interval.middle - now)
        return draw * min(LONGEST_AIM, gap)  # events that come in step with us would tell the same every time
