from __future__ import annotations

import json

import pytest

from keepalive.cloudflare.filters import filters_of
from keepalive.core.telemetry import Condition, Wanted
from keepalive.errors import UsageError
from keepalive.livetail.filters import DEEPEST, KEYS, read_filter, read_json, wanted_of


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("level = error", Condition("$metadata.level", "eq", "string", "error")),
        ("level=error", Condition("$metadata.level", "eq", "string", "error")),
        ("LEVEL == error", Condition("$metadata.level", "eq", "string", "error")),
        ("outcome != ok", Condition("$workers.outcome", "neq", "string", "ok")),
        ("status >= 500", Condition("status", "gte", "number", 500)),
        ("status>500", Condition("status", "gt", "number", 500)),
        ("$workers.cpuTimeMs < 1.5", Condition("$workers.cpuTimeMs", "lt", "number", 1.5)),
        ("took <= -3", Condition("took", "lte", "number", -3)),
        ("user.paid = true", Condition("user.paid", "eq", "boolean", True)),
        ("user.id = 42", Condition("user.id", "eq", "number", 42)),
        ('user.id = "42"', Condition("user.id", "eq", "string", "42")),
        ("user.paid = 'true'", Condition("user.paid", "eq", "string", "true")),
        ('name = ""', Condition("name", "eq", "string", "")),
        ("message includes timed out", Condition("$metadata.message", "includes", "string", "timed out")),
        ("message includes 42", Condition("$metadata.message", "includes", "string", "42")),
        ("message excludes 'a b'", Condition("$metadata.message", "not_includes", "string", "a b")),
        ("message not includes x", Condition("$metadata.message", "not_includes", "string", "x")),
        ("trigger starts_with GET", Condition("$metadata.trigger", "starts_with", "string", "GET")),
        ("trigger starts with GET", Condition("$metadata.trigger", "starts_with", "string", "GET")),
        ("script ends_with -eu", Condition("$workers.scriptName", "ends_with", "string", "-eu")),
        ("message matches ^a.*(b|c)$", Condition("$metadata.message", "regex", "string", "^a.*(b|c)$")),
        ("error exists", Condition("$metadata.error", "exists")),
        ("error not exists", Condition("$metadata.error", "is_null")),
        ("url = a=b", Condition("url", "eq", "string", "a=b")),
        ('"level" = x', Condition("level", "eq", "string", "x")),
        ('"levle" = x', Condition("levle", "eq", "string", "x")),
    ],
)
def test_a_filter_is_read_as_people_write_it(text: str, condition: Condition) -> None:
    assert read_filter(text) == condition


def test_a_list_of_values_is_a_group_of_conditions() -> None:
    one = read_filter("level in (error, 'warn, too', 5)")
    none = read_filter("level not in (debug, log)")

    assert one == Wanted(
        (
            Condition("$metadata.level", "eq", "string", "error"),
            Condition("$metadata.level", "eq", "string", "warn, too"),
            Condition("$metadata.level", "eq", "number", 5),
        ),
        any_of=True,
    )
    assert none == Wanted(
        (
            Condition("$metadata.level", "neq", "string", "debug"),
            Condition("$metadata.level", "neq", "string", "log"),
        )
    )


@pytest.mark.parametrize("name", KEYS)
def test_every_short_name_stands_for_a_key_of_the_api(name: str) -> None:
    read = read_filter(f"{name} exists")

    assert isinstance(read, Condition)
    assert read.key.startswith(("$metadata.", "$workers."))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write KEY OPERATION VALUE"),
        ("level", "write KEY OPERATION VALUE"),
        ("= error", "write KEY OPERATION VALUE"),
        ("levle = error", "did you mean `level`?"),
        ("$metadata.levl = error", "did you mean `$metadata.level`?"),
        ("message inclues x", "did you mean `includes`?"),
        ("level equals error", "there are = =="),
        ("level =! error", "there are = =="),
        ("level =", "write one after the operation"),
        ("level = 'x", "close it"),
        ("status > high", "write one after it, such as 100"),
        ("level in ()", "such as (error, warn)"),
        ("level in (a, 'b)", "such as (error, warn)"),
        ("error exists now", "leave it out"),
    ],
)
def test_what_is_no_filter_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_filter(text)

    assert str(refused.value).startswith("--filter ")
    assert hint in str(refused.value)


