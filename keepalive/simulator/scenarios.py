"""Scenarios: what is simulated, as named data. A seed varies the phases of the faults, and all chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import NamedTuple

from keepalive.config.wording import quote
from keepalive.core.plan import GroupPlan
from keepalive.core.target import Target
from keepalive.errors import UsageError
from keepalive.simulator.network import Latency
from keepalive.simulator.spells import (
    Broken,
    Crash,
    Flaky,
    Loss,
    MachineSpell,
    Outage,
    RemoteSpell,
    Slow,
    Spell,
    Suspend,
    Throttle,
)

HOUR = 3600.0

TOLD_NAMES = 10
"""Rate groups that a message names at most."""

HEALTHY = Latency(median=0.08, spread=0.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is played.

    Attributes:
        name: Names it in results.
        seed: All chance of the run comes from it.
        groups: What each rate group is to hold.
        spells: The faults on the way.
        duration: Seconds of virtual time.
        latency: How long a healthy answer takes.
        address_limit: Calls per second for all groups together.

    Raises:
        UsageError: A suspend or crash begins before the one before it has ended, or a fault is for rate
            groups of which none is played.
    """

    name: str
    seed: int
    groups: tuple[GroupPlan, ...]
    spells: tuple[Spell, ...]
    duration: float
    latency: Latency = HEALTHY
    address_limit: int = 200

    def __post_init__(self) -> None:
        for first, second in pairwise(self.machine_spells):
            if second.start < first.end:
                raise UsageError(
                    f"scenario {self.name}: the {second.cause} at {second.start:g} s begins before the"
                    f" {first.cause} at {first.start:g} s has ended; let it begin at {first.end:g} s or later"
                )

        there = [plan.name for plan in self.groups]
        for spell in self.remote_spells:
            if spell.groups and spell.groups.isdisjoint(there):
                raise UsageError(
                    f"scenario {self.name}: the {spell.cause} at {spell.start:g} s touches nobody: no rate"
                    f" group is called {_names(sorted(spell.groups))}; there are {_names(there)}"
                )

    @property
    def played_spells(self) -> tuple[Spell, ...]:
        """The faults that are on within the time, at least in part."""
        return tuple(spell for spell in self.spells if spell.end > 0 and spell.start < self.duration)

    @property
    def machine_spells(self) -> tuple[MachineSpell, ...]:
        """The faults of the machine, in the order of time."""
        spells = (spell for spell in self.spells if isinstance(spell, MachineSpell))
        return tuple(sorted(spells, key=lambda spell: spell.start))

    @property
    def remote_spells(self) -> tuple[RemoteSpell, ...]:
        """The faults of the network and of Cloudflare."""
        return tuple(spell for spell in self.spells if isinstance(spell, RemoteSpell))


def _names(names: Sequence[str]) -> str:
    more = f", … and {len(names) - TOLD_NAMES:,} more" if len(names) > TOLD_NAMES else ""
    return ", ".join(quote(name) for name in names[:TOLD_NAMES]) + more


def fleet(groups: int, targets: int) -> tuple[GroupPlan, ...]:
    """So many rate groups with so many targets each, at the default policy and quota."""
    return tuple(
        GroupPlan(
            f"group{group}",
            tuple(Target(f"credential{group}", f"{group:032x}", f"script{n}") for n in range(targets)),
        )
        for group in range(groups)
    )


FOUR_GROUPS = fleet(4, 42)
"""What the promises are made for: as many targets as a quota holds unstretched, four times."""


Weather = Callable[[Random, float, tuple[GroupPlan, ...]], tuple[Spell, ...]]
"""Makes the spells of so many seconds of virtual time; their phases come from the source of chance."""


class Preset(NamedTuple):
    """A scenario without its seed.

    Attributes:
        groups: What each rate group is to hold.
        weather: Makes the faults.
        hours: Hours of virtual time, where nobody asks for another length.
    """

    groups: tuple[GroupPlan, ...]
    weather: Weather
    hours: float


def _always(*spells: Spell) -> Weather:
    return lambda _chance, _duration, _groups: spells


_START, _TAIL = 60.0, 120.0
"""Seconds without faults at the beginning, to get into step, and at the end, to see what a fault did."""


def _again_and_again(faults: Callable[[float, Random], tuple[Spell, ...]], pause: float) -> Weather:
    """The same faults, each time at another phase: `pause` to twice as many seconds of health between."""

    def weather(chance: Random, duration: float, _groups: tuple[GroupPlan, ...]) -> tuple[Spell, ...]:
        spells: list[Spell] = []
        moment = _START + pause * chance.random()
        while moment < duration - _TAIL:
            spells += faults(moment, chance)
            moment = spells[-1].end + pause * (1 + chance.random())
        return tuple(spells)

    return weather


def _outage(length: float, loss: Loss) -> Weather:
    return _again_and_again(lambda at, _: (Outage(start=at, length=length, loss=loss),), pause=120.0)


def _relapse(loss: Loss) -> Weather:
    """22 s down, 7 s up, 22 s down."""
    return _again_and_again(
        lambda at, _: tuple(Outage(start=start, length=22.0, loss=loss) for start in (at, at + 29.0)),
        pause=120.0,
    )


def _throttle(retry_after: float | None) -> Weather:
    return _again_and_again(
        lambda at, _: (Throttle(start=at, length=5.0, retry_after=retry_after),), pause=400.0
    )


def _broken(targets: int, start: float = 0.0) -> Weather:
    """From `start` on so many targets of each group answer 503; chance says where they stand in its order."""

    def weather(chance: Random, _duration: float, groups: tuple[GroupPlan, ...]) -> tuple[Spell, ...]:
        chosen = (
            target
            for plan in groups
            for target in chance.sample(plan.targets, min(targets, len(plan.targets)))
        )
        return (Broken(targets=frozenset(chosen), status=503, start=start),)

    return weather


