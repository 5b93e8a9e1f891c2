from __future__ import annotations

import pytest
from pydantic import ValidationError

from keepalive.emulator.filters import Group, Leaf
from keepalive.emulator.reply import Json

EVENT: Json = {
    "$metadata": {"service": "api", "level": "error", "message": "request 9 failed"},
    "$workers": {"cpuTimeMs": 7},
}


def holds(key: str, operation: str, value: str | float | None, kind: str = "string") -> bool:
    leaf = Leaf.model_validate({"key": key, "operation": operation, "type": kind, "value": value})
    return leaf.matches(EVENT)


@pytest.mark.parametrize(
    ("operation", "value", "other"),
    [
        ("includes", "9 f", "8 f"),
        ("INCLUDES", "9 f", "8 f"),
        ("starts_with", "request", "failed"),
        ("ends_with", "failed", "request"),
        ("regex", r"\d failed$", r"^\d"),
        ("MATCH_REGEX", r"\d failed$", r"^\d"),
        ("eq", "request 9 failed", "request 9"),
        ("=", "request 9 failed", "request 9"),
        ("in", "a, request 9 failed", "a, b"),
    ],
)
def test_a_condition_on_text_tells_texts_apart(operation: str, value: str, other: str) -> None:
    assert holds("$metadata.message", operation, value)
    assert not holds("$metadata.message", operation, other)


@pytest.mark.parametrize(
    ("operation", "value", "other"),
    [("not_includes", "x", "9"), ("neq", "x", "request 9 failed"), ("not_in", "x,y", "x,request 9 failed")],
)
def test_a_negative_condition_is_met_by_everything_else(operation: str, value: str, other: str) -> None:
    assert holds("$metadata.message", operation, value)
    assert not holds("$metadata.message", operation, other)
    assert holds("$metadata.absent", operation, other)


@pytest.mark.parametrize(
    ("operation", "value", "other"),
    [("gt", 6, 7), (">=", 7, 8), ("lt", 8, 7), ("<=", 7, 6), ("eq", 7, 8), ("!=", 8, 7)],
)
def test_a_condition_on_numbers_compares(operation: str, value: float, other: float) -> None:
    assert holds("$workers.cpuTimeMs", operation, value, "number")
    assert not holds("$workers.cpuTimeMs", operation, other, "number")


def test_existence_is_asked_without_a_value() -> None:
    assert holds("$metadata.level", "exists", None)
    assert holds("$metadata.error", "DOES_NOT_EXIST", None)
    assert not holds("$metadata.level", "is_null", None)


def test_groups_nest_and_combine() -> None:
    def leaf(service: str) -> dict[str, str]:
        return {"key": "$metadata.service", "operation": "eq", "type": "string", "value": service}

    either = {"kind": "group", "filterCombination": "OR", "filters": [leaf("web"), leaf("api")]}
    assert Group.model_validate(either).matches(EVENT)
    assert not Group.model_validate({**either, "filterCombination": "and"}).matches(EVENT)
    assert Group.model_validate({"filters": [either, leaf("api")]}).matches(EVENT)
    assert not Group.model_validate({"filters": [either, leaf("web")]}).matches(EVENT)


def test_no_filter_lets_everything_through() -> None:
    assert Group().matches(EVENT)


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown operation"):
        Leaf.model_validate({"key": "a", "operation": "like", "type": "string", "value": "b"})
