"""keepalive holds Cloudflare live-tail sessions open.

    async with keepalive.hold(account_id="…", script_id="api") as session:
        await session.eligible()

    async for event in keepalive.tail(account_id="…", script_id="api"):
        print(event)

What is named here is the Python API; the rest may change with any version. `docs/python.md` explains it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from keepalive._version import __version__

if TYPE_CHECKING:
    from keepalive.core.eligibility import Eligibility
    from keepalive.core.telemetry import Event
    from keepalive.errors import ConfigError, KeepaliveError, NotEligibleError, TargetError
    from keepalive.keeper.following import tail
    from keepalive.keeper.session import Change, Session, hold
    from keepalive.livetail.record import Dropped, Gap

__all__ = [
    "Change",
    "ConfigError",
    "Dropped",
    "Eligibility",
    "Event",
    "Gap",
    "KeepaliveError",
    "NotEligibleError",
    "Session",
    "TargetError",
    "__version__",
    "hold",
    "tail",
]

_MODULES = {
    "Change": "keeper.session",
    "ConfigError": "errors",
    "Dropped": "keeper.following",
    "Eligibility": "core.eligibility",
    "Event": "core.telemetry",
    "Gap": "keeper.following",
    "KeepaliveError": "errors",
    "NotEligibleError": "errors",
    "Session": "keeper.session",
    "TargetError": "errors",
    "hold": "keeper.session",
    "tail": "keeper.following",
}
"""Imported when they are asked for: the command line imports this package too, and a probe must not wait."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
