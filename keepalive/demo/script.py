"""The script: which faults the demo plays, and when. Pure; the seed moves the later rounds about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from keepalive.emulator import Fault, FaultKind

FIRST_AT = 10.0
"""Emulated seconds until the first spell: everybody has had a heartbeat by then."""

REST = 15.0
"""Emulated seconds between two spells at least: one interval, so that no two faults add up."""


@dataclass(frozen=True, slots=True)
class Spell:
    """One fault for a while.

    Attributes:
        name: What happens, for people.
        fault: The same for the emulator; `after` and `until` are moments of the emulated clock.
    """

    name: str
    fault: Fault

    @property
    def begins(self) -> float:
        """The moment from which it strikes."""
        return self.fault.after

    @property
    def ends(self) -> float:
        """The moment from which it strikes no more."""
        return self.fault.until

    def at(self, moment: float) -> Spell:
        """The same spell, beginning at `moment`."""
        shifted = {"after": moment, "until": moment + self.ends - self.begins}
        return Spell(self.name, self.fault.model_copy(update=shifted))


ROUND = (
    Spell("half of the requests are reset", Fault(kind=FaultKind.RESET, probability=0.5, until=12)),
    Spell(
        "six of ten requests get a 503",
        Fault(kind=FaultKind.STATUS, status=503, probability=0.6, until=12),
    ),
    Spell("an outage, nothing gets through", Fault(kind=FaultKind.OUTAGE, until=20)),
    Spell("half of the requests hang", Fault(kind=FaultKind.HANG, probability=0.5, seconds=60, until=18)),
    Spell(
        "every request gets a 429 with Retry-After",
        Fault(kind=FaultKind.STATUS, status=429, retry_after=10, until=8),
    ),
)
"""One round. Each spell is short enough for a third of the window to outlive it, as real ones mostly are."""


def script(seed: int) -> Iterator[Spell]:
    """Every spell, without end. From the second round on the rests are longer by chance.

    So the faults meet the beats at other phases each time.
    """
    chance = Random(seed)  # noqa: S311 - repeatable chance, no secret
    moment = FIRST_AT
    for turn in count():
        for template in ROUND:
            spell = template.at(moment)
            yield spell
            rest = REST * (1 + (chance.random() if turn else 0.0))
            moment = spell.ends + (spell.fault.retry_after or 0.0) + rest
