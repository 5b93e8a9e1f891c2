"""A state: what of a rate group outlives its process."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from keepalive.core.outcome import Fault
from keepalive.core.stamp import Stamp, carried
from keepalive.core.target import Key, Target


@dataclass(frozen=True, slots=True)
class Refusal:
    """A confirmed refusal.

    Attributes:
        key: Whom it reaches: `target[:scope]`.
        fault: Why.
        opened_at: When it was seen first.
    """

    key: Key
    fault: Fault
    opened_at: float


@dataclass(frozen=True, slots=True)
class GroupState:
    """All that a restart or another replica needs of a group; moments are on the engine's clock.

    Attributes:
        renewed: Send time of the last accepted attempt of each target that has one.
        calls: What the ledger still counts, as `(moment, calls)`, oldest first.
        silent_until: End of the last silence after a 429, or minus infinity.
        throttles: 429s in a row so far, of those that lengthen the next silence.
        refusals: What is denied.
    """

    renewed: tuple[tuple[Target, float], ...] = ()
    calls: tuple[tuple[float, int], ...] = ()
    silent_until: float = -inf
    throttles: int = 0
    refusals: tuple[Refusal, ...] = ()

    def carried_over(self, saved: Stamp, now: Stamp) -> GroupState:
        """The same on the clock of `now`.

        Args:
            saved: When, and in which boot, this was true.
            now: The moment, in the boot that goes on with it.

        Returns:
            Itself within one boot. After another boot nobody knows how long the machine was off: as if it
            had been no time, calls keep their age and a silence lasts as long as was left of it; but no
            renewal is believed.
        """
        at_least, at_most = now.elapsed(saved)
        if at_least == at_most:
            return self
        shift = now.at - saved.at
        return GroupState(
            calls=tuple((carried(at, saved.at, now.at), count) for at, count in self.calls),
            silent_until=self.silent_until + shift,
            throttles=self.throttles,
            refusals=tuple(
                Refusal(each.key, each.fault, min(now.at, each.opened_at + shift)) for each in self.refusals
            ),
        )
