"""`keepalive simulate`: hours of beats and faults in virtual time, and what became of them."""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from keepalive.cli.options import Options
from keepalive.config.duration import HINT, format_duration, parse_duration
from keepalive.config.wording import did_you_mean
from keepalive.core.group import RateGroup
from keepalive.core.plan import GroupPlan, Policy, Quota, admit
from keepalive.errors import UsageError
from keepalive.simulator.result import GroupResult, Lapse, Result
from keepalive.simulator.scenarios import PRESETS, Preset, Scenario, fleet, scenario
from keepalive.simulator.simulation import Simulation
from keepalive.simulator.trace_file import read_trace

INTERRUPTED = 130
TOLD_LAPSES = 5
BAR = 40
"""Characters of the longest bar of the histogram."""


def _duration(value: str | float) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} {error}; {HINT}") from None


def _period(value: str | float) -> float:
    seconds = _duration(value)
    if seconds < 1:
        raise typer.BadParameter(f"{value!r} is too short for a quota; write at least 1s")
    return seconds


def simulate(  # noqa: PLR0913 - one parameter for each option of the command
    options: Options,
    *,
    what: Annotated[
        str,
        typer.Argument(
            metavar="[PRESET|TRACE.toml]",
            help="What happens: a preset, flaky by default, or a file of faults.",
        ),
    ] = "flaky",
    targets: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Targets of each rate group.")
    ] = None,
    groups: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Rate groups: Cloudflare users.")
    ] = None,
    window: Annotated[
        float, typer.Option(parser=_duration, metavar="DURATION", help="How long a heartbeat lasts.")
    ] = 45.0,
    interval: Annotated[
        float | None,
        typer.Option(parser=_duration, metavar="DURATION", help="Between heartbeats. Default: window / 3."),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, metavar="N", help="Requests of a user's quota.")] = 1200,
    period: Annotated[
        float,
        typer.Option(parser=_period, metavar="DURATION", help="What the quota is counted in, 1s at least."),
    ] = 300.0,
    share: Annotated[
        float, typer.Option(min=0.01, max=1.0, metavar="X", help="The part of it for keepalive.")
    ] = 0.9,
    hours: Annotated[
        float | None,
        typer.Option(min=0.01, max=8760, metavar="H", help="Hours to play. Default: the preset's."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Where all chance comes from.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Play so many seeds, from --seed on.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Play hours of heartbeats and faults in virtual time against a model of Cloudflare.

    The decisions are those of the real daemon. With -c FILE it plays the targets of that configuration.
    Exits 1 when somebody lapsed, never became eligible or was refused for lack of quota, or the share of
    the quota was exceeded.

    Example: keepalive simulate --targets 400
    """
    interval = window / 3 if interval is None else interval
    if interval > window / 2:
        longest = format_duration(window / 2)
        raise UsageError(f"--interval is over half the window; write at most {longest}")
    quota = Quota(requests, period, share)
    make = _scenarios(what, _groups(options, groups, targets, Policy(window, interval), quota))
    runs: list[tuple[Scenario, Result, float]] = []
    gc.disable()  # nothing in a simulation is cyclic: to look for garbage is a twentieth of its time
    try:
        for number in range(seed, seed + seeds):
            started = perf_counter()
            with _progress(f"{what}, seed {number}", quiet=as_json) as watch:
                played = make(number, hours)
                result = Simulation(played, RateGroup).play(watch)
            runs.append((played, result, perf_counter() - started))
            if not as_json:
                typer.echo("\n".join(_told(*runs[-1], make(number, None))))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        gc.enable()
    if as_json:
        report = {"schema": 1, "runs": [_as_json(*run) for run in runs]}
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    if not all(result.well for _, result, _ in runs):
        raise typer.Exit(1)


# --- what is played ------------------------------------------------------------------------------


def _groups(
    options: Options, groups: int | None, targets: int | None, policy: Policy, quota: Quota
) -> tuple[GroupPlan, ...]:
    """The rate groups that the command line asks for; none where it leaves them to the preset."""
    if options.config is not None:
        return tuple(options.read().plan.values())
    if groups is None and targets is None and (policy, quota) == (Policy(), Quota()):
        return ()
    plans = fleet(1 if groups is None else groups, 42 if targets is None else targets)
    return tuple(replace(plan, policy=policy, quota=quota) for plan in plans)


def _scenarios(what: str, groups: tuple[GroupPlan, ...]) -> Callable[[int, float | None], Scenario]:
    """Make the scenario of a seed, with so many hours or the preset's own."""
    preset = PRESETS.get(what)
    if preset is None:
        path = Path(what)
        if path.suffix != ".toml" and not path.exists():
            hint = did_you_mean(what, PRESETS, f"there are {', '.join(PRESETS)}, or name a TOML file")
            raise UsageError(f"no preset {what!r}; {hint}")
        preset = Preset(fleet(1, 42), read_trace(path), 1.0)
    chosen = preset
    return lambda seed, hours: scenario(what, seed, hours, groups, chosen)


@contextmanager
def _progress(title: str, *, quiet: bool) -> Iterator[Callable[[float], None] | None]:
    """A progress bar on a terminal's stderr, and nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(title, total=1.0)
        yield lambda done: bars.update(bar, completed=done)


# --- what is told --------------------------------------------------------------------------------


def _told(played: Scenario, result: Result, took: float, full: Scenario) -> Iterator[str]:
    """Tell a run; `full` is the same seed at the preset's own length."""
    held, refused = _sum(result, "held"), _sum(result, "refused")
    fleet_size = f"{held + refused:,} targets in {_counted(len(result.groups), 'rate group')}"
    length = format_duration(result.duration)
    yield f"{result.scenario}, seed {result.seed}: {length} of {fleet_size}, played in {took:.1f} s"
    yield ""
    yield from _told_room(played, held, refused)
    yield f"  faults        {_faults(played, full)}"
    if never := len(result.never_accepted):
        yield f"  never eligible  {_counted(never, 'target')}"
    yield f"  eligible      {result.eligible_ratio:.6%} of the time"
    yield from _told_lapses(result)
    worst = max(result.groups, key=lambda group: group.worst_period - group.allowed)
    yield from _told_requests(worst, played.groups[result.groups.index(worst)].quota, result)
    yield from _histogram(result)


def _told_room(played: Scenario, held: int, refused: int) -> Iterator[str]:
    slowest = max((admit(plan).interval for plan in played.groups), default=inf)
    nominal = max((plan.policy.interval for plan in played.groups), default=inf)
    pace = f"every {format_duration(slowest)}"
    if slowest > nominal:
        pace += f", stretched from {format_duration(nominal)} to fit the quota"
    yield f"  held          {held:,} targets, {pace}"
    if refused:
        yield f"  refused       {refused:,} targets: the quota cannot hold them beside the others"
        yield "                give them credentials of other Cloudflare users, or a longer window"


def _faults(played: Scenario, full: Scenario) -> str:
    """How many faults were on within the time, and when the first of the others would have begun."""
    count = len(played.played_spells)
    late = [spell.start for spell in played.spells if spell.start >= played.duration]
    first = min(late or [spell.start for spell in full.spells], default=None)
    if first is None or (count and not late):
        return f"{count:,} played" if count else "none"
    where = "after the end" if first >= played.duration else "too close to the end"
    said = f"{count:,} played, {len(late):,} not: the first of those" if count else "none played: the first"
    return f"{said} begins at {format_duration(round(first))}, {where}"


def _told_lapses(result: Result) -> Iterator[str]:
    if not result.lapses:
        yield "  lapses        none"
        return
    causes = Counter(", ".join(lapse.causes) or "no fault at all" for lapse in result.lapses)
    said = "; ".join(f"{count:,} by {cause}" for cause, count in causes.most_common())
    longest = max(lapse.until - lapse.start for lapse in result.lapses)
    yield f"  lapses        {len(result.lapses):,} ({said}), the longest {format_duration(longest)}"
    for lapse in result.lapses[:TOLD_LAPSES]:
        yield f"                {_story(lapse)}"
    if len(result.lapses) > TOLD_LAPSES:
        yield f"                … and {len(result.lapses) - TOLD_LAPSES:,} more"


def _story(lapse: Lapse) -> str:
    tries = [f"{tried.ending} {tried.sent_at - lapse.start:+.1f} s" for tried in lapse.tries[-4:]]
    last = f"; last attempts: {', '.join(tries)}" if tries else "; nothing was sent"
    name = f"{lapse.group} {lapse.target.script_id or lapse.target.account_id}"
    return f"{name} at {lapse.start:.1f} s for {format_duration(lapse.until - lapse.start)}{last}"


def _told_requests(worst: GroupResult, quota: Quota, result: Result) -> Iterator[str]:
    period = f"the worst {format_duration(quota.period)} of a rate group"
    share = f"the share is {quota.allowed:,} of {quota.requests:,}"
    yield f"  requests      {worst.worst_period:,} in {period}; {share}"
    yield f"                {result.worst_second:,} in the worst second; {result.calls:,} in all"
    if blocks := _sum(result, "blocks"):
        yield f"  blocked       {_counted(blocks, 'time')} by Cloudflare for exceeding the quota"


def _histogram(result: Result) -> Iterator[str]:
    """How many seconds of the window were left when it was renewed, a bar for every few of them."""
    total = sum(result.remaining)
    if not total:
        return
    width = max(1, len(result.remaining) // 15)
    bars = [sum(result.remaining[start : start + width]) for start in range(0, len(result.remaining), width)]
    yield "  left of the window at renewal"
    for index, count in enumerate(bars):
        if count:
            bar = "█" * max(1, round(BAR * count / max(bars)))
            yield f"    {index * width:3}-{(index + 1) * width:<3} s {count / total:7.2%} {bar}"


def _sum(result: Result, part: str) -> int:
    return sum(int(getattr(group, part)) for group in result.groups)


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


Json = Mapping[str, "str | float | Sequence[str] | Sequence[int] | Sequence[Json]"]


def _as_json(played: Scenario, result: Result, took: float) -> Json:
    return {
        "scenario": result.scenario,
        "seed": result.seed,
        "duration_seconds": result.duration,
        "took_seconds": round(took, 3),
        "well": result.well,
        "faults": len(played.played_spells),
        "never_accepted": len(result.never_accepted),
        "eligible_ratio": round(result.eligible_ratio, 9),
        "requests": result.calls,
        "worst_second": result.worst_second,
        "rate_groups": [
            {
                "rate_group": group.name,
                "held": group.held,
                "refused": group.refused,
                "requests": group.calls,
                "worst_period": group.worst_period,
                "allowed": group.allowed,
                "blocks": group.blocks,
            }
            for group in result.groups
        ],
        "lapses": [
            {
                "rate_group": lapse.group,
                "target": lapse.target.label,
                "credential": lapse.target.credential,
                "at_seconds": round(lapse.start, 3),
                "lasted_seconds": round(lapse.until - lapse.start, 3),
                "causes": list(lapse.causes),
            }
            for lapse in result.lapses
        ],
        "remaining_seconds": list(result.remaining),
    }
