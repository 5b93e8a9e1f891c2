"""The finding: what a measurement of the window says to people and to programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from math import ceil, floor

from keepalive.calibration.estimate import Estimate
from keepalive.calibration.measurement import Measurement, Phase
from keepalive.calibration.result import Ending, Result
from keepalive.config.duration import format_duration

Json = dict[str, str | int | float | bool | None]


def told(result: Result, interval: float | None, today: date) -> Iterator[str]:
    """Tell a result in lines.

    Args:
        result: What was found.
        interval: Seconds between heartbeats, where they are configured; else they follow the window.
        today: The date to write beside the window.
    """
    label, estimate = result.target.label, result.estimate
    if result.ending is Ending.MEASURED:
        yield f"One heartbeat keeps {label} eligible for {bounds(estimate)}; {_rounds(estimate)}."
        yield from _caveats(estimate)
        yield from _to_write(estimate, interval, today)
        return
    if estimate.rounds:
        yield f"So far: one heartbeat keeps {label} eligible for {bounds(estimate)}; {_rounds(estimate)}."
        yield from _caveats(estimate)
    detail = result.detail or "it was interrupted"
    yield f"The window is not known well enough: {detail}" + (f"; {result.hint}" if result.hint else "") + "."
    if result.more_seconds:
        yield f"At this traffic it would take about {_about(result.more_seconds)} more."


def bounds(estimate: Estimate) -> str:
    """Say between which lengths the window lies."""
    if not estimate.bounded:
        return f"more than {_down(estimate.at_least)} s"
    if estimate.at_least <= 0:
        return f"at most {_up(estimate.at_most)} s"
    return f"{_down(estimate.at_least)} to {_up(estimate.at_most)} s"


def as_json(result: Result, *, quota_shared: bool) -> Json:
    """The same for programs."""
    target, estimate = result.target, result.estimate
    measured = result.ending is Ending.MEASURED
    return {
        "schema": 1,
        "target": target.label,
        "account_id": target.account_id,
        "script_id": target.script_id,
        "credential": target.credential,
        "ending": result.ending,
        "measured": measured,
        "window_seconds": round(estimate.window, 3) if estimate.bounded else None,
        "error_seconds": round(estimate.error, 3) if estimate.bounded else None,
        "at_least_seconds": round(estimate.at_least, 3),
        "at_most_seconds": round(estimate.at_most, 3) if estimate.bounded else None,
        "configure_window": f"{estimate.safe}s" if measured and estimate.safe else None,
        "rounds": estimate.rounds,
        "agreeing_rounds": estimate.agreeing,
        "assumed_delay": estimate.assumed,
        "events": result.brought,
        "missing_events": result.missing,
        "took_seconds": round(result.seconds, 1),
        "more_seconds": None if result.more_seconds is None else round(result.more_seconds),
        "detail": result.detail or None,
        "hint": result.hint or None,
        "quota_shared": quota_shared,
    }


def progress(measurement: Measurement, now: float) -> Iterator[str]:
    """Say what it does just now, and what is known so far.

    Args:
        measurement: Under way.
        now: The moment on its clock.
    """
    phase, beat_at = measurement.phase, measurement.beat_at
    if phase is Phase.WATCHING and beat_at is not None:
        yield f"{now - beat_at:.0f} s without a heartbeat: waiting until events stop"
    else:
        yield phase
    yield known(measurement)
    if measurement.trouble:
        yield measurement.trouble


def known(measurement: Measurement) -> str:
    """Say in one line what is known so far, and how much longer it may take."""
    estimate, more = measurement.estimator.estimate, measurement.estimator.more_seconds
    if not estimate.rounds:
        return "nothing is known yet"
    line = f"so far: {bounds(estimate)}, {_rounds(estimate)}"
    return f"{line}; about {_about(more)} more" if more else line


def _rounds(estimate: Estimate) -> str:
    return f"{estimate.agreeing} of {estimate.rounds} rounds say so"


def _caveats(estimate: Estimate) -> Iterator[str]:
    if estimate.assumed:
        yield "No heartbeat brought a stream back, so this assumes that events come within a second."


def _to_write(estimate: Estimate, interval: float | None, today: date) -> Iterator[str]:
    if estimate.safe is None:
        yield "That is too short to be held by heartbeats: nothing to configure."
        return
    yield "Write it into the configuration, rounded down to be safe:"
    yield ""
    yield "[heartbeat]"
    yield f'window = "{estimate.safe}s"  # measured {bounds(estimate)} on {today.isoformat()}'
    yield "window_calibrated = true"
    if interval is not None and interval > estimate.safe / 2:
        yield f'interval = "{format_duration(estimate.safe / 3)}"  # a third of it: two may be lost'


def _down(seconds: float) -> str:
    return f"{floor(seconds * 10) / 10:.1f}"


def _up(seconds: float) -> str:
    return f"{ceil(seconds * 10) / 10:.1f}"


def _about(seconds: float) -> str:
    return format_duration(round(seconds) if seconds < 60 else 60 * round(seconds / 60))
