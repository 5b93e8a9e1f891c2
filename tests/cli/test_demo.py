from __future__ import annotations

import pytest

from tests.cli.conftest import Keepalive


@pytest.mark.parametrize("length", ["soon", "-3s", "inf", "0"])
def test_a_length_that_is_none_is_a_usage_error_and_nothing_is_played(
    keepalive: Keepalive, length: str
) -> None:
    ran = keepalive("demo", f"--for={length}")
    assert ran.code == 2
    assert ran.err.startswith(f"keepalive: --for: '{length}' ")
    assert ran.out == ""


def test_its_help_has_an_example(keepalive: Keepalive) -> None:
    assert "Example: keepalive demo --for 30s" in keepalive("demo", "--help").out
