"""A Cloudflare that is played for the estimator alone: events, beats and a window, without any I/O."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from keepalive.calibration.estimate import Estimate, Estimator
from keepalive.calibration.round import Beat, Round

CERTAIN_SECONDS = 10.0
KEEP_SECONDS = 3.0


@dataclass(frozen=True)
class Played:
    """One Worker, and the user who watches it.

    Attributes:
        window: What nobody tells.
        gap: Seconds between two events.
        regular: Whether they follow each other like a clock.
        loss: The part of the events that the stream loses.
        delay: Seconds that an event is on its way, at least and at most.
        ahead: How far the events' clock is ahead of ours.
        held: Seconds after it was logged until it is decided whether an event is sent.
        round_trip: Seconds from a request to its answer.
    """

    window: float
    gap: float = 1.0
    regular: bool = True
    loss: float = 0.0
    delay: tuple[float, float] = (0.05, 0.3)
    ahead: float = 0.0
    held: float = 0.0
    round_trip: float = 0.1


class World:
    """Plays rounds as a measurement does, and feeds an estimator."""

    def __init__(self, played: Played, seed: int, error: float = 1.0) -> None:
        self.estimator = Estimator(error)
        self.took = 0.0
        self._played = played
        self._chance = Random(seed)
        self._logged = list(self._events())
        self._lost = {event for event in self._logged if self._chance.random() < played.loss}
        self._beats: list[float] = []

    def play(self, most: int) -> Estimate:
        """Play so many rounds at most, and fewer once the estimator is done."""
        now = 1000.0
        for _ in range(most):
            now = self._play_one(now)
            if self.estimator.done:
                break
        self.took = now - 1000.0
        return self.estimator.estimate

    def _events(self) -> Iterator[float]:
        played, date = self._played, 900.0 + self._chance.random() * self._played.gap
        while date < 60_000:
            yield date
            date += played.gap if played.regular else self._chance.expovariate(1 / played.gap)

    def _play_one(self, began: float) -> float:
        goal = began + self.estimator.start_in(began, self._chance.random())
        self._keep(began - KEEP_SECONDS, goal)
        beat = self._beat(goal)
        brought = [event for event in self._logged if event < beat.answered_at and self._comes(event)]
        round_ = Round(beat, (brought[-1] if brought else 0.0) + self._played.ahead)
        index = bisect(self._logged, goal)
        while round_.first_missing is None or self._logged[index] < self._missing_since(round_):
            self._see(round_, self._logged[index])
            index += 1
        now = self._missing_since(round_) + self._played.held
        now += self.estimator.restore_in(now, self._chance.random())
        while self._logged[index] + self._played.held < now:
            self._see(round_, self._logged[index])
            index += 1
        restored = self._beat(now)
        round_.restore(restored.sent_at)
        round_.accept(restored.answered_at)
        self._keep(restored.sent_at, restored.sent_at + 40 * self._played.gap)
        while round_.resumed is None:
            self._see(round_, self._logged[index])
            index += 1
        ended = round_.resumed - self._played.ahead + self._played.delay[1]
        self._beats = [at for at in self._beats if at <= ended]
        self.estimator.add(round_, ended - began)
        return ended

    def _missing_since(self, round_: Round) -> float:
        assert round_.first_missing is not None
        return round_.first_missing - self._played.ahead + CERTAIN_SECONDS

    def _beat(self, at: float) -> Beat:
        self._beats.append(at + self._chance.random() * self._played.round_trip)
        return Beat(at, at + self._played.round_trip)

    def _keep(self, since: float, until: float) -> None:
        at = since + KEEP_SECONDS
        while at < until:
            self._beats.append(at)
            at += KEEP_SECONDS

    def _see(self, round_: Round, event: float) -> None:
        date = event + self._played.ahead
        if self._comes(event):
            round_.deliver(date, event + self._chance.uniform(*self._played.delay))
        else:
            round_.show([date])
        self.estimator.traffic.note([date])

    def _comes(self, event: float) -> bool:
        at = event + self._played.held
        before = bisect(self._beats, at)
        return event not in self._lost and before > 0 and at < self._beats[before - 1] + self._played.window
