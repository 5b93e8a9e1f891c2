"""The fault trace against real processes, in short; `make bench` plays it in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from benchmarks.trace import play

FACTOR = 3.0
"""A window of 15 s in real time; the trace of two and a half minutes is then played in 50 s.

Faster would be harder than life: what the engine has in real seconds (a hedge after one, a dead origin
after five) does not shrink along.
"""

SEED = 2


@pytest.mark.timeout(120)
async def test_a_trace_of_faults_lapses_nobody_and_never_breaks_a_silence(tmp_path: Path) -> None:
    played = await play(Fleet(factor=FACTOR), seed=SEED, seconds=150.0, folder=tmp_path)
    assert played.never == 0
    assert played.lapses == ()
    assert played.throttled > 0
    assert played.early == 0
    assert played.worst <= 1080
    assert played.exit_code == 0
