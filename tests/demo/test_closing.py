from __future__ import annotations

from keepalive.demo.closing import closing
from tests.support.scenes import scene


def test_it_says_the_measured_figures_and_the_seed() -> None:
    heading, _, keepalive, naive, _ = closing(scene(), spells=5, seed=7)
    assert heading == "72 s at 5 times the speed of life, 5 faults played (seed 7):"
    assert keepalive.split()[:5] == ["keepalive", "100.000", "%", "0", "80"]
    assert keepalive.endswith("9 retries, 4 hedges")
    assert naive.split()[:6] == ["naive", "loop", "92.000", "%", "7", "60"]
    assert naive.endswith("12 errors; every 5 s, no retry")


def test_its_lines_fit_into_eighty_columns() -> None:
    assert all(len(line) <= 80 for line in closing(scene(), spells=1000, seed=2**31))
