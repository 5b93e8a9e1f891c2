"""keepalive holds Cloudflare live-tail sessions open.

    async with keepalive.hold(account_id="…", script_id="api") as session:
        await session.eligible()

What is named here is the Python API; the rest may change with any version. `docs/python.md` explains it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from keepalive._version import __version__

if TYPE_CHECKING:
    from keepalive.core.eligibility import Eligibility
    from keepalive.errors import ConfigError, KeepaliveError, NotEligibleError, TargetError
    from keepalive.keeper.session import Change, Session, hold

__all__ = [
    "Change",
    "ConfigError",
    "Eligibility",
    "KeepaliveError",
    "NotEligibleError",
    "Session",
    "TargetError",
    "__version__",
    "hold",
]

_MODULES = {
    "Change": "keeper.session",
    "ConfigError": "errors",
    "Eligibility": "core.eligibility",
    "KeepaliveError": "errors",
    "NotEligibleError": "errors",
    "Session": "keeper.session",
    "TargetError": "errors",
    "hold": "keeper.session",
}
"""Imported when they are asked for: the command line imports this package too, and a probe must not wait."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
