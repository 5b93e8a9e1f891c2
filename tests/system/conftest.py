from __future__ import annotations

import signal

import pytest

# Under nohup, or in the background of a shell, every process of a test would ignore them.
for signum in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(signum, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that need a timeout of their own: the longest must not be what all wait for."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
