"""Filters: which events are wanted, as the API writes it. A live tail and a query take the same."""

from __future__ import annotations

from dataclasses import replace

from keepalive.core.outcome import Denied, Throttled, Transient
from keepalive.core.telemetry import Condition, Wanted

_Refused = Throttled | Denied | Transient

Filters = dict[str, object]
"""`filterCombination` and `filters`, as they stand in a body."""


def filters_of(wanted: Wanted) -> Filters:
    """Write what is wanted; nothing at all where that is every event."""
    return _group(wanted) if wanted.conditions else {}


def filters_within(script: str | None, wanted: Wanted) -> Filters:
    """Write what is wanted of one script, or of the whole account where it is None."""
    if script is None:
        return filters_of(wanted)
    its_own = Condition("$workers.scriptName", "eq", "string", script)
    rest = (wanted,) if wanted.any_of and wanted.conditions else wanted.conditions
    return _group(Wanted((its_own, *rest)))


def explained(outcome: _Refused, wanted: Wanted) -> _Refused:
    """Say of a bad request with filters that they may be what is bad."""
    if isinstance(outcome, Denied) and outcome.fault.cause == "bad_request" and wanted.conditions:
        hint = f"check the filters' keys, operations and types; or {outcome.fault.hint}"
        return replace(outcome, fault=replace(outcome.fault, hint=hint))
    return outcome


def _group(wanted: Wanted) -> Filters:
    return {
        "filterCombination": "or" if wanted.any_of else "and",
        "filters": [_filter(one) for one in wanted.conditions],
    }


def _filter(one: Condition | Wanted) -> Filters:
    if isinstance(one, Wanted):
        return {"kind": "group", **_group(one)}
    leaf: Filters = {"key": one.key, "operation": one.operation, "type": one.kind}
    return leaf if one.value is None else leaf | {"value": one.value}
