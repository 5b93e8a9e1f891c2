"""The sources: command line, environment, file, Cloudflare's variables, defaults; the highest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keepalive.config.environment import cloudflare_variables, keepalive_variables, surroundings
from keepalive.config.file import exposed, find_file, foreign, read_file
from keepalive.config.layers import Layer, typed
from keepalive.config.positions import KeyPath
from keepalive.config.settings import FORMS, SECRETS
from keepalive.config.wording import shown
from keepalive.errors import ConfigError, ConfigFault


@dataclass(slots=True)
class Sources:
    """What was found.

    Attributes:
        layers: The values, the highest source first.
        file: The configuration file that was read, or None.
        name: What a fault calls the place where everything may stand.
        complete: False where a source could not be read at all: what is missing then says nothing.
        faults: What is wrong before any value is looked at.
        warnings: What is allowed and yet unwise.
    """

    layers: list[Layer] = field(default_factory=list)
    file: Path | None = None
    name: str = "the environment"
    complete: bool = True
    faults: list[ConfigFault] = field(default_factory=list)
    warnings: list[ConfigFault] = field(default_factory=list)


def read_sources(
    config: Path | None, overrides: Mapping[str, str], environ: Mapping[str, str], cwd: Path
) -> Sources:
    """Read every source.

    Args:
        config: The file that `--config` names, or None.
        overrides: Dotted keys and texts from the command line.
        environ: The environment.
        cwd: The working directory, absolute.
    """
    sources = Sources()
    sources.layers = [_command_line(overrides, cwd), keepalive_variables(environ, cwd, sources.faults)]
    sources.complete = not any(fault.where == "$KEEPALIVE_SCRIPTS" for fault in sources.faults)
    try:
        if found := find_file(config, environ, cwd):
            layer = read_file(found, cwd)
            sources.file, sources.name = found.path, shown(found.path, cwd)
            sources.layers.append(layer)
            sources.faults.extend(() if found.trusted else foreign(layer))
            sources.warnings.extend(exposed(layer, found.path))
    except ConfigError as error:
        sources.faults.extend(error.faults)
        sources.complete = False
    sources.layers.append(cloudflare_variables(environ, cwd, sources.layers, sources.faults))
    sources.layers.append(surroundings(environ))
    _let_higher_secrets_win(sources.layers)
    _let_a_claim_stay_with_its_window(sources.layers)
    return sources


def _command_line(overrides: Mapping[str, str], cwd: Path) -> Layer:
    places: dict[KeyPath, str] = {}
    layer = Layer({}, lambda: places)
    for key, text in overrides.items():
        path = tuple(key.split("."))
        places[path] = f"--{key.replace('.', '-').replace('_', '-')}"
        layer.put(path, typed(text, path))
    layer.resolve_paths(cwd)
    return layer


def _let_higher_secrets_win(layers: list[Layer]) -> None:
    """A higher source that names any form of a secret replaces all forms of it below."""
    for height, layer in enumerate(layers):
        for name, table in layer.tables("credentials"):
            for secret in SECRETS:
                forms = [f"{secret}{form}" for form in FORMS]
                if table.keys() & set(forms):
                    for lower in layers[height + 1 :]:
                        for form in forms:
                            lower.prune(("credentials", name, form))


def _let_a_claim_stay_with_its_window(layers: list[Layer]) -> None:
    """A window of a higher source is not the one of which a lower source says that it was calibrated."""
    above = False
    for layer in layers:
        if above:
            layer.prune(("heartbeat", "window_calibrated"))
        above = above or layer.get(("heartbeat", "window")) is not None
