"""A standing: what Cloudflare thinks of one user at one place, and since when."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Whom eligibility belongs to: a user, an account, and a script or (None) the whole account."""

    user: str
    account_id: str
    script_id: str | None


class Tally(NamedTuple):
    """An exact account of one place since its first accepted heartbeat.

    Attributes:
        eligible: Seconds of emulated time in which the user was eligible.
        lapsed: Seconds in which it was not.
        lapses: How often eligibility ran out, an open lapse included.
        renewals: Accepted heartbeats and prepares.
    """

    eligible: float
    lapsed: float
    lapses: int
    renewals: int


class Standing:
    """The eligibility of one place, from its first accepted heartbeat on. Moments never run backwards."""

    def __init__(self, now: float, window: float) -> None:
        self._window = window
        self._first_at = now
        self._expires_at = now + window
        self._barred_until = now
        self._lapsed = 0.0
        self._lapses = 0
        self._renewals = 1

    def renew(self, now: float) -> None:
        """Accept a heartbeat."""
        self._renewals += 1
        if now < self._barred_until:
            return
        late = self._overdue(now)
        self._lapsed += late
        self._lapses += late > 0
        self._expires_at = now + self._window

    def revoke(self, now: float, until: float) -> None:
        """Take eligibility away; heartbeats before `until` are accepted and change nothing."""
        self._expires_at = min(self._expires_at, now)
        self._barred_until = until

    def eligible(self, now: float) -> bool:
        """True within one window of the last accepted heartbeat, unless it was taken away since."""
        return now < self._expires_at

    def tally(self, now: float) -> Tally:
        """Account for every second up to `now`."""
        late = self._overdue(now)
        lapsed = self._lapsed + late
        return Tally(now - self._first_at - lapsed, lapsed, self._lapses + (late > 0), self._renewals)

    def _overdue(self, now: float) -> float:
        return max(0.0, now - self._expires_at)
