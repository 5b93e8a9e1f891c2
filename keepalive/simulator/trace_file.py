"""A trace file: faults to play, in TOML, one `[[spells]]` table for each."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from math import fsum
from pathlib import Path
from random import Random
from typing import Any

from keepalive.config.duration import HINT, parse_duration
from keepalive.config.positions import KeyPath, positions
from keepalive.config.text import read_text
from keepalive.config.wording import did_you_mean, dotted, one_of, quote
from keepalive.core.plan import GroupPlan
from keepalive.core.target import Scope, Target
from keepalive.errors import ConfigError, ConfigFault
from keepalive.simulator.spells import Broken, Crash, Flaky, Loss, Outage, Slow, Spell, Suspend, Throttle

_KINDS: Mapping[str, type[Spell]] = {
    kind.__name__.lower(): kind for kind in (Outage, Flaky, Slow, Throttle, Broken, Suspend, Crash)
}
_SCOPES = {scope.name.lower(): scope for scope in (Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET)}

_PARTS = ("reset", "unavailable", "hang")
"""Keys of flaky that share all attempts among them."""

Value = float | int | Scope | Loss | frozenset[str]


@dataclass(frozen=True, slots=True)
class _Table:
    """One spell as the file says it; whom it touches is drawn once the groups are known."""

    kind: type[Spell]
    values: Mapping[str, Value]

    def spell(self, chance: Random, groups: tuple[GroupPlan, ...]) -> Spell:
        values: dict[str, Any] = dict(self.values)
        if count := values.pop("targets", None):
            named = values.get("groups", frozenset())
            plans = [plan.targets for plan in groups if not named or plan.name in named]
            drawn = (chance.sample(targets, min(count, len(targets))) for targets in plans)
            values["targets"] = frozenset[Target](target for some in drawn for target in some)
        return self.kind(**values)


@dataclass(frozen=True, slots=True)
class Trace:
    """The faults of a file. Called as a `Weather`, it makes them for the groups that are played."""

    tables: tuple[_Table, ...]

    def __call__(self, chance: Random, _duration: float, groups: tuple[GroupPlan, ...]) -> tuple[Spell, ...]:
        """Make the spells; the seed chooses who is touched where the file says only how many."""
        return tuple(table.spell(chance, groups) for table in self.tables)


def read_trace(path: Path) -> Trace:
    """Read a trace.

    Raises:
        ConfigError: The file cannot be read, is no TOML, or has unknown keys or wrong values; all at once.
    """
    try:
        text = read_text(path)
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError((ConfigFault(str(path), "", f"is no TOML: {error}", "mend it there"),)) from None
    except ValueError as error:
        hint = "name a readable TOML file, or a preset"
        raise ConfigError((ConfigFault(str(path), "", str(error), hint),)) from None
    reader = _Reader(path, positions(text))
    trace = reader.trace(document)
    if reader.faults:
        raise ConfigError(tuple(reader.faults))
    return trace


class _Reader:
    """Reads the tables, one after the other, and collects what is wrong with them."""

    def __init__(self, path: Path, lines: Mapping[KeyPath, int]) -> None:
        self.faults: list[ConfigFault] = []
        self._path = path
        self._lines = lines

    def trace(self, document: Mapping[str, object]) -> Trace:
        for key in document.keys() - {"spells"}:
            self._fault((key,), "unknown key", did_you_mean(key, ["spells"], "write [[spells]] tables"))
        tables = document.get("spells")
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            if "spells" in document or not self.faults:
                self._fault(("spells",), "no spells", "write one [[spells]] table for each fault")
            return Trace(())
        read = (self._table(index, table) for index, table in enumerate(tables))
        return Trace(tuple(table for table in read if table is not None))

    def _table(self, index: int, table: Mapping[str, object]) -> _Table | None:
        here: KeyPath = ("spells", index)
        name = table.get("kind")
        kind = _KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            hint = f"write one of {one_of(_KINDS)}"
            found = f"{quote(name)} is no kind of spell" if "kind" in table else "no kind"
            place = (*here, "kind") if "kind" in table else here
            self._fault(place, found, did_you_mean(str(name), _KINDS, hint))
            return None
        known = {field.name for field in fields(kind)} - {"credentials"}
        values: dict[str, Value] = {}
        for key, value in table.items():
            if key == "kind":
                continue
            if key not in known:
                hint = did_you_mean(key, known, f"a spell of {name} has {one_of(sorted(known))}")
                self._fault((*here, key), "unknown key", hint)
                continue
            try:
                values[key] = _PARSERS[key](value)
            except ValueError as error:
                self._fault((*here, key), *error.args)
        needed = {field.name for field in fields(kind) if field.default is MISSING}
        needed |= {"length"} & known if kind in (Suspend, Crash) else set()
        for key in sorted(needed - table.keys()):
            self._fault(here, f"no {key}", f"a spell of {name} needs it")
        total = fsum(value for key, value in values.items() if key in _PARTS and isinstance(value, float))
        if total > 1:
            self._fault(
                here, f"its parts add up to {total}", "reset, unavailable and hang are 1 together at most"
            )
        return _Table(kind, values)

    def _fault(self, place: KeyPath, found: str, hint: str) -> None:
        above = (place[:end] for end in range(len(place), 0, -1))
        line = next((self._lines[path] for path in above if path in self._lines), 1)
        self.faults.append(ConfigFault(f"{self._path}:{line}", dotted(place), found, hint))


def _duration(value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{quote(value)} {error}", HINT) from None


def _moment(value: object) -> float:
    return 0.0 if value in (0, "0", "0s") and value is not False else _duration(value)


def _part(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise _wrong(value, "a part of the attempts", "write a number from 0 to 1")


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise _wrong(
        value, "a number of targets", "write how many of each group, at least 1; the seed draws them"
    )


def _groups(value: object) -> frozenset[str]:
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return frozenset(value)
    raise _wrong(value, "a list of rate groups", 'write their names: ["group0"]')


def _status(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599 and value != 429:
        return value
    raise _wrong(
        value, "a status of an error", "write one from 400 to 599; for 429 there is the kind throttle"
    )


def _scope(value: object) -> Scope:
    if isinstance(value, str) and value in _SCOPES:
        return _SCOPES[value]
    raise _wrong(value, "a scope", f"write {one_of(_SCOPES)}")


def _loss(value: object) -> Loss:
    if isinstance(value, str) and value in tuple(Loss):
        return Loss(value)
    raise _wrong(value, "a way to lose requests", f"write {one_of(Loss)}")


def _wrong(value: object, what: str, hint: str) -> ValueError:
    return ValueError(f"{quote(value)} is not {what}", hint)


_PARSERS: Mapping[str, Callable[[object], Value]] = {
    "start": _moment,
    "length": _duration,
    "groups": _groups,
    "targets": _count,
    "loss": _loss,
    "reset": _part,
    "unavailable": _part,
    "hang": _part,
    "seconds": _duration,
    "retry_after": _duration,
    "status": _status,
    "scope": _scope,
}
