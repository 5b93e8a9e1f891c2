"""What the metrics cost: each beat, and the loop when all of a large daemon is scraped."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Coroutine
from math import inf
from statistics import median
from typing import NamedTuple

from benchmarks.report import Figure, Report
from keepalive.core.events import Event, HeartbeatAccepted, Sink
from keepalive.core.group import RateGroup
from keepalive.core.plan import GroupPlan, Policy, Quota
from keepalive.core.state import GroupState
from keepalive.core.target import Target
from keepalive.sinks.counts import Counts
from keepalive.sinks.metrics import Metrics, Sources

TARGETS, GROUPS = 100_000, 600
"""What is scraped; each group has a credential of its own."""

SCRAPES = 20
ROUNDS = 50

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
POLICY, QUOTA = Policy(interval=22.5), Quota(requests=5_000)


class Scrapes(NamedTuple):
    """What was measured; all in seconds but for the size of a page, which is in bytes."""

    on_loop: list[float]
    in_all: list[float]
    late: float
    late_idle: float
    size: int


def main() -> int:
    """Measure, print and keep the figures."""
    report = metrics(0, 0, "python -m benchmarks.metrics")
    print(*report.markdown(), f"- saved as {report.save().name}", sep="\n")
    return 0 if report.holds else 1


def metrics(_seed: int, _minutes: float, command: str) -> Report:
    """Scrape the metrics of a hundred thousand targets, and count beats."""
    counts, now = Counts(), time.monotonic()
    groups = {f"user{number}": _group(f"user{number}", number, counts, now) for number in range(GROUPS)}
    page = Metrics(
        counts,
        Sources(groups.keys, lambda: groups, lambda: 0, {"log": lambda: 0}),
        now=time.monotonic,
        wall_at=lambda moment: moment,
    )
    gc.freeze()  # as the daemon does
    scrapes = asyncio.run(_scrape(page))
    beat = _beat(counts) - _beat(_nothing)
    return Report(
        name="metrics",
        setting=f"{TARGETS:,} eligible targets over {GROUPS} credentials and rate groups; {SCRAPES} scrapes.",
        command=command,
        figures=(
            Figure("loop time of a scrape, at most", max(scrapes.on_loop) * 1e3, "ms", most=10.0, digits=1),
            Figure("loop time of a scrape, median", median(scrapes.on_loop) * 1e3, "ms", digits=1),
            Figure("a scrape until its page is there, median", median(scrapes.in_all) * 1e3, "ms"),
            Figure("latest turn of the loop while a thread makes a page", scrapes.late * 1e3, "ms", digits=1),
            Figure("latest turn of the loop while nothing is done", scrapes.late_idle * 1e3, "ms", digits=1),
            Figure("size of a page", scrapes.size / 1e6, "MB", digits=2),
            Figure("a beat costs the sink", beat * 1e6, "µs", most=1.0, digits=2),
        ),
    )


def _group(name: str, number: int, tell: Sink, now: float) -> RateGroup:
    """A rate group whose targets were all renewed a moment ago."""
    own = range(number, TARGETS, GROUPS)
    targets = tuple(Target(name, ACCOUNT_ID, f"script-{index}") for index in own)
    group = RateGroup(name)
    group.apply(GroupPlan(name, targets, POLICY, QUOTA), now)
    group.restore(
        GroupState(renewed=tuple((target, now - index % 15) for index, target in enumerate(targets))), now
    )
    group.budget.charge(now)
    for event in group.announce(now):
        tell(event)
    return group


async def _scrape(page: Metrics) -> Scrapes:
    """Time the loop's thread and the whole for each page, then watch how late the loop turns meanwhile."""
    on_loop, in_all, size = [], [], 0
    for _ in range(SCRAPES):
        page._pages.clear()  # noqa: SLF001 - else it would wait a second for each
        began, loop_began = time.perf_counter(), time.thread_time()
        body, _ = await page.render()
        on_loop.append(time.thread_time() - loop_began)
        in_all.append(time.perf_counter() - began)
        size = len(body)
    idle = await _longest_wait(asyncio.sleep(median(in_all)))
    page._pages.clear()  # noqa: SLF001
    return Scrapes(on_loop, in_all, await _longest_wait(page.render()), idle, size)


async def _longest_wait(work: Coroutine[None, None, object]) -> float:
    """The most seconds by which a turn of the loop came late while something was under way, once begun."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    longest = 0.0
    while not task.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - began - 0.001)
    await task
    return longest


def _beat(sink: Sink) -> float:
    """Seconds that a sink needs for one accepted heartbeat."""
    events = [
        HeartbeatAccepted(
            at=0.0,
            target=Target(f"user{number % GROUPS}", ACCOUNT_ID, "api"),
            attempt=1,
            hedge=False,
            latency=number % 100 / 1000,
            lateness=number % 7 / 1000,
            eligible_until=45.0,
            cf_ray=None,
        )
        for number in range(10_000)
    ]
    best = inf
    for _ in range(ROUNDS):  # the best one: what else the machine does is not the sink's
        began = time.perf_counter()
        for event in events:
            sink(event)
        best = min(best, time.perf_counter() - began)
    return best / len(events)


def _nothing(_event: Event) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
