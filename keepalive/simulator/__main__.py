"""Play scenarios from the shell: `python -m keepalive.simulator outage-26-refused --seeds 100`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator

from keepalive.core.group import RateGroup
from keepalive.simulator.result import Lapse, Result
from keepalive.simulator.scenarios import PRESETS, scenario
from keepalive.simulator.simulation import Simulation


def _line(name: str, results: list[Result]) -> str:
    worst = max(group.worst_period for result in results for group in result.groups)
    return "  ".join(
        (
            f"{name:24}",
            f"seeds {len(results)}",
            f"lapses {sum(len(result.preventable) for result in results)}",
            f"worst window {worst}",
            f"over {max(result.overshoot for result in results):+d}",
            f"worst second {max(result.worst_second for result in results)}",
            f"calls/target/min {max(result.calls_per_target_minute for result in results):.3f}",
            f"ratio {min(result.eligible_ratio for result in results):.6%}",
            f"false claims {sum(len(result.false_claims) for result in results)}",
            f"in silence {sum(group.silence_calls for result in results for group in result.groups)}",
            f"extra {sum(result.extra_beats for result in results)}",
            f"never {sum(len(result.never_accepted) for result in results)}",
            f"wakes/call {_wakes_per_call(results):.2f}",
        )
    )


def _wakes_per_call(results: list[Result]) -> float:
    wakes = sum(group.wakes for result in results for group in result.groups)
    return wakes / max(1, sum(result.calls for result in results))


def _story(result: Result, lapse: Lapse) -> Iterator[str]:
    yield (
        f"  seed {result.seed}: {lapse.group} {lapse.target.label} lapsed at {lapse.start:.3f} s"
        f" for {lapse.until - lapse.start:.3f} s; {', '.join(lapse.causes) or 'no fault at all'}"
    )
    for tried in lapse.tries:
        sent, took = tried.sent_at - lapse.start, tried.ended_at - tried.sent_at
        kind = "hedge" if tried.hedge else "try"
        yield f"    {sent:+8.3f}  {kind} {tried.number}: {tried.ending} after {took:.3f} s"


def main(arguments: list[str] | None = None) -> int:
    """Play, print a line for each scenario, and say by the exit code whether anything lapsed."""
    parser = ArgumentParser(prog="python -m keepalive.simulator", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of {', '.join(PRESETS)}; default: all"
    )
    parser.add_argument("--seeds", type=int, default=1, help="seeds to play each with, from 0 (default 1)")
    parser.add_argument("--hours", type=float, help="hours of virtual time, instead of the scenario's own")
    parser.add_argument("--lapses", type=int, default=0, help="lapses to tell in full, for each scenario")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(PRESETS):
        parser.error(f"no scenario {min(unknown)!r}; there are {', '.join(PRESETS)}")
    failed = False
    for name in chosen.names or PRESETS:
        results = [
            Simulation(scenario(name, seed, chosen.hours), RateGroup).play() for seed in range(chosen.seeds)
        ]
        stories = ((result, lapse) for result in results for lapse in result.preventable)
        sys.stdout.write(f"{_line(name, results)}\n")
        for (result, lapse), _ in zip(stories, range(chosen.lapses), strict=False):
            sys.stdout.write("\n".join(_story(result, lapse)) + "\n")
        sys.stdout.flush()
        failed |= any(result.preventable or result.overshoot > 0 or result.false_claims for result in results)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
