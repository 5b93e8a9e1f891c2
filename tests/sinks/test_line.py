from __future__ import annotations

import json
from math import inf, nan

import pytest

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import DaemonStarted, Event
from keepalive.sinks.line import Line, line_of, moment
from keepalive.sinks.logs import json_text
from tests.sinks.samples import ACCOUNT, DENIAL, EVENTS, changed, failed, summary

OF_TARGET = ["target", "account_id", "script_id", "credential"]
OF_DENIAL = ["cause", "http_status", "error_code", "cf_ray", "hint", "detail"]
KEYS = {
    "daemon.started": [
        "version",
        "config",
        "targets",
        "rate_groups",
        "window_seconds",
        "interval_seconds",
        "window_calibrated",
    ],
    "daemon.ready": ["eligible", "targets", "after_seconds"],
    "daemon.draining": ["cause", "in_flight"],
    "heartbeat.accepted": [
        *OF_TARGET,
        *("attempt", "hedge", "latency_ms", "lateness_ms", "eligible_until", "cf_ray"),
    ],
    "attempt.failed": [
        *OF_TARGET,
        *("attempt", "hedge", "latency_ms", "outcome", "cause", "http_status", "cf_ray", "detail"),
    ],
    "eligibility.changed": [
        *OF_TARGET,
        *("from_state", "to_state", "cause", "eligible_until", "eligible_for_seconds"),
    ],
    "target.refused": [*OF_TARGET, "rate_group", "room"],
    "group.stretched": ["rate_group", "interval_seconds", "nominal_seconds"],
    "group.throttled": ["rate_group", "until", "retry_after_seconds", *OF_DENIAL],
    "breaker.opened": ["rate_group", "scope", "credential", "account_id", *OF_DENIAL],
    "breaker.closed": ["rate_group", "scope", "open_for_seconds"],
    "credential.denied": ["credential", *OF_DENIAL, "next_probe_at"],
    "credential.verified": ["credential", "expires_on"],
    "credential.expiring": ["credential", "expires_on", "ends_in_seconds", "hint"],
    "suspend.detected": ["suspended_seconds"],
    "loop.stalled": ["lasted_seconds"],
    "state.restored": ["rate_group", "renewals", "calls", "denied"],
    "state.failed": ["path", "cause", "hint"],
    "state.recovered": ["failed_for_seconds"],
    "config.reloaded": ["targets", "added", "removed", "credentials", "restart_needed"],
    "config.rejected": ["faults"],
    "control.opened": ["address"],
    "control.failed": ["address", "cause", "hint"],
    "lease.granted": ["lease", "targets", "ttl_seconds"],
    "lease.ended": ["lease", "cause"],
    "lease.taken": ["lease", "address", "targets"],
    "lease.lost": ["lease", "cause", "hint"],
    "lease.unavailable": ["cause", "hint"],
    "tail.changed": [*OF_TARGET, "state", "cause"],
    "eligibility.summary": [
        *("pending", "eligible", "at_risk", "lapsed", "denied", "refused"),
        *("eligible_ratio", "heartbeats", "attempts", "final"),
    ],
}


def wall_at(at: float) -> float:
    return 1_800_000_000 + at


def line(event: Event) -> Line:
    return line_of(event, wall_at)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_every_event_has_its_stable_keys_in_order(event: Event) -> None:
    assert list(line(event)) == ["timestamp", "level", "event", *KEYS[event.name]]


def test_every_kind_of_event_is_among_the_samples() -> None:
    assert {event.name for event in EVENTS} == {kind.name for kind in Event.__subclasses__()}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_every_line_is_one_line_of_strict_json(event: Event) -> None:
    text = json_text(line(event))

    assert "\n" not in text
    assert json.loads(text, parse_constant=pytest.fail) == line(event)


def test_a_change_of_eligibility_says_until_when_and_for_how_long() -> None:
    assert line(changed(at=1.5)) == {
        "timestamp": "2027-01-15T08:00:01.500Z",
        "level": "info",
        "event": "eligibility.changed",
        "target": f"{ACCOUNT}/api",
        "account_id": ACCOUNT,
        "script_id": "api",
        "credential": "prod",
        "from_state": "pending",
        "to_state": "eligible",
        "cause": "accepted",
        "eligible_until": "2027-01-15T08:00:45.000Z",
        "eligible_for_seconds": 43.5,
    }


def test_what_a_change_has_not_is_null() -> None:
    found = line(changed(None, until=None))

    assert (found["to_state"], found["eligible_until"], found["eligible_for_seconds"]) == (None, None, None)


def test_a_lapse_is_an_error_with_no_time_left_that_keeps_its_own_cause_beside_the_fault() -> None:
    found = line(changed(Eligibility.LAPSED, at=50.0, fault=DENIAL))

    assert (found["level"], found["eligible_for_seconds"], found["cause"]) == ("error", 0.0, "accepted")
    assert (found["error_code"], found["hint"]) == (10000, "add the permission")


def test_durations_are_rounded_in_the_unit_of_their_key() -> None:
    assert line(failed())["latency_ms"] == 250.0
    assert line(summary())["eligible_ratio"] == 0.999988


@pytest.mark.parametrize("endless", [inf, nan])
def test_a_number_that_json_cannot_carry_is_null(endless: float) -> None:
    started = DaemonStarted(
        at=0,
        version="",
        config="",
        targets=1,
        rate_groups=1,
        window=45.0,
        interval=endless,
        window_calibrated=False,
    )

    assert line(started)["interval_seconds"] is None
    assert line(changed(until=inf))["eligible_until"] is None
    assert line(changed(until=inf))["eligible_for_seconds"] is None


@pytest.mark.parametrize("unix", [-62_135_596_800.0 - 1, 253_402_300_800.0, 1e18])
def test_a_moment_that_no_calendar_has_is_none(unix: float) -> None:
    assert moment(0.0, lambda _: unix) is None