def _some_outage(at: float, chance: Random) -> tuple[Spell, ...]:
    return (Outage(start=at, length=chance.uniform(2.0, 26.0), loss=chance.choice(tuple(Loss))),)


def _some_throttle(at: float, chance: Random) -> tuple[Spell, ...]:
    return (
        Throttle(start=at, length=chance.uniform(1.0, 5.0), retry_after=chance.choice((None, 5.0, 10.0))),
    )


def _sleep(length: float) -> Weather:
    return _again_and_again(lambda at, _: (Suspend(start=at, length=length),), pause=600.0)


def _crashes(up: tuple[float, float], down: float) -> Weather:
    """From `_START` on: so many seconds of life, drawn between the two of `up`, then `down` of absence."""

    def weather(chance: Random, duration: float, _groups: tuple[GroupPlan, ...]) -> tuple[Spell, ...]:
        spells: list[Spell] = []
        moment = _START
        while (moment := moment + chance.uniform(*up)) < duration - _TAIL:
            spells.append(Crash(start=moment, length=down))
            moment += down
        return tuple(spells)

    return weather


def _everything(chance: Random, duration: float, _groups: tuple[GroupPlan, ...]) -> tuple[Spell, ...]:
    """Noise all the time, one outage and one spell of 429, at least 45 s apart: one fault at a time."""
    outage, apart = 20.0, 45.0
    first = chance.uniform(60.0, duration / 2 - outage - apart)
    second = chance.uniform(first + outage + apart, duration - 2 * outage)
    outage_at, throttle_at = chance.sample((first, second), 2)
    return (
        Flaky(reset=0.05, unavailable=0.03, hang=0.01),
        Outage(start=outage_at, length=outage, loss=chance.choice(tuple(Loss))),
        Throttle(start=throttle_at, length=5.0, retry_after=5.0),
    )


_DAY = 24.0

PRESETS: Mapping[str, Preset] = {
    "healthy": Preset(FOUR_GROUPS, _always(), _DAY),
    "outage-26-refused": Preset(FOUR_GROUPS, _outage(26.0, Loss.REFUSED), 1.0),
    "outage-26-blackhole": Preset(FOUR_GROUPS, _outage(26.0, Loss.BLACK_HOLE), 1.0),
    "22-7-22": Preset(FOUR_GROUPS, _relapse(Loss.BLACK_HOLE), 1.0),
    "22-7-22-refused": Preset(FOUR_GROUPS, _relapse(Loss.REFUSED), 1.0),
    "hang-10": Preset(FOUR_GROUPS, _always(Flaky(hang=0.1)), _DAY),
    "hang-20": Preset(FOUR_GROUPS, _always(Flaky(hang=0.2)), _DAY),
    "hang-30": Preset(FOUR_GROUPS, _always(Flaky(hang=0.3)), _DAY),
    "slow-4s": Preset(FOUR_GROUPS, _always(Slow(seconds=4.0)), _DAY),
    "slow-4s-hang-10": Preset(FOUR_GROUPS, _always(Slow(seconds=4.0), Flaky(hang=0.1)), _DAY),
    "stretched-63-hang-10": Preset(fleet(4, 63), _always(Flaky(hang=0.1)), _DAY),
    "broken-2": Preset(FOUR_GROUPS, _broken(2), _DAY),
    "broken-10": Preset(FOUR_GROUPS, _broken(10), _DAY),
    "broken-10-later": Preset(FOUR_GROUPS, _broken(10, start=_START), _DAY),
    "throttle-5s": Preset(FOUR_GROUPS, _throttle(None), 4.0),
    "throttle-5s-retry-after": Preset(FOUR_GROUPS, _throttle(5.0), 4.0),
    "outage": Preset(FOUR_GROUPS, _again_and_again(_some_outage, pause=120.0), 1.0),
    "flaky": Preset(FOUR_GROUPS, _always(Flaky(reset=0.05, unavailable=0.03, hang=0.01)), 1.0),
    "slow": Preset(FOUR_GROUPS, _always(Slow(seconds=4.0)), 1.0),
    "throttle-storm": Preset(FOUR_GROUPS, _again_and_again(_some_throttle, pause=120.0), 1.0),
    "suspend": Preset(FOUR_GROUPS, _sleep(HOUR), 4.0),
    "crash-loop": Preset(FOUR_GROUPS, _crashes((0.9, 0.9), 1.0), 1.0),
    "crash-loop-stretched": Preset(fleet(4, 63), _crashes((0.9, 0.9), 1.0), 1.0),
    "rapid-kills": Preset(FOUR_GROUPS, _crashes((0.05, 2.0), 0.3), 0.25),
    "restart-20s": Preset(FOUR_GROUPS, _crashes((60.0, 120.0), 20.0), 6.0),
    "benchmark": Preset(fleet(3, 20), _everything, 1 / 6),
}
"""Every scenario by its name: what is promised, what users ask for, and the trace peers are compared by."""


def scenario(
    name: str,
    seed: int,
    hours: float | None = None,
    groups: tuple[GroupPlan, ...] = (),
    preset: Preset | None = None,
) -> Scenario:
    """Make a scenario of `preset`, or of the one by that name; with its own hours and groups, or others."""
    preset = preset or PRESETS[name]
    duration = HOUR * (preset.hours if hours is None else hours)
    groups = groups or preset.groups
    chance = Random(f"{name}/{seed}")  # noqa: S311  chance by seed, no secret
    return Scenario(
        name=name,
        seed=seed,
        groups=groups,
        spells=preset.weather(chance, duration, groups),
        duration=duration,
    )
