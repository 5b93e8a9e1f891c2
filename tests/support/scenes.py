"""Scenes of the demo for tests of what is made of them."""

from __future__ import annotations

from keepalive.core.eligibility import Eligibility
from keepalive.demo.scene import Contestant, Held, QuotaUse, Scene, TargetRow, Weather
from keepalive.demo.scores import Mark


def row(
    name: str = "api",
    state: Eligibility = Eligibility.ELIGIBLE,
    left: float = 6.0,
    marks: tuple[Mark, ...] = (Mark.HEDGED, Mark.RETRIED, Mark.FAILED, Mark.ACCEPTED),
) -> TargetRow:
    return TargetRow(name, "billing", state, left, marks, heartbeats=3, retries=1, hedges=0)


def scene(*rows: TargetRow, silent_for: float = 0.0, playing: bool = True) -> Scene:
    """A moment with these targets; with twelve where none is given."""
    targets = rows or tuple(row(f"script{number}") for number in range(12))
    return Scene(
        elapsed=72.0,
        speed=5.0,
        window=9.0,
        weather=Weather("an outage", playing, 1.5),
        targets=targets,
        quotas=(QuotaUse("prod", 85, 1200, silent_for), QuotaUse("billing", 90, 1200, 0.0)),
        contestants=(
            Contestant("keepalive", Held(1.0, 0), (True,) * 12, 80, "9 retries, 4 hedges"),
            Contestant("naive loop", Held(0.92, 7), (True, False) * 6, 60, "12 errors; every 5 s, no retry"),
        ),
    )