def test_a_control_character_in_a_wrong_filter_is_spelt_out() -> None:
    with pytest.raises(UsageError, match=r"\\x1b"):
        read_filter("level\x1b[2J")


ERROR = Condition("$metadata.level", "eq", "string", "error")
SLOW = Condition("took", "gt", "number", 100)
FOUND = Wanted(
    (
        Condition("$metadata.message", "includes", "string", "pay"),
        Condition("$metadata.error", "includes", "string", "pay"),
    ),
    any_of=True,
)


def test_no_filter_wants_every_event() -> None:
    assert wanted_of() == Wanted()
    assert filters_of(wanted_of()) == {}


def test_all_filters_are_to_be_met_or_any_where_that_is_asked_for() -> None:
    both = ("level = error", "took > 100")

    assert wanted_of(both) == Wanted((ERROR, SLOW))
    assert wanted_of(both, any_of=True) == Wanted((ERROR, SLOW), any_of=True)
    assert wanted_of(both[:1], any_of=True) == Wanted((ERROR,))


def test_a_search_looks_into_message_and_error_and_is_to_be_met_besides() -> None:
    assert wanted_of(search="pay") == FOUND
    assert wanted_of(("level = error", "took > 100"), any_of=True, search="pay") == Wanted(
        (Wanted((ERROR, SLOW), any_of=True), FOUND)
    )


def test_an_empty_search_is_refused() -> None:
    with pytest.raises(UsageError, match="--search is empty"):
        wanted_of(search="")


def test_json_is_read_as_the_api_takes_it() -> None:
    leaf = {"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"}
    slow = {"key": "took", "operation": "gt", "value": 100}
    group = {"kind": "group", "filterCombination": "OR", "filters": [leaf, {"filters": [slow]}]}

    assert read_json(json.dumps(leaf)) == Wanted((ERROR,))
    assert read_json(json.dumps([leaf, slow])) == Wanted((ERROR, SLOW))
    assert read_json(json.dumps(group)) == Wanted((ERROR, Wanted((SLOW,))), any_of=True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "is no JSON at character 2"),
        ("5", "something else than an object"),
        ("[]", "a group that is none"),
        ('{"filters": "x"}', "a group that is none"),
        ('{"filters": [], "filterCombination": "and"}', "a group that is none"),
        ('{"filters": [{"key": "a", "operation": "exists"}], "filterCombination": "xor"}', "that is none"),
        ('{"operation": "eq", "value": 1}', "without a key"),
        ('{"key": "a", "operation": "equals", "value": 1}', "the operation 'equals'"),
        ('{"key": "a", "operation": [], "value": 1}', "the operation []"),
        ('{"key": "a", "operation": "eq", "type": "date", "value": 1}', "another type"),
        ('{"key": "a", "operation": "eq"}', "has no value"),
        ('{"key": "a", "operation": "eq", "type": "string", "value": [1]}', "no text, number or boolean"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_json_that_is_no_filter_is_refused(text: str, found: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_json(text)

    assert str(refused.value).startswith("--filter-json")
    assert found in str(refused.value)


def test_groups_are_nested_to_a_depth_that_is_bounded() -> None:
    def nested(depth: int) -> str:
        leaf = '{"key": "a", "operation": "exists"}'
        return '{"filters": [' * depth + leaf + "]}" * depth

    assert read_json(nested(DEEPEST)).conditions
    with pytest.raises(UsageError, match="nested deeper"):
        read_json(nested(DEEPEST + 1))
