"""Filters: which events a live tail or a query asks for, in the words of the API reference."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from keepalive.emulator.reply import Json

Combination = Annotated[Literal["and", "or", "AND", "OR"], Field(alias="filterCombination")]
Scalar = str | int | float | bool
_Test = Callable[[Scalar, Scalar], bool]


def _matches(text: Scalar, pattern: Scalar) -> bool:
    return re.search(str(pattern), str(text)) is not None


def _ordered(compare: Callable[[float, float], bool]) -> _Test:
    return lambda have, want: (
        isinstance(have, int | float) and isinstance(want, int | float) and compare(have, want)
    )


def _among(have: Scalar, want: Scalar) -> bool:
    return str(have) in [part.strip() for part in str(want).split(",")]


_TESTS: Mapping[str, _Test] = {
    "includes": lambda have, want: str(want) in str(have),
    "not_includes": lambda have, want: str(want) not in str(have),
    "starts_with": lambda have, want: str(have).startswith(str(want)),
    "ends_with": lambda have, want: str(have).endswith(str(want)),
    "regex": _matches,
    "in": _among,
    "not_in": lambda have, want: not _among(have, want),
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": _ordered(operator.gt),
    "gte": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "lte": _ordered(operator.le),
}
_NEGATIVE = frozenset({"not_includes", "not_in", "neq"})
_SPELLINGS: Mapping[str, str] = {
    **{name: name for name in (*_TESTS, "exists", "is_null")},
    **{name.upper(): name for name in ("includes", "exists", "in", "not_in", "starts_with", "ends_with")},
    "=": "eq",
    "!=": "neq",
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "DOES_NOT_INCLUDE": "not_includes",
    "MATCH_REGEX": "regex",
    "DOES_NOT_EXIST": "is_null",
}


def _known(operation: str) -> str:
    if operation not in _SPELLINGS:
        raise ValueError("unknown operation")
    return _SPELLINGS[operation]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class Leaf(_Body):
    """One condition on one key."""

    key: str
    operation: Annotated[str, AfterValidator(_known)]
    type: Literal["string", "number", "boolean"]
    value: Scalar | None = None
    kind: Literal["filter"] = "filter"

    def matches(self, event: Json) -> bool:
        """Say whether an event meets the condition; an absent key meets only the negative ones."""
        have = _look_up(event, self.key)
        if self.operation in ("exists", "is_null"):
            return (have is None) is (self.operation == "is_null")
        if not isinstance(have, Scalar) or self.value is None:
            return self.operation in _NEGATIVE
        return _TESTS[self.operation](have, self.value)


class Group(_Body):
    """Conditions combined; without any, every event matches."""

    kind: Literal["group"] = "group"
    combination: Combination = "and"
    filters: list[Leaf | Group] = []

    def matches(self, event: Json) -> bool:
        """Say whether an event meets all of the conditions, or (`or`) one of them."""
        if not self.filters:
            return True
        met = (one.matches(event) for one in self.filters)
        return any(met) if self.combination.lower() == "or" else all(met)


def _look_up(event: Json, key: str) -> Json:
    value = event
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
