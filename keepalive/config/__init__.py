"""What a user asks for: read, checked and explained.

Imported when it is asked for: a probe needs `access` alone, and must not wait for pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keepalive.config.configuration import Configuration, Setting, load
    from keepalive.config.secrets import mark
    from keepalive.config.settings import Settings

__all__ = ["Configuration", "Setting", "Settings", "load", "mark"]

_MODULES = {
    "Configuration": "configuration",
    "Setting": "configuration",
    "Settings": "settings",
    "load": "configuration",
    "mark": "secrets",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
