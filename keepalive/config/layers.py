"""A layer: one source of settings, as a tree of raw values that knows where each of them stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from keepalive.config.positions import KeyPath
from keepalive.config.settings import Settings

Tree = dict[str, object]
"""Raw values as a source gave them, nested like the file."""

Places = Mapping[KeyPath, str]
"""Where keys stand: `keepalive.toml:12`, `$KEEPALIVE_LOG__LEVEL`, `--log-level`."""


class Layer(PydanticBaseSettingsSource):
    """One source of settings. Of two layers the higher one wins, key by key; lists replace lists."""

    def __init__(self, tree: Tree, places: Callable[[], Places]) -> None:
        super().__init__(Settings)
        self.tree = tree
        self._find_places = places

    def __call__(self) -> Tree:
        """Give the whole tree, as pydantic-settings asks for it."""
        return self.tree

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Give the raw value of a top-level key, as pydantic-settings asks for it."""
        return self.tree.get(field_name), field_name, False

    @cached_property
    def places(self) -> Places:
        """Where the keys stand; worked out on the first question, because most runs never ask."""
        return self._find_places()

    def get(self, path: KeyPath) -> object:
        """The raw value at a path, or None."""
        value: object = self.tree
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def put(self, path: KeyPath, value: object) -> None:
        """Set a value, making the tables on the way."""
        table = self.tree
        for part in path[:-1]:
            inner = table.setdefault(str(part), {})
            if not isinstance(inner, dict):
                return
            table = inner
        table[str(path[-1])] = value

    def prune(self, path: KeyPath) -> bool:
        """Take a value out; in a list the key that holds the list goes, because indices must not shift."""
        while path and isinstance(path[-1], int):
            path = path[:-1]
        parent = self.get(path[:-1])
        return isinstance(parent, dict) and parent.pop(path[-1], None) is not None

    def tables(self, section: str) -> list[tuple[str, Tree]]:
        """The named tables of a section, such as every `[credentials.NAME]`."""
        tables = self.get((section,))
        if not isinstance(tables, dict):
            return []
        return [(name, table) for name, table in tables.items() if isinstance(table, dict)]

    def resolve_paths(self, base: Path) -> None:
        """Make the paths that a source names absolute: they are relative to where it stands."""
        paths: list[KeyPath] = [("cloudflare", "ca_file"), ("state", "path"), ("control", "socket")]
        for name, table in self.tables("credentials"):
            paths += [("credentials", name, key) for key in table if key.endswith("_file")]
        targets = self.get(("targets",))
        if isinstance(targets, list):
            paths += [("targets", index, "file") for index in range(len(targets))]
        for path in paths:
            parent, value = self.get(path[:-1]), self.get(path)
            if isinstance(parent, dict) and isinstance(value, str) and value:
                parent[path[-1]] = str(base / value)


def place(layers: Sequence[Layer], path: KeyPath) -> str:
    """Say where the value at a path comes from; where there is none, where the nearest table above it does.

    Returns:
        A place, or "" when no layer knows anything of it.
    """
    for length in range(len(path), 0, -1):
        for layer in layers:
            if layer.get(path[:length]) is not None and (found := _place_near(layer.places, path[:length])):
                return found
    return ""


def _place_near(places: Places, path: KeyPath) -> str:
    for length in range(len(path), 0, -1):
        if found := places.get(path[:length]):
            return found
    return next((found for known, found in places.items() if known[: len(path)] == path), "")


def field_type(path: KeyPath) -> object:
    """The annotation of the setting at a path, or None where there is no such setting."""
    annotation: object = Settings
    for part in path:
        if model := _model(annotation):
            field = model.model_fields.get(str(part))
            annotation = field.annotation if field else None
        elif get_origin(annotation) is Mapping:
            annotation = get_args(annotation)[1]
        elif get_origin(annotation) is tuple:
            annotation = get_args(annotation)[0]
        else:
            return None
    return annotation


def known_keys(path: KeyPath) -> list[str]:
    """The keys that the table at a path may hold; none where it is not a table with fixed keys."""
    model = _model(field_type(path))
    return list(model.model_fields) if model else []


def _model(annotation: object) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def typed(text: str, path: KeyPath) -> object:
    """Turn a text into what a setting wants. What does not fit stays a text, and is found wrong later."""
    setting = field_type(path)
    if get_origin(setting) is tuple:
        return [part.strip() for part in text.split(",")] if text.strip() else []
    if setting is bool:
        return {"true": True, "false": False}.get(text.strip(), text)
    try:
        return int(text) if setting is int else float(text) if setting is float else text
    except ValueError:
        return text
