"""The closing words: what was measured, and nothing else."""

from __future__ import annotations

from keepalive.demo.scene import Scene, counted

_ROW = "{:<10}  {:>9}  {:>6}  {:>8}  {}"


def closing(scene: Scene, *, spells: int, seed: int) -> list[str]:
    """Sum a demo up, in lines of at most 80 columns.

    Args:
        scene: Its last moment.
        spells: How many faults were played.
        seed: What makes them repeatable.
    """
    faults = f"{counted(spells, 'fault')} played (seed {seed})"
    return [
        f"{scene.elapsed:.0f} s at {scene.speed:g} times the speed of life, {faults}:",
        _ROW.format("", "eligible", "lapses", "attempts", "").rstrip(),
        *(
            _ROW.format(one.name, one.held.percent, one.held.lapses, one.attempts, one.told)
            for one in scene.contestants
        ),
        "Eligible: share of target-seconds, as the emulator measured it for both alike.",
    ]
