from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.config.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15),
        ("500ms", 0.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (" 20s ", 20),
        ("20", 20),
        (20, 20),
        (0.333, 0.333),
        ("1m2s3ms", 62.003),
        ("24h", 86_400),
    ],
)
def test_reads_what_people_write(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (True, "not a length of time"),
        (None, "not a length of time"),
        ("", "not a length of time"),
        ("inf", "not a length of time"),
        ("soon", "not a length of time"),
        ("5 m", "not a length of time"),
        ("30m1h", "not a length of time"),
        ("1s1s", "not a length of time"),
        ("15S", "not a length of time"),
        ("\u0661\u0665s", "not a length of time"),
        (inf, "not finite"),
        (nan, "not finite"),
        (-1, "negative"),
        ("-5s", "not a length of time"),
        ("-5", "negative"),
        (0, "zero"),
        ("0s", "zero"),
        (1e-9, "shorter than 1ms"),
        ("25h", "longer than a day"),
        (10**400, "longer than a day"),
    ],
)
def test_refuses_what_cannot_be_meant(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_duration(value)


@given(st.integers(min_value=1, max_value=86_400_000))
def test_reads_back_what_it_wrote(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(
        milliseconds / 1000, abs=1e-9
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(15, "15s"), (22.5, "22.5s"), (300, "5m"), (5400, "1h30m"), (0.5, "500ms"), (3661.001, "1h1m1.001s")],
)
def test_writes_the_way_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
