"""Backoff: how long to wait before a stream is opened again. Pure: the draw of chance is an argument."""

from __future__ import annotations

from keepalive.core.outcome import Denied, Fault, Throttled, Transient

FIRST_SECONDS = 0.25
LONGEST_SECONDS = 5.0
"""Between two tries of an outage. A try is one call, and events wait at the other end."""

DENIED_SECONDS = 60.0
"""Between two tries that are refused: a token is mended by people, and each try costs the quota."""

THROTTLED_SECONDS = 60.0
"""The silence after a 429 that names no time."""


def pause(outcome: Throttled | Denied | Transient | Fault, failures: int, draw: float) -> float:
    """Seconds until the next try.

    Args:
        outcome: How the last try failed; a fault is one of the connection.
        failures: Tries that failed in a row, 1 for the first.
        draw: From 0 to 1. All of the pause is left to chance, so that a crowd does not come back at once;
            but no 429 is cut short.
    """
    if isinstance(outcome, Throttled):
        return (outcome.retry_after or THROTTLED_SECONDS) + draw
    ceiling = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures, 16))
    if isinstance(outcome, Denied):
        ceiling = min(DENIED_SECONDS, LONGEST_SECONDS * 2.0 ** min(failures, 16))
        return ceiling / 2 + draw * ceiling / 2
    return draw * ceiling
