"""Filters as the API writes them."""

from __future__ import annotations

from keepalive.cloudflare.filters import filters_of, filters_within
from keepalive.core.telemetry import Condition, Wanted

ERRORS = Condition("$metadata.level", "eq", value="error")
SLOW = Condition("$workers.wallTimeMs", ">", "number", 500)
FAILED = Condition("$metadata.error", "exists")

WRITTEN = [
    {"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"},
    {"key": "$workers.wallTimeMs", "operation": ">", "type": "number", "value": 500},
    {"key": "$metadata.error", "operation": "exists", "type": "string"},
]
ITS_OWN = {"key": "$workers.scriptName", "operation": "eq", "type": "string", "value": "api"}


def test_every_event_needs_no_filter() -> None:
    assert filters_of(Wanted()) == filters_of(Wanted(any_of=True)) == filters_within(None, Wanted()) == {}


def test_conditions_are_leaves_and_what_they_have_no_value_for_is_left_out() -> None:
    assert filters_of(Wanted((ERRORS, SLOW, FAILED))) == {"filterCombination": "and", "filters": WRITTEN}


def test_false_and_nought_are_values() -> None:
    wanted = Wanted((Condition("a", "eq", "boolean", value=False), Condition("b", "eq", "number", 0)))

    assert filters_of(wanted)["filters"] == [
        {"key": "a", "operation": "eq", "type": "boolean", "value": False},
        {"key": "b", "operation": "eq", "type": "number", "value": 0},
    ]


def test_what_is_wanted_inside_of_what_is_wanted_is_a_group() -> None:
    inner = Wanted((SLOW, FAILED), any_of=True)

    assert filters_of(Wanted((ERRORS, inner))) == {
        "filterCombination": "and",
        "filters": [WRITTEN[0], {"kind": "group", "filterCombination": "or", "filters": WRITTEN[1:]}],
    }


def test_a_script_is_one_more_condition() -> None:
    for everything in (Wanted(), Wanted(any_of=True)):
        assert filters_within("api", everything) == {"filterCombination": "and", "filters": [ITS_OWN]}
    assert filters_within("api", Wanted((ERRORS,))) == {
        "filterCombination": "and",
        "filters": [ITS_OWN, WRITTEN[0]],
    }


def test_a_script_is_not_one_of_several_that_any_may_be_met_of() -> None:
    assert filters_within("api", Wanted((ERRORS, SLOW), any_of=True)) == {
        "filterCombination": "and",
        "filters": [ITS_OWN, {"kind": "group", "filterCombination": "or", "filters": WRITTEN[:2]}],
    }
    assert filters_within(None, Wanted((ERRORS, SLOW), any_of=True)) == {
        "filterCombination": "or",
        "filters": WRITTEN[:2],
    }
