"""A query: what asks for a time that is over, and what replies to it are taken for."""

from __future__ import annotations

import json

import pytest

from keepalive.cloudflare.query import opened, page, request
from keepalive.cloudflare.telemetry import MOST_EVENTS
from keepalive.core.outcome import Accepted, Transient
from keepalive.core.target import Scope, Target
from keepalive.core.telemetry import Condition, Event, Page, Question, Wanted

ACCOUNT = "0123456789abcdef0123456789abcdef"
ONE, WHOLE = Target("prod", ACCOUNT, "api"), Target("prod", ACCOUNT)
RAY = Accepted(cf_ray="8f1c-FRA")


def asked(target: Target, question: Question) -> dict[str, object]:
    body = json.loads(request(target, question))
    assert isinstance(body, dict)
    return body


def test_the_body_of_a_script_asks_for_its_own_events() -> None:
    assert asked(ONE, Question(1000, 2000)) == {
        "queryId": "keepalive",
        "timeframe": {"from": 1000, "to": 2000},
        "view": "events",
        "limit": 100,
        "parameters": {
            "datasets": ["cloudflare-workers"],
            "filterCombination": "and",
            "filters": [
                {"key": "$workers.scriptName", "operation": "eq", "type": "string", "value": "api"},
            ],
        },
    }


def test_the_body_of_a_whole_account_asks_for_what_is_wanted_only() -> None:
    wanted = Wanted((Condition("$metadata.level", "eq", value="error"),))

    assert asked(WHOLE, Question(1, 2))["parameters"] == {"datasets": ["cloudflare-workers"]}
    assert asked(WHOLE, Question(1, 2, wanted))["parameters"] == {
        "datasets": ["cloudflare-workers"],
        "filterCombination": "and",
        "filters": [{"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"}],
    }


@pytest.mark.parametrize(("newer", "direction"), [(False, "next"), (True, "prev")])
def test_a_page_begins_at_the_event_where_another_ended(newer: bool, direction: str) -> None:  # noqa: FBT001 - a row of the table
    body = asked(ONE, Question(1, 2, limit=7, offset="01HF", newer=newer))

    assert (body["offset"], body["offsetDirection"], body["limit"]) == ("01HF", direction, 7)


def test_a_moment_is_asked_for_with_the_next_one() -> None:
    assert asked(ONE, Question(1000, 1000))["timeframe"] == {"from": 1000, "to": 1001}


# --- replies ------------------------------------------------------------------------------------

FIRST = '{"$metadata":{"id":"b"},"timestamp":2,"$workers":{"scriptName":"api"}}'
SECOND = '{"$metadata":{"id":"a"},"timestamp":1,"m":"\\ud83d"}'
ERRORS = [{"code": 10000, "message": "wörd"}]


def test_events_come_in_the_order_of_the_reply() -> None:
    result = opened(
        f'{{"success":true,"result":{{"events":{{"events":[{FIRST},{SECOND}]}}}}}}'.encode()
    ).result

    assert page(RAY, result) == Page((Event(FIRST, "b", 2, "api"), Event(SECOND, "a", 1, "")))


def test_an_envelope_is_what_says_whether_a_reply_is_accepted() -> None:
    reply = {"success": False, "errors": ERRORS, "messages": [], "result": {"events": {}}}

    taken = opened(json.dumps(reply).encode())

    assert json.loads(taken.envelope) == {"success": False, "errors": ERRORS}
    assert taken.result == {"events": {}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b'{"success":true',
        b"\xff",
        b"[" * 20_000,
        b'{"success":true,"errors":1e999}',
        b'{"success":true,"result":NaN}',
    ],
)
def test_what_has_no_envelope_is_left_to_the_judge_as_it_came(body: bytes) -> None:
    assert opened(body) == (body, None)


@pytest.mark.parametrize("events", [{"count": 0}, {"count": 0, "events": None}, {"count": 0, "events": []}])
def test_a_time_without_events_is_an_empty_page(events: object) -> None:
    assert page(RAY, {"events": events}) == Page(())


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        {},
        {"events": None},
        {"events": []},
        {"events": {}},
        {"events": {"count": 3}},
        {"events": {"count": 3, "events": None}},
        {"events": {"count": 1, "events": [7]}},
        {"events": {"count": 0, "events": {"a": 1}}},
        {"events": {"events": [{}] * (MOST_EVENTS + 1)}},
    ],
    ids=lambda result: json.dumps(result)[:40],
)
def test_a_result_that_does_not_show_its_events_is_no_empty_page(result: object) -> None:
    answer = page(RAY, result)

    assert isinstance(answer, Transient)
    assert (answer.fault.cause, answer.fault.cf_ray, answer.scope) == (
        "not_accepted",
        "8f1c-FRA",
        Scope.TARGET,
    )
