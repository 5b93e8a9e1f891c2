"""Slow clients: does a thousand of them on the port of the probes make a heartbeat late, or a probe wait?"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import NamedTuple

from aiohttp import ClientError, ClientSession, ClientTimeout

from benchmarks.daemon import Daemon, started, until
from benchmarks.fleet import Fleet
from benchmarks.report import Figure, Report
from keepalive.config.duration import parse_duration
from keepalive.emulator import Emulator

FLEET = Fleet(targets=600, users=15)
"""40 heartbeats a second, from fifteen users whose quotas hold 40 targets each."""

SETTLED = 30.0
"""Seconds after the start from which everybody is in step."""

ROUNDS = 4
"""Turns of without and with clients: what else the machine does then weighs on both."""

LATER_BY = 10.0
"""Milliseconds by which the p99 of the lateness may differ."""

PROBE_SECONDS = 1.0
"""Seconds that a kubelet waits for an answer, unless it is told otherwise."""

HEAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


class Kind(Enum):
    """What a client does to hold its connection."""

    SILENT = b""
    DRIPPING = HEAD + b"X: "
    NOT_READING = (HEAD + b"\r\n") * 30


async def hold(kind: Kind, port: int, pause: float) -> None:
    """Connect, be slow, and once sent away come back after a pause; until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as line, suppress(OSError):
            line.setblocking(False)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(line, ("127.0.0.1", port))
            await loop.sock_sendall(line, kind.value)
            while await _is_held(line):
                if kind is Kind.DRIPPING:
                    await loop.sock_sendall(line, b"x")
        await asyncio.sleep(pause)


async def _is_held(line: socket.socket) -> bool:
    """Wait a second, and read a byte at most; False once the other side has ended the connection."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.0
    with suppress(TimeoutError):
        async with asyncio.timeout_at(end):
            if not await loop.sock_recv(line, 1):
                return False
            await asyncio.sleep(end - loop.time())
    return True


async def _crowd(clients: int, port: int, pause: float) -> None:
    kinds = tuple(Kind)
    async with asyncio.TaskGroup() as tasks:
        for number in range(clients):
            tasks.create_task(hold(kinds[number % len(kinds)], port, pause))


def _live(clients: int, port: int, pause: float) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(_crowd(clients, port, pause))


@contextmanager
def crowd(clients: int, port: int, pause: float) -> Iterator[None]:
    """So many slow clients, in a process of their own, for as long as this is entered."""
    process = multiprocessing.get_context("spawn").Process(target=_live, args=(clients, port, pause))
    process.start()
    try:
        yield
        assert process.is_alive(), "the clients have ended"
    finally:
        process.kill()
        process.join()


class Spell(NamedTuple):
    """What was seen: by how many ms each beat was late, after how many seconds each probe was answered."""

    lateness: list[float]
    probes: list[float]

    def add(self, other: Spell) -> None:
        """Put what was seen later behind it."""
        self.lateness.extend(other.lateness)
        self.probes.extend(other.probes)

    @property
    def centiles(self) -> list[float]:
        """The 99 of the lateness."""
        return quantiles(self.lateness, n=100)


async def watch(daemon: Daemon, port: int, seconds: float) -> Spell:
    """Let it beat for so long, and probe it once a second."""
    before = len(daemon.lines("heartbeat.accepted"))
    probes, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        probes.append(await _probe(port))
        await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))
    lines = daemon.lines("heartbeat.accepted")[before:]
    return Spell([float(line["lateness_ms"] or 0) for line in lines if line["attempt"] == 1], probes)


async def _probe(port: int) -> float:
    """Seconds until `/healthz` said 200 on a connection of its own; infinite when it did not."""
    began = time.monotonic()
    with suppress(ClientError, TimeoutError, OSError):
        async with (
            ClientSession(timeout=ClientTimeout(total=5)) as session,
            session.get(f"http://127.0.0.1:{port}/healthz") as answer,
        ):
            await answer.read()
            if answer.status == 200:
                return time.monotonic() - began
    return float("inf")


async def measure(clients: int, seconds: float, pause: float) -> tuple[Spell, Spell, int]:
    """Watch one daemon without clients and with them; the last number is how often somebody lapsed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    alone, crowded = Spell([], []), Spell([], [])
    environ = {"KEEPALIVE_HTTP__LISTEN": f"127.0.0.1:{port}"}
    with TemporaryDirectory() as folder:
        async with Emulator(FLEET.world()) as emulator:
            config = FLEET.write(Path(folder), emulator.base_url)
            async with started(config, "--log-level", "debug", environ=environ) as daemon:
                await until(lambda: daemon.lines("daemon.ready") != [])
                await asyncio.sleep(SETTLED)
                for _ in range(ROUNDS):
                    alone.add(await watch(daemon, port, seconds / ROUNDS))
                    with crowd(clients, port, pause):
                        await asyncio.sleep(3.0)  # by then they are all there
                        crowded.add(await watch(daemon, port, seconds / ROUNDS))
                lapses = sum(tally.lapses for tally in emulator.tallies().values())
                await daemon.stop()
    return alone, crowded, lapses


def slow_clients(clients: int, seconds: float, pause: float, command: str) -> Report:
    """Measure and report."""
    alone, crowded, lapses = asyncio.run(measure(clients, seconds, pause))
    before, after = alone.centiles, crowded.centiles
    return Report(
        name="slow_clients",
        setting=(
            f"{FLEET.targets} targets at an interval of {FLEET.interval:g} s, {seconds:g} s alone and as "
            f"long with {clients:,} clients on the port of the probes, in {ROUNDS} turns: silent, dripping a "
            f"head, or not reading. Whoever is sent away comes back after {pause:g} s."
        ),
        command=command,
        figures=(
            Figure("lateness of beats, p50, alone", before[49], "ms", digits=1),
            Figure("lateness of beats, p50, with the clients", after[49], "ms", digits=1),
            Figure("lateness of beats, p99, alone", before[98], "ms", digits=1),
            Figure("lateness of beats, p99, with the clients", after[98], "ms", digits=1),
            Figure("difference of the p99", after[98] - before[98], "ms", most=LATER_BY, digits=1),
            Figure("latest beat with the clients", max(crowded.lateness), "ms", digits=1),
            Figure("slowest probe with the clients", max(crowded.probes), "s", most=PROBE_SECONDS, digits=3),
            Figure("beats that were measured with the clients", len(crowded.lateness)),
            Figure("lapses", lapses, most=0),
        ),
    )


def main() -> int:
    """Measure, print the table, save it, and say by the exit code whether all figures hold."""
    parser = ArgumentParser(prog="python -m benchmarks.slow_clients", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--for", dest="length", type=parse_duration, default=60.0, metavar="DURATION")
    parser.add_argument("--pause", type=parse_duration, default=1.0, metavar="DURATION")
    asked = parser.parse_args()
    command = " ".join(["python -m benchmarks.slow_clients", *sys.argv[1:]])
    report = slow_clients(asked.clients, asked.length, asked.pause, command)
    print(*report.markdown(), f"- saved as {report.save().name}", sep="\n")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
