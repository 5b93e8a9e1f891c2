"""A stamp: a moment that another process can compare with its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

UNWRITTEN = 35.0
"""Seconds by which a file may be behind after a power cut: Linux writes every 5 s what is older than 30."""


def carried(at: float, newest: float, now: float) -> float:
    """The moment at which a call of an earlier boot counts as sent, on the clock of this one.

    At least as much time has passed since it as between it and the newest that is known of; nobody knows
    how long the machine was off. Calls that a power cut swallowed are made up for by counting all others as
    younger.

    Args:
        at: When it left, on the clock of its own boot.
        newest: The last moment that is known of that boot.
        now: The moment.
    """
    return min(now, now - (newest - at) + UNWRITTEN)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A moment of one boot of one machine. No wall clock: one that was set to 1970 must not lapse anybody.

    Attributes:
        boot_id: Which boot; "" where the system does not say, and then it is like no other.
        at: Seconds since that boot, suspend included.
    """

    boot_id: str
    at: float

    def elapsed(self, then: Stamp) -> tuple[float, float]:
        """Seconds that have passed since `then`: at least, and at most.

        Within one boot both are exact. Across a reboot, or on another host, nothing is known.
        """
        if self.boot_id and self.boot_id == then.boot_id and self.at >= then.at:
            return self.at - then.at, self.at - then.at
        return 0.0, inf
