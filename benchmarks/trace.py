"""The fault trace in real time: does the real daemon lapse anybody, and does it ever overshoot?"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.daemon import started
from benchmarks.fleet import Fleet
from benchmarks.report import Figure, Report
from benchmarks.weather import script, story, weather
from keepalive.emulator import Arrival, Emulator
from keepalive.simulator.meter import Meter

GRACE = 0.25
"""Real seconds after a 429 in which a request may arrive that had left before its answer was read."""

PERIOD = 300.0
"""Emulated seconds of Cloudflare's quota."""


@dataclass(frozen=True, slots=True)
class Played:
    """What one run of the trace came to, judged by the emulator; seconds are emulated ones.

    Attributes:
        eligible: Target-seconds from each first accepted heartbeat in which the target was eligible.
        lapsed: Those in which it was not.
        lapses: Which targets lapsed, and for how long.
        never: Targets that were never accepted.
        arrived: Requests that arrived.
        throttled: Answers of 429.
        early: Requests later than `GRACE` after a 429 and before its `Retry-After` had ended.
        worst: The most requests of one user in any `PERIOD`.
        attempts: Attempts by the daemon's own count, those included that never arrived.
        exit_code: How the daemon ended.
        log: What it wrote.
    """

    eligible: float
    lapsed: float
    lapses: tuple[str, ...]
    never: int
    arrived: int
    throttled: int
    early: int
    worst: int
    attempts: int
    exit_code: int
    log: str


async def play(fleet: Fleet, seed: int, seconds: float, folder: Path, *options: str) -> Played:
    """Play so many emulated seconds of the trace to a real daemon; its files go into `folder`."""
    spells = weather(seed, seconds)
    emulator = Emulator(fleet.world(), faults=script(spells), time_factor=fleet.factor, seed=seed)
    async with emulator:
        config = fleet.write(folder, emulator.base_url)
        async with started(config, *options) as daemon:
            await asyncio.sleep((seconds - emulator.now) / fleet.factor)
            tallies = emulator.tallies()
            arrivals = list(emulator.requests)
            code, _ = await daemon.stop()
            summary = daemon.summary()
            log = daemon.log
    lapses = (
        f"{place.user} {place.script_id}: {tally.lapses} lapses, {tally.lapsed:.3f} s"
        for place, tally in tallies.items()
        if tally.lapses
    )
    return Played(
        eligible=sum(tally.eligible for tally in tallies.values()),
        lapsed=sum(tally.lapsed for tally in tallies.values()),
        lapses=tuple(lapses),
        never=fleet.targets - len(tallies),
        arrived=len(arrivals),
        throttled=sum(arrival.status == 429 for arrival in arrivals),
        early=sum(early(arrivals, fleet.factor)),
        worst=worst_period(arrivals),
        attempts=int(summary["attempts"] or 0),
        exit_code=code,
        log=log,
    )


def early(arrivals: Iterable[Arrival], factor: float = 1.0) -> Iterator[bool]:
    """For each request in turn: whether it fell into a silence that a 429 to its user had asked for."""
    silences: defaultdict[str | None, list[tuple[float, float]]] = defaultdict(list)
    for arrival in arrivals:
        at = arrival.at / factor
        yield any(begin < at < end for begin, end in silences[arrival.user])
        if arrival.retry_after is not None:
            silences[arrival.user].append((at + GRACE, at + arrival.retry_after))


def worst_period(arrivals: Iterable[Arrival]) -> int:
    """The most requests that one user sent in any `PERIOD`."""
    meters: defaultdict[str | None, Meter] = defaultdict(lambda: Meter(PERIOD))
    for arrival in arrivals:
        meters[arrival.user].count(arrival.at)
    return max((meter.worst for meter in meters.values()), default=0)


def trace(seed: int, minutes: float, command: str) -> Report:
    """Play the trace in real time: 60 targets of three users, a window of 45 s, an interval of 15 s."""
    fleet, seconds = Fleet(), minutes * 60
    with TemporaryDirectory() as folder:
        played = asyncio.run(play(fleet, seed, seconds, Path(folder)))
    per_minute = played.attempts / fleet.targets / minutes
    setting = (
        f"{fleet.targets} targets over {fleet.users} rate groups, {minutes:g} minutes in real time, window"
        f" {fleet.window:g} s, interval {fleet.interval:g} s, seed {seed}: "
        f"{'; '.join(story(weather(seed, seconds)))}."
    )
    ratio = 100 - 100 * played.lapsed / (played.eligible + played.lapsed)
    return Report(
        name="trace",
        setting=setting,
        command=command,
        figures=(
            Figure("target-seconds eligible from each first accept", ratio, "%", least=100.0, digits=3),
            Figure("targets never accepted", played.never, most=0),
            Figure("requests in a silence that a 429 asked for", played.early, most=0),
            Figure("requests per target and minute", per_minute, most=4.9, digits=2),
            Figure("requests of one user in the worst 300 s", played.worst, most=1080),
            Figure("requests that arrived", played.arrived),
            Figure("answers of 429", played.throttled),
            Figure("runs that did not end with 0 on SIGTERM", int(played.exit_code != 0), most=0),
        ),
        notes=played.lapses,
    )
