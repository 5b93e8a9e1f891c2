from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.events import Event
from keepalive.core.target import Target
from keepalive.sinks.line import Line, line_of
from keepalive.sinks.repeats import Repeats
from tests.sinks.samples import ACCOUNT, DENIAL, FAULT, TARGET, changed, failed, summary


def passed(repeats: Repeats, event: Event) -> list[Line]:
    return list(repeats.passed(line_of(event, lambda at: at), event.at))


def counts(lines: list[Line]) -> list[tuple[object, object]]:
    return [(line["event"], line.get("repeats")) for line in lines]


def test_the_first_fault_is_told_at_once_and_the_next_after_ten_seconds_counts_the_hidden_ones() -> None:
    repeats = Repeats()

    assert counts(passed(repeats, failed(0))) == [("attempt.failed", None)]
    assert [passed(repeats, failed(at)) for at in (1, 2, 9.9)] == [[], [], []]
    assert counts(passed(repeats, failed(10))) == [("attempt.failed", 3)]


def test_targets_of_one_credential_share_a_fault() -> None:
    repeats = Repeats()
    passed(repeats, failed(0))

    assert passed(repeats, failed(1, target=Target("prod", ACCOUNT, "web"))) == []


def test_another_cause_or_credential_is_another_fault() -> None:
    repeats = Repeats()
    passed(repeats, failed(0))

    assert passed(repeats, failed(1, replace(FAULT, cause="timeout")))
    assert passed(repeats, failed(1, replace(FAULT, http_status=502)))
    assert passed(repeats, failed(1, replace(FAULT, error_code=1)))
    assert passed(repeats, failed(1, target=TARGET._replace(credential="other")))


def test_changes_of_eligibility_and_summaries_are_never_hidden() -> None:
    repeats = Repeats()

    assert all(passed(repeats, event) for event in [changed(), changed(), summary(), summary()])


def test_a_fault_that_came_to_rest_is_told_when_anything_else_happens() -> None:
    repeats = Repeats()
    for at in (0, 1, 2, 3):
        passed(repeats, failed(at))

    lines = passed(repeats, summary(60))

    assert counts(lines) == [("attempt.failed", 2), ("eligibility.summary", None)]
    assert str(lines[0]["timestamp"]).endswith("00:00:03.000Z")


def test_a_flush_tells_the_last_of_what_is_hidden_once() -> None:
    repeats = Repeats()
    passed(repeats, failed(0))
    passed(repeats, failed(1))

    assert counts(list(repeats.flush())) == [("attempt.failed", None)]
    assert list(repeats.flush()) == []


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["timeout", "reset", "http_503"])), max_size=60))
def test_lines_and_repeats_add_up_to_what_happened(steps: list[tuple[float, str]]) -> None:
    repeats, now, lines = Repeats(), 0.0, list[Line]()
    for step, cause in steps:
        now += step
        lines += passed(repeats, failed(now, replace(DENIAL, cause=cause)))
    lines += repeats.flush()

    for cause in {cause for _, cause in steps}:
        told = [line for line in lines if line["cause"] == cause]
        happened = sum(each == cause for _, each in steps)
        assert sum(1 + int(str(line.get("repeats", 0))) for line in told) == happened
