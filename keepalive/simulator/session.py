"""A session: what Cloudflare truly holds for one target, whatever the client believes."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Protocol

from keepalive.core.target import Target
from keepalive.simulator.result import Lapse, Try
from keepalive.simulator.spells import Broken, Flaky, MachineSpell, Outage, RemoteSpell, Slow, Throttle

_TRIES_KEPT = 100


class Noting(Protocol):
    """An attempt that can be written down."""

    def noted(self) -> Try:
        """Write it down, as far as the client knows."""
        ...


class Session:
    """The live-tail session of one target, on Cloudflare's side.

    It is eligible for `window` seconds after the arrival of a request that was accepted.

    Attributes:
        outages, weather, verdicts: The spells that can touch it, by who asks for them: the network about a
            way that is shut, the network about the way, Cloudflare about the answer.
        since: Arrival of the first accepted request, or None.
        until: When it runs out; before the first acceptance it already has.
        tries: The flights since the last renewal, oldest first.
        gaps: Its lapses so far, as `(start, until, tries)`.
    """

    __slots__ = (
        "gaps",
        "outages",
        "since",
        "spells",
        "target",
        "tries",
        "until",
        "verdicts",
        "weather",
        "window",
    )

    def __init__(self, target: Target, window: float, spells: tuple[RemoteSpell, ...]) -> None:
        self.target = target
        self.window = window
        self.spells = spells
        self.outages = tuple(spell for spell in spells if isinstance(spell, Outage))
        self.weather = tuple(spell for spell in spells if isinstance(spell, Flaky | Slow))
        self.verdicts = tuple(spell for spell in spells if isinstance(spell, Throttle | Broken))
        self.since: float | None = None
        self.until = -inf
        self.tries: deque[Noting] = deque(maxlen=_TRIES_KEPT)
        self.gaps: list[tuple[float, float, tuple[Try, ...]]] = []

    def renew(self, now: float) -> float:
        """Take an accepted request that arrives at `now`.

        Returns:
            Seconds that were left of the window; negative after a lapse, minus infinity at first.
        """
        left = self.until - now
        if self.since is None:
            self.since = now
        elif left <= 0:
            self._miss(now)
        self.until = now + self.window
        self.tries.clear()
        return left

    def close(self, now: float) -> None:
        """The simulation ends at `now`."""
        if self.since is not None and self.until < now:
            self._miss(now)

    def absences(self) -> list[tuple[float, float]]:
        """When it was not eligible, the time before its first acceptance included."""
        first = inf if self.since is None else self.since
        return [(-inf, first), *((start, until) for start, until, _ in self.gaps)]

    def lapses(self, group: str, local: tuple[MachineSpell, ...]) -> tuple[Lapse, ...]:
        """Its lapses, each with the spells that can have caused it; `local` are those of the machine."""
        return tuple(
            Lapse(
                group=group,
                target=self.target,
                start=start,
                until=until,
                causes=tuple(
                    dict.fromkeys(
                        spell.cause
                        for spell in (*self.spells, *local)
                        if spell.overlaps(start - self.window, until)
                    )
                ),
                broken=any(
                    isinstance(spell, Broken) and spell.overlaps(start, start) for spell in self.spells
                ),
                tries=tries,
            )
            for start, until, tries in self.gaps
        )

    def _miss(self, until: float) -> None:
        self.gaps.append((self.until, until, tuple(attempt.noted() for attempt in self.tries)))
