"""Filters: which events are wanted, as people write it (`level = error`) and as programs do (JSON)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from keepalive.core.telemetry import Condition, Value, Wanted
from keepalive.errors import UsageError

KEYS: Mapping[str, str] = {
    "level": "$metadata.level",
    "message": "$metadata.message",
    "error": "$metadata.error",
    "trigger": "$metadata.trigger",
    "origin": "$metadata.origin",
    "service": "$metadata.service",
    "outcome": "$workers.outcome",
    "script": "$workers.scriptName",
}
"""Short names of keys; any other key stands for itself."""

DEEPEST = 10
"""Groups within groups in a JSON filter; nobody writes more by hand."""

SEARCHED = ("message", "error")
"""Where a search looks."""

Kind = Literal["string", "number", "boolean"]
_Takes = Literal["any", "text", "number", "list", "nothing"]


@dataclass(frozen=True, slots=True)
class _Operation:
    """What a word or a sign stands for: the name that the API has for it, and which values it takes."""

    name: str
    takes: _Takes = "text"


_OPERATIONS: Mapping[str, _Operation] = {
    "=": _Operation("eq", "any"),
    "==": _Operation("eq", "any"),
    "!=": _Operation("neq", "any"),
    ">": _Operation("gt", "number"),
    ">=": _Operation("gte", "number"),
    "<": _Operation("lt", "number"),
    "<=": _Operation("lte", "number"),
    "includes": _Operation("includes"),
    "not_includes": _Operation("not_includes"),
    "excludes": _Operation("not_includes"),
    "starts_with": _Operation("starts_with"),
    "ends_with": _Operation("ends_with"),
    "matches": _Operation("regex"),
    "regex": _Operation("regex"),
    "exists": _Operation("exists", "nothing"),
    "not_exists": _Operation("is_null", "nothing"),
    "is_null": _Operation("is_null", "nothing"),
    "in": _Operation("eq", "list"),
    "not_in": _Operation("neq", "list"),
}
_WORDS = [word for word in _OPERATIONS if word[0].isalpha()]
_HINT = (
    "write KEY OPERATION VALUE, such as 'level = error' or 'message includes timeout'; operations are "
    f"= != > >= < <= {' '.join(_WORDS)}"
)

_FILTER = re.compile(
    r"""\s*(?P<key>"[^"]+"|'[^']+'|[^\s=!<>"']+)
        \s*(?:(?P<sign>[=!<>]+)|(?<=[\s"'])(?P<word>(?:not|starts|ends|is)[\s_]+\w+|\w+)(?=[\s("']|$))
        \s*(?P<value>.*?)\s*""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_PART = re.compile(r"""\s*("[^"]*"|'[^']*'|[^,"']*?)\s*(?:,|$)""")

_API_OPERATIONS = (
    *("includes", "not_includes", "starts_with", "ends_with", "regex", "exists", "is_null", "in", "not_in"),
    *("eq", "neq", "gt", "gte", "lt", "lte", "=", "!=", ">", ">=", "<", "<="),
    *("INCLUDES", "DOES_NOT_INCLUDE", "MATCH_REGEX", "EXISTS", "DOES_NOT_EXIST"),
    *("IN", "NOT_IN", "STARTS_WITH", "ENDS_WITH"),
)
_VALUELESS = frozenset({"exists", "is_null", "EXISTS", "DOES_NOT_EXIST"})


def wanted_of(
    filters: Sequence[str] = (),
    *,
    any_of: bool = False,
    search: str | None = None,
    as_json: str | None = None,
) -> Wanted:
    """Read what is wanted from the options of a command.

    Args:
        filters: Such as `level = error`; an event has to meet all of them.
        any_of: One of them is enough.
        search: A text that the message or the error has to include, whatever the filters say.
        as_json: A filter in the API's own JSON, to be met besides.

    Raises:
        UsageError: One of them cannot be read; it says which and what to write.
    """
    conditions: list[Condition | Wanted] = []
    read = tuple(read_filter(text) for text in filters)
    if any_of and len(read) > 1:
        conditions.append(Wanted(read, any_of=True))
    else:
        conditions.extend(read)
    if search is not None:
        conditions.append(_search(search))
    if as_json is not None:
        conditions.append(read_json(as_json))
    match conditions:
        case [Wanted() as alone]:
            return alone
        case _:
            return Wanted(tuple(conditions))


def read_filter(text: str) -> Condition | Wanted:
    """Read one filter; `in (a, b)` is a group of conditions.

    A value is a boolean or a number where it looks like one; quotes make it a string, and quotes around a
    key take it as it is.

    Raises:
        UsageError: It cannot be read.
    """
    found = _FILTER.fullmatch(text)
    if found is None:
        raise UsageError(f"--filter {_quoted(text)}: no filter; {_HINT}")
    key = _key(found["key"], text)
    operation = _operation(found["sign"] or found["word"], text)
    value = found["value"]
    match operation.takes:
        case "nothing":
            if value:
                raise _wrong(text, f"{found['word']} takes no value", "leave it out")
            return Condition(key, operation.name)
        case "list":
            parts = [Condition(key, operation.name, *_typed(part)) for part in _parts(value, text)]
            return Wanted(tuple(parts), any_of=operation.name == "eq")
        case "number":
            if not _NUMBER.fullmatch(value):
                raise _wrong(text, f"{found['sign']} compares numbers", "write one after it, such as 100")
            return Condition(key, operation.name, *_typed(value))
        case "text":
            return Condition(key, operation.name, "string", _text(value, text))
        case "any":
            _text(value, text)
            return Condition(key, operation.name, *_typed(value))


def read_json(text: str) -> Wanted:
    """Read a filter in the API's JSON: a leaf, a group, or a list of them that are all to be met.

    Raises:
        UsageError: It is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        at = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"--filter-json is no JSON{at}; {_JSON_HINT}") from None
    read = _json_group({"filters": value} if isinstance(value, list) else value, 0)
    return read if isinstance(read, Wanted) else Wanted((read,))


# --- as people write it ---------------------------------------------------------------------------


def _search(text: str) -> Wanted:
    if not text:
        raise UsageError("--search is empty; write the text to look for, or leave it out")
    return Wanted(tuple(Condition(KEYS[key], "includes", "string", text) for key in SEARCHED), any_of=True)


def _key(text: str, whole: str) -> str:
    if text[0] in "\"'":
        return text[1:-1]
    if text.lower() in KEYS:
        return KEYS[text.lower()]
    known = [*KEYS, *KEYS.values()]
    if text in known:
        return text
    if close := get_close_matches(text, known, n=1, cutoff=0.75):
        hint = f'did you mean `{close[0]}`? A key of your own that is called so stands in quotes: "{text}"'
        raise _wrong(whole, f"there is no key {_quoted(text)}", hint)
    return text


def _operation(text: str, whole: str) -> _Operation:
    word = re.sub(r"[\s_]+", "_", text).lower()
    if operation := _OPERATIONS.get(word):
        return operation
    close = get_close_matches(word, _WORDS, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"there are {' '.join(_OPERATIONS)}"
    raise _wrong(whole, f"there is no operation {_quoted(text)}", hint)


def _typed(text: str) -> tuple[Kind, Value]:
    if text[:1] in ('"', "'") and text[-1:] == text[:1] and len(text) > 1:
        return "string", text[1:-1]
    if text in ("true", "false"):
        return "boolean", text == "true"
    if _NUMBER.fullmatch(text) and len(text) < 300:
        return "number", float(text) if re.search(r"[.eE]", text) else int(text)
    return "string", text


def _text(value: str, whole: str) -> str:
    if not value:
        raise _wrong(whole, "there is no value", 'write one after the operation, or "" for an empty text')
    quote = value[0] if value[0] in "\"'" else ""
    if quote and (len(value) == 1 or value[-1] != quote):
        raise _wrong(whole, f"the quote {quote} is not closed", "close it, or leave both out")
    return value[1:-1] if quote else value


def _parts(value: str, whole: str) -> list[str]:
    inner = value[1:-1] if value.startswith("(") and value.endswith(")") else value
    parts: list[str] = []
    at = 0
    while at < len(inner) or not parts:
        found = _PART.match(inner, at)
        if found is None or not found[1]:
            raise _wrong(whole, "no list of values", "write some in brackets, such as (error, warn)")
        parts.append(found[1])
        at = found.end()
    return parts


def _wrong(whole: str, found: str, hint: str) -> UsageError:
    return UsageError(f"--filter {_quoted(whole)}: {found}; {hint}")


def _quoted(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:78]} …"


# --- as programs write it ---------------------------------------------------------------------------

_JSON_HINT = (
    'write a leaf such as {"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"}, '
    'or a group: {"filterCombination": "or", "filters": [...]}'
)


def _json_group(value: object, depth: int) -> Condition | Wanted:
    if not isinstance(value, dict):
        raise UsageError(f"--filter-json holds something else than an object; {_JSON_HINT}")
    if "filters" not in value:
        return _json_leaf(value)
    parts, combination = value["filters"], value.get("filterCombination", "and")
    if depth == DEEPEST:
        raise UsageError(f"--filter-json is nested deeper than {DEEPEST} groups; write a flatter one")
    if combination not in ("and", "or", "AND", "OR") or not isinstance(parts, list) or not parts:
        raise UsageError(f"--filter-json holds a group that is none; {_JSON_HINT}")
    conditions = tuple(_json_group(part, depth + 1) for part in parts)
    return Wanted(conditions, any_of=combination.lower() == "or")


def _json_leaf(leaf: dict[str, object]) -> Condition:
    key, operation, value = leaf.get("key"), leaf.get("operation"), leaf.get("value")
    kind = leaf.get("type", _kind_of(value))
    if not isinstance(key, str) or not key:
        raise UsageError(f"--filter-json has a leaf without a key; {_JSON_HINT}")
    if not isinstance(operation, str) or operation not in _API_OPERATIONS:
        known = " ".join(_API_OPERATIONS)
        raise UsageError(f"--filter-json: {_quoted(key)} has the operation {operation!r}; there are {known}")
    if kind not in ("string", "number", "boolean"):
        raise UsageError(f"--filter-json: {_quoted(key)} has another type than string, number or boolean")
    if value is None and operation not in _VALUELESS:
        raise UsageError(f"--filter-json: {_quoted(key)} has no value; {operation} needs one")
    if value is not None and not isinstance(value, str | int | float | bool):
        raise UsageError(f"--filter-json: {_quoted(key)} has a value that is no text, number or boolean")
    return Condition(key, operation, kind, value)


def _kind_of(value: object) -> Kind:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "string"
