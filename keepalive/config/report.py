"""The report: all faults of a configuration at once, each with its place, in the words of a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_settings import PydanticBaseSettingsSource

from keepalive.config.layers import known_keys, place
from keepalive.config.positions import KeyPath
from keepalive.config.settings import Settings
from keepalive.config.sources import Sources
from keepalive.config.wording import WrongValueError, did_you_mean, dotted, kind, one_of, quote
from keepalive.errors import ConfigError, ConfigFault

_HINTS = {
    "string": 'write a text in quotes: "…"',
    "float": "write a number",
    "int": "write a whole number",
    "bool": "write true or false",
    "tuple": 'write a list: ["…"]',
    "model": "write a table with keys of its own",
    "dict": "write a table with keys of its own",
    "finite": "write a finite number",
}
"""What to write instead, by the first word of pydantic's error types."""

_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
_LIMITS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


class _Invalid(NamedTuple):
    """One of pydantic's findings."""

    type: str
    path: KeyPath
    value: object
    context: Mapping[str, Any]


class Report:
    """Collects faults and warnings while a configuration is read."""

    def __init__(self, sources: Sources) -> None:
        self._layers = sources.layers
        self._file = sources.name
        self._spoilt: set[KeyPath] = set()
        self.faults = list(sources.faults)
        self.warnings = list(sources.warnings)

    def fault(self, path: KeyPath, found: str, hint: str) -> None:
        """Add what is wrong with the value at a path."""
        self.faults.append(ConfigFault(self.place(path), dotted(path), found, hint))

    def warn(self, path: KeyPath, found: str, hint: str) -> None:
        """Add what is allowed at a path and yet unwise."""
        self.warnings.append(ConfigFault(self.place(path), dotted(path), found, hint))

    def place(self, path: KeyPath) -> str:
        """Where the value at a path, or the nearest table above it, comes from."""
        return place(self._layers, path) or self._file

    def source(self, path: KeyPath) -> str:
        """Where a value comes from, or `default`."""
        if all(layer.get(path) is None for layer in self._layers):
            return "default"
        return self.place(path)

    def spoilt(self, *path: str | int) -> bool:
        """True where the value at a path, or a table around it, is already in the report."""
        return any(path[:length] in self._spoilt for length in range(1, len(path) + 1))

    def spoilt_below(self, *path: str | int) -> bool:
        """True where anything at or below a path is already in the report."""
        return any(spoilt[: len(path)] == path for spoilt in self._spoilt)

    def spoilt_names(self, section: str) -> set[str]:
        """Names of the tables of a section that could not be read at all."""
        return {str(path[1]) for path in self._spoilt if path[0] == section and len(path) == 2}

    def validate(self) -> Settings:
        """Check every value alone. What is wrong joins the report and is left out of the result."""
        layers = tuple(self._layers)

        class Layered(Settings):
            @classmethod
            def settings_customise_sources(
                cls, *_: object, **__: object
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return layers

        while True:
            try:
                return Layered()
            except ValidationError as error:
                found = error.errors(include_url=False)
            self._take([_Invalid(one["type"], one["loc"], one["input"], one.get("ctx", {})) for one in found])

    def _take(self, findings: Iterable[_Invalid]) -> None:
        wrong = [finding for finding in findings if finding.type != "default_factory_not_called"]
        for finding in wrong:
            self.fault(finding.path, *_words(finding))
        for finding in wrong:
            path = finding.path
            while isinstance(path[-1], int):
                path = path[:-1]
            self._spoilt.add(path)
            for layer in self._layers:
                layer.prune(path)

    def conclude(self) -> None:
        """End the reading.

        Raises:
            ConfigError: There are faults; it holds them all, by file and line.
        """
        self.warnings.sort(key=_by_line)
        if self.faults:
            raise ConfigError(tuple(sorted(dict.fromkeys(self.faults), key=_by_line)))


def _by_line(fault: ConfigFault) -> tuple[str, int, str]:
    name, _, line = fault.where.rpartition(":")
    return (name, int(line), fault.key) if line.isdigit() else (fault.where, 0, fault.key)


def _words(finding: _Invalid) -> tuple[str, str]:
    """Say what was found and what to write. A credential's value is never shown, only its type."""
    path, value, context = finding.path, finding.value, finding.context
    found = kind(value) if path[0] == "credentials" else quote(value)
    if isinstance(wrong := context.get("error"), WrongValueError):
        return wrong.found, wrong.hint
    if finding.type == "extra_forbidden":
        known = known_keys(path[:-1])
        homes = [home for home in known if len(path) == 1 and path[0] in known_keys((home,))]
        otherwise = f"it belongs into [{homes[0]}]" if homes else f"known here: {', '.join(known)}"
        return "unknown key", did_you_mean(str(path[-1]), known, otherwise)
    if finding.type == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"])
        return f"{found} is none of its values", did_you_mean(str(value), words, f"write {one_of(words)}")
    if bound := _BOUNDS.get(finding.type):
        return f"{found} is out of range", f"write {_LIMITS[bound]} {context[bound]:g}"
    hint = _HINTS.get(finding.type.partition("_")[0], "write another value")
    return f"{found} does not fit", _form(path, value) or hint


def _form(path: KeyPath, value: object) -> str:
    """Say how a table is written where its brackets or its name are missing, or ""."""
    if path == ("targets",) and isinstance(value, dict):
        return "write [[targets]], with two brackets on each side"
    if path[0] in ("credentials", "rate_groups") and len(path) == 2 and path[1] in known_keys((path[0], "")):
        return f"write it below a name of your choice: [{path[0]}.NAME]"
    return ""
