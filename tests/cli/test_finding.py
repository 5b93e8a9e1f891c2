from __future__ import annotations

from datetime import date
from math import inf

import pytest

from keepalive.calibration.estimate import Estimate
from keepalive.calibration.measurement import Measurement, Phase
from keepalive.calibration.result import Ending, Result
from keepalive.calibration.round import Beat, Round
from keepalive.cli.finding import as_json, bounds, known, progress, told
from keepalive.cloudflare.client import CloudflareClient
from keepalive.core.target import Target
from keepalive.livetail.connection import Opener
from tests.support.configured import PROD, TARGETS, Folder

TARGET = Target("prod", "0123456789abcdef0123456789abcdef", "api")
TODAY = date(2031, 2, 3)


def lines(result: Result, interval: float | None = None) -> list[str]:
    return list(told(result, interval, TODAY))


def measured(at_least: float, at_most: float, **more: bool) -> Result:
    return Result(TARGET, Ending.MEASURED, Estimate(at_least, at_most, 4, 3, **more))


def test_what_was_measured_comes_with_the_lines_to_write() -> None:
    assert lines(measured(44.68, 45.12)) == [
        f"One heartbeat keeps {TARGET.label} eligible for 44.6 to 45.2 s; 3 of 4 rounds say so.",
        "Write it into the configuration, rounded down to be safe:",
        "",
        "[heartbeat]",
        'window = "44s"  # measured 44.6 to 45.2 s on 2031-02-03',
        "window_calibrated = true",
    ]


@pytest.mark.parametrize("interval", [None, 22.5])
def test_the_lines_to_write_make_a_configuration_that_calls_the_window_measured(
    folder: Folder, interval: float | None
) -> None:
    written = "\n".join(lines(measured(44.68, 45.12), interval)).partition("\n\n")[2]
    heartbeat = folder.read(PROD + TARGETS + written).settings.heartbeat
    assert (heartbeat.window, heartbeat.window_calibrated) == (44.0, True)


@pytest.mark.parametrize(
    ("interval", "told_too"), [(None, False), (15.0, False), (22.0, False), (22.5, True)]
)
def test_an_interval_that_no_longer_fits_is_replaced_too(interval: float | None, *, told_too: bool) -> None:
    found = lines(measured(44.68, 45.12), interval)
    assert (found[-1] == 'interval = "14.667s"  # a third of it: two may be lost') is told_too


def test_a_window_that_is_too_short_is_not_to_be_written() -> None:
    assert lines(measured(0.4, 0.9))[-1].startswith("That is too short")


def test_an_assumption_is_named() -> None:
    assert "this assumes that events come within a second" in lines(measured(44.6, 45.9, assumed=True))[1]


def test_what_could_not_be_told_is_said_with_what_is_known_and_what_to_do() -> None:
    estimate = Estimate(35.04, 45.0, 3, 3)
    result = Result(
        TARGET,
        Ending.TOO_LITTLE_TRAFFIC,
        estimate,
        "13 events came in 360 s",
        "send more",
        more_seconds=266.0,
    )
    assert lines(result) == [
        f"So far: one heartbeat keeps {TARGET.label} eligible for 35.0 to 45.0 s; 3 of 3 rounds say so.",
        "The window is not known well enough: 13 events came in 360 s; send more.",
        "At this traffic it would take about 4m more.",
    ]


def test_nothing_is_said_of_a_window_of_which_nothing_is_known() -> None:
    assert lines(Result(TARGET, Ending.INTERRUPTED, Estimate())) == [
        "The window is not known well enough: it was interrupted."
    ]


@pytest.mark.parametrize(
    ("at_least", "at_most", "said"),
    [(44.99, 45.01, "44.9 to 45.1 s"), (30.0, inf, "more than 30.0 s"), (0.0, 20.0, "at most 20.0 s")],
)
def test_bounds_are_rounded_outwards(at_least: float, at_most: float, said: str) -> None:
    assert bounds(Estimate(at_least, at_most, 1, 1)) == said


def test_programs_get_no_infinity_and_no_window_that_was_not_measured() -> None:
    nothing = as_json(Result(TARGET, Ending.INTERRUPTED, Estimate()), quota_shared=True)
    assert (nothing["at_least_seconds"], nothing["at_most_seconds"], nothing["window_seconds"]) == (
        0,
        None,
        None,
    )
    assert (nothing["measured"], nothing["configure_window"], nothing["quota_shared"]) == (False, None, True)

    early = as_json(Result(TARGET, Ending.INTERRUPTED, Estimate(30.0, 50.0, 1, 1)), quota_shared=False)
    assert (early["window_seconds"], early["error_seconds"], early["configure_window"]) == (40, 10, None)

    found = as_json(measured(44.68, 45.12), quota_shared=False)
    assert (found["measured"], found["configure_window"]) == (True, "44s")


def measurement() -> Measurement:
    """One that was not begun."""

    async def nothing() -> str:
        return ""

    async def permit() -> None:
        pass

    return Measurement(
        TARGET,
        api=CloudflareClient({}, base_url="http://127.0.0.1:9/client/v4"),
        connect=Opener(),
        permit=permit,
        undisturbed=nothing,
        clock=lambda: 1000.0,
        error=1.0,
    )


def played() -> Round:
    """A round that says 35 to 45 s, less or more by the shift of 1 s."""
    seen = Round(Beat(1000.0, 1000.0), 999.0)
    seen.deliver(1035.0, 1035.0)
    seen.show([1045.0])
    seen.restore(1060.0)
    seen.accept(1060.0)
    seen.deliver(1061.0, 1061.0)
    return seen


def test_progress_says_what_is_waited_for_and_what_is_known() -> None:
    under_way = measurement()
    assert list(progress(under_way, 1000.0)) == ["opening a live tail", "nothing is known yet"]
    under_way.phase = Phase.RESTORING
    under_way.estimator.add(played(), 70.0)
    assert list(progress(under_way, 1000.0)) == [
        "heartbeat sent: waiting until events come again",
        "so far: 34.0 to 45.0 s, 1 of 1 rounds say so",
    ]
    under_way.estimator.traffic.note([1000.0, 1010.0, 1020.0, 1030.0, 1040.0])
    assert known(under_way) == "so far: 34.0 to 45.0 s, 1 of 1 rounds say so; about 4m more"


def test_every_key_is_explained(json_page: str) -> None:
    keys = as_json(measured(44.6, 45.2), quota_shared=False).keys()
    explained = json_page.partition("## keepalive calibrate --json\n")[2].partition("\n## ")[0]
    assert {key for key in keys if f"`{key}`" not in explained} == set()
    assert {ending for ending in Ending if f"`{ending}`" not in explained} == set()
