"""What every row of docs/reliability.md uses."""

from __future__ import annotations

import sys
from typing import Protocol

import pytest


class Figure(Protocol):
    """Takes what a test measured."""

    def __call__(self, words: str, *values: float) -> None:
        """Fill the values, two digits each, into the braces of the words."""
        ...


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Tells what was measured: in the report of the test, and on its output."""

    def measured(words: str, *values: float) -> None:
        told = words.format(*(f"{value:.2f}".rstrip("0").rstrip(".") for value in values))
        request.node.user_properties.append(("figure", told))
        sys.stdout.write(f"figure: {told}\n")

    return measured


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
