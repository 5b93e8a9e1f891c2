"""Crowds: what the real daemon takes of a machine, from a few targets to a hundred thousand.

Each crowd is held by a `keepalive run` of its own, with metrics, events, state, budget and control on, that
has the client's core to itself. What it did is counted at the server; what it took, the kernel is asked.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from aiohttp import ClientSession, UnixConnector

from benchmarks.cores import cores
from benchmarks.daemon import ROOT, Daemon, started, until
from benchmarks.fleet import ACCOUNT_ID
from benchmarks.origin import Gaps, Origin, opened
from benchmarks.report import Figure, Report

WINDOW = 45.0
"""Seconds that a heartbeat lasts, as the daemon assumes by default."""

PER_CREDENTIAL = 167
"""Targets of each credential, which has a rate group and a quota of its own: 100,000 over 600."""

FASTEST = 8_000
"""Requests a second that the daemon may send; Cloudflare allows 200 for an address."""

IDLE = 40
"""Targets of a daemon that has next to nothing to do."""

ONE_ADDRESS = 3_000
"""Targets that one address may hold of Cloudflare's 200 requests a second."""

LARGE = 100_000

ASKED = 5
"""Times that a status and a page of metrics are asked for."""


class Crowd(NamedTuple):
    """Who is held, and for how long.

    Attributes:
        targets: How many.
        interval: Seconds between the heartbeats of one.
        seconds: Seconds for which it is measured, from two intervals after everybody's first on.
        tls: Whether the server speaks TLS.
    """

    targets: int
    interval: float = 15.0
    seconds: float = 60.0
    tls: bool = False

    @property
    def credentials(self) -> int:
        """Over how many credentials they are dealt out."""
        return max(1, round(self.targets / PER_CREDENTIAL))

    @property
    def rate(self) -> float:
        """Heartbeats a second."""
        return self.targets / self.interval

    def config(self, base_url: str) -> str:
        """The configuration, with quotas that hold everybody."""
        lines = [
            "[heartbeat]",
            f"window = {WINDOW}",
            f"interval = {self.interval}",
            "jitter = 0",  # the server measures lateness by the gap: a beat that is early on purpose hides it
            "[cloudflare]",
            f'base_url = "{base_url}"',
            f"max_requests_per_second = {FASTEST}",
            "[state]",
            'path = "state.db"',
            "[http]",
            'listen = "127.0.0.1:0"',
            "[control]",
            'socket = "control.sock"',
            "[log]",
            'format = "json"',
        ]
        for number in range(self.credentials):
            own = ", ".join(f'"script-{each}"' for each in range(number, self.targets, self.credentials))
            lines += [
                f"[credentials.user{number}]",
                f'api_token = "token-of-user{number}"',
                f'rate_group = "user{number}"',
                f"[rate_groups.user{number}]",
                "requests = 30000",
                "[[targets]]",
                f'credential = "user{number}"',
                f'account_id = "{ACCOUNT_ID}"',
                f"scripts = [{own}]",
            ]
        return "\n".join(lines) + "\n"


class Measured(NamedTuple):
    """What one crowd took; seconds, bytes and microseconds.

    Attributes:
        first: From the start of the process to its first heartbeat at the server.
        everybody: From the start until everybody had beaten once.
        rate: Heartbeats a second while it was measured.
        cpu: CPU time per heartbeat, in microseconds.
        core: The part of a core that it took.
        resident: Resident memory at the end.
        peak: The most that it ever was.
        status: How long `GET /v1/status` took, median.
        metrics: How long `GET /metrics` took, median.
        connections: Connections opened in all, as a part of all heartbeats.
        gaps: What the server saw of each target.
    """

    first: float
    everybody: float
    rate: float
    cpu: float
    core: float
    resident: int
    peak: int
    status: float
    metrics: float
    connections: float
    gaps: Gaps


