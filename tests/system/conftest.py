from __future__ import annotations

import signal

import pytest

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup make test` would have every process ignore it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that need a timeout of their own: the longest must not be what all wait for."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
