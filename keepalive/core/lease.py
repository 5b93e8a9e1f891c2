"""A lease: targets that somebody asked for at run time, for as long as it is renewed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from keepalive.core.stamp import Stamp
from keepalive.core.target import Target


@dataclass(frozen=True, slots=True)
class Lease:
    """What somebody asked for.

    Attributes:
        name: Chosen by whoever asked.
        targets: What is held for it.
        ends_at: When it ends unless it is renewed, on the engine's clock.
    """

    name: str
    targets: tuple[Target, ...]
    ends_at: float

    def carried_over(self, saved: Stamp, now: Stamp) -> Lease:
        """The same on the clock of `now`; after another boot it lasts as long as was left of it."""
        at_least, at_most = now.elapsed(saved)
        return self if at_least == at_most else replace(self, ends_at=self.ends_at + now.at - saved.at)


LeaseChanges = Mapping[str, Lease | None]
"""By name, what a lease is now; None for one that has ended."""