async def measure(crowd: Crowd, *, speed: bool = True) -> Measured:
    """Hold a crowd with a real daemon, and look at it from the outside."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        options = (
            "--scripts",
            f"{crowd.targets}",
            "--interval",
            f"{crowd.interval}",
            "--window",
            f"{WINDOW}",
        )
        async with opened(folder, *options, tls=crowd.tls) as origin:
            file = folder / "keepalive.toml"
            file.touch(0o600)
            file.write_text(crowd.config(origin.base_url), encoding="utf-8")
            environ = origin.environ | ({} if speed else _without_speed(folder))
            began = time.perf_counter()
            async with started(file, environ=environ) as daemon:
                os.sched_setaffinity(daemon.pid, {cores().client})
                return await _watched(crowd, origin, daemon, folder, began)


async def _watched(crowd: Crowd, origin: Origin, daemon: Daemon, folder: Path, began: float) -> Measured:
    await origin.until(1, 30.0)
    first = time.perf_counter() - began
    await origin.until(crowd.targets, 120.0)
    everybody = time.perf_counter() - began
    await until(lambda: bool(daemon.lines("control.opened")), 60.0)
    await asyncio.sleep(2 * crowd.interval)
    seen = await origin.watch(daemon.pid, crowd.seconds)
    resident, peak = _memory(daemon.pid)
    status, metrics = [await _asked(folder, path) for path in ("/v1/status", "/metrics")]
    requests, connections = origin.requests, origin.connections
    await daemon.stop()
    return Measured(
        first=first,
        everybody=everybody,
        rate=seen.rate,
        cpu=seen.cost,
        core=seen.cpu / seen.seconds,
        resident=resident,
        peak=peak,
        status=status,
        metrics=metrics,
        connections=connections / requests,
        gaps=await origin.end(),
    )


def _memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process: now, and at most."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) * 1024, int(status["VmHWM"].split()[0]) * 1024


async def _asked(folder: Path, path: str) -> float:
    """Seconds until an answer of the control socket is there, median."""
    took = []
    async with ClientSession(connector=UnixConnector(str(folder / "control.sock"))) as session:
        for _ in range(ASKED):
            await asyncio.sleep(1.1)  # a page of metrics is kept for a second
            began = time.perf_counter()
            async with session.get(f"http://localhost{path}") as answer:
                answer.raise_for_status()
                await answer.read()
            took.append(time.perf_counter() - began)
    return median(took)


def _without_speed(folder: Path) -> dict[str, str]:
    """What hides the extra `speed` from a process."""
    hidden = folder / "plain"
    hidden.mkdir()
    for name in ("uvloop", "orjson"):
        (hidden / f"{name}.py").write_text("raise ImportError\n", encoding="utf-8")
    return {"PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"}


def figures(crowd: Crowd, found: Measured, empty: int) -> tuple[Figure, ...]:
    """What a crowd took, beside the bars for one of its size.

    Args:
        crowd: Who was held.
        found: What was measured.
        empty: Resident bytes of a daemon that holds nobody to speak of.
    """
    idle, large, address = crowd.targets <= IDLE, crowd.targets >= LARGE, crowd.targets == ONE_ADDRESS
    each = max(0, found.resident - empty) / crowd.targets
    p99 = 50.0 if large else 5.0 if address else None
    return (
        Figure("heartbeats a second", found.rate, digits=1),
        Figure("CPU time per heartbeat", found.cpu, "µs"),
        Figure("of a core", 100 * found.core, "%", most=0.4 if idle else None, digits=2),
        Figure("resident memory", found.resident / 1e6, "MB", most=60 if idle else 150, digits=1),
        Figure("resident memory at most", found.peak / 1e6, "MB", digits=1),
        Figure("of it for each target, beyond a daemon of 40", each, "B", most=1_000 if large else None),
        Figure("start to the first heartbeat", found.first * 1e3, "ms", most=700 if idle else None),
        Figure("start until everybody had beaten once", found.everybody, "s", digits=1),
        Figure("lateness, p50", found.gaps.late(0.5) * 1e3, "ms", digits=1),
        Figure("lateness, p99", found.gaps.late(0.99) * 1e3, "ms", most=p99, digits=1),
        Figure("lateness, most", found.gaps.lateness[-1] * 1e3, "ms", digits=1),
        Figure("lapses, as the server counts them", found.gaps.lapses, most=0),
        Figure("status", found.status * 1e3, "ms", most=100, digits=1),
        Figure("a page of metrics", found.metrics * 1e3, "ms", digits=1),
        Figure(
            "connections opened, of all heartbeats",
            100 * found.connections,
            "%",
            most=1.0 if crowd.tls else None,
            digits=2,
        ),
    )


async def _all(crowds: list[Crowd], command: str, *, speed: bool) -> list[Report]:
    empty = (await measure(Crowd(IDLE, seconds=1.0), speed=speed)).resident
    reports = []
    for crowd in crowds:
        found = await measure(crowd, speed=speed)
        report = Report(
            name=f"crowd-{crowd.targets}{'' if speed else '-plain'}{'-tls' if crowd.tls else ''}",
            setting=(
                f"{crowd.targets:,} targets over {crowd.credentials} credentials, every {crowd.interval:g} s,"
                f" measured for {crowd.seconds:g} s from two intervals after the first heartbeat of the last;"
                f" {'with' if speed else 'without'} the extra `speed`. {cores()}"
            ),
            command=command,
            figures=figures(crowd, found, empty),
        )
        print(*report.markdown(), f"- saved as {report.save().name}", "", sep="\n", flush=True)
        reports.append(report)
    return reports


def main() -> int:
    """Measure crowds of these sizes, print what they took, and say by the exit code whether all bars hold."""
    parser = ArgumentParser(prog="python -m benchmarks.crowd", description=__doc__)
    parser.add_argument("targets", nargs="+", type=int)
    parser.add_argument("--interval", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each is measured (default 60)")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument("--without-speed", action="store_true", help="as if the extra was not installed")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {cores().server})
    crowds = [Crowd(targets, asked.interval, asked.seconds, asked.tls) for targets in asked.targets]
    command = " ".join(["python -m benchmarks.crowd", *sys.argv[1:]])
    reports = asyncio.run(_all(crowds, command, speed=not asked.without_speed))
    return 0 if all(report.holds for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
