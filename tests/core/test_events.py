import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core import events
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import AttemptFailed, EligibilityChanged, Level, SuspendDetected
from keepalive.core.outcome import Fault
from tests.core.stage import fleet

DOCUMENTED = {
    "daemon.started",
    "daemon.ready",
    "daemon.draining",
    "heartbeat.accepted",
    "attempt.failed",
    "eligibility.changed",
    "target.refused",
    "group.stretched",
    "group.throttled",
    "breaker.opened",
    "breaker.closed",
    "credential.denied",
    "credential.expiring",
    "suspend.detected",
    "eligibility.summary",
}


KINDS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
]


def test_names_are_dotted_past_tense_and_each_stands_for_one_event() -> None:
    names = [kind.name for kind in KINDS]

    assert set(names) >= DOCUMENTED
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", name) for name in names)


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (Eligibility.PENDING, Level.DEBUG),
        (Eligibility.ELIGIBLE, Level.INFO),
        (None, Level.INFO),
        (Eligibility.AT_RISK, Level.WARNING),
        (Eligibility.LAPSED, Level.ERROR),
        (Eligibility.DENIED, Level.ERROR),
        (Eligibility.REFUSED, Level.ERROR),
    ],
)
def test_a_change_is_as_loud_as_what_the_target_has_become(state: Eligibility | None, level: Level) -> None:
    change = EligibilityChanged(
        at=1.0,
        target=fleet(1)[0],
        from_state=Eligibility.ELIGIBLE,
        to_state=state,
        cause="late",
        eligible_until=None,
    )

    assert change.level is level


@given(st.integers(1, 20))
def test_a_heartbeat_that_keeps_failing_is_worth_one_warning(attempt: int) -> None:
    failed = AttemptFailed(
        at=1.0,
        target=fleet(1)[0],
        attempt=attempt,
        hedge=False,
        latency=0.1,
        outcome="transient",
        fault=Fault("reset"),
    )

    assert failed.level is (Level.WARNING if attempt == 3 else Level.DEBUG)


@given(st.floats(allow_nan=False))
def test_an_event_is_a_value_with_the_level_of_its_kind(seconds: float) -> None:
    event = SuspendDetected(at=1.0, suspended=seconds)

    assert event == SuspendDetected(at=1.0, suspended=seconds)
    assert event.level is Level.WARNING
