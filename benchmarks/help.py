"""Help: how long a person waits for `keepalive --help`, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.report import Figure, Report

RUNS = 20


def _milliseconds(*command: str) -> float:
    before = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - before) * 1000


def help_time(_seed: int, _minutes: float, command: str) -> Report:
    """Time `keepalive --help`."""
    program = str(Path(sys.executable).with_name("keepalive"))
    pairs = [
        (_milliseconds(sys.executable, "-c", "pass"), _milliseconds(program, "--help")) for _ in range(RUNS)
    ]
    bare, shown = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    return Report(
        name="help",
        setting=f"Both started {RUNS} times in turn; the medians.",
        command=command,
        figures=(
            Figure("`keepalive --help` above `python -c pass`", shown - bare, "ms", most=140),
            Figure("`keepalive --help`", shown, "ms"),
            Figure("`python -c pass`", bare, "ms"),
        ),
    )
