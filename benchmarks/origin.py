"""An origin: accepts every heartbeat as fast as Python can, and counts; the emulator would be too slow.

It is a process of its own, pinned to a core. `python -m benchmarks.origin` is what `opened` starts.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import re
import ssl
import sys
import time
from argparse import ArgumentParser
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, cast

import trustme
import uvloop

from benchmarks.cores import cores, cpu_seconds
from benchmarks.daemon import surroundings

_BODY = b'{"success":true,"errors":[],"messages":[{"message":"Successful request"}],"result":{}}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
    b"CF-RAY: 0123456789abcdef-AMS\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)
_LENGTH = re.compile(rb"\ncontent-length: *(\d+)", re.IGNORECASE)
_SCRIPT = re.compile(rb'"script-(\d+)"')

_COUNTERS = 2
_REQUESTS, _CONNECTIONS = range(_COUNTERS)


class Stretch(NamedTuple):
    """A stretch of time in which a client was looked at: its seconds, its heartbeats, its seconds of CPU."""

    seconds: float
    beats: int
    cpu: float

    @property
    def rate(self) -> float:
        """Heartbeats a second."""
        return self.beats / self.seconds

    @property
    def cost(self) -> float:
        """CPU time per heartbeat, in microseconds."""
        return self.cpu / self.beats * 1e6


class Gaps(NamedTuple):
    """What the origin saw of each script, in seconds.

    Attributes:
        scripts: Scripts that beat at least once.
        lateness: Of each heartbeat but a script's first two, how much later than an interval after the one
            before it came, in rising order; 0 for one that came early. The second is early on purpose.
        longest: The longest time between two of a script, or since its last one.
        lapses: Times that this was longer than the window.
    """

    scripts: int
    lateness: tuple[float, ...]
    longest: float
    lapses: int

    def late(self, part: float) -> float:
        """The lateness that so much of all heartbeats stay under."""
        return self.lateness[min(len(self.lateness) - 1, int(part * len(self.lateness)))]


class Origin:
    """A running origin.

    Attributes:
        base_url: What clients are told.
        environ: What makes clients trust its certificate.
    """

    def __init__(
        self,
        base_url: str,
        environ: dict[str, str],
        counters: mmap.mmap,
        gaps: Path,
        stdin: asyncio.StreamWriter,
    ) -> None:
        self._stdin = stdin
        self.base_url = base_url
        self.environ = environ
        self._counters = memoryview(counters).cast("Q")
        self._gaps = gaps

    @property
    def requests(self) -> int:
        """Heartbeats that were answered so far."""
        return self._counters[_REQUESTS]

    @property
    def connections(self) -> int:
        """Connections that were opened so far."""
        return self._counters[_CONNECTIONS]

    async def until(self, requests: int, timeout: float) -> None:
        """Wait until so many heartbeats were answered in all.

        Raises:
            TimeoutError: They were not within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while self.requests < requests:  # noqa: ASYNC110 - another process sets no event of this one
                await asyncio.sleep(0.002)

    async def watch(self, pid: int, seconds: float) -> Stretch:
        """Look at a client for so long: how much it beat, and what it took for that."""
        began, beats, cpu = time.perf_counter(), self.requests, cpu_seconds(pid)
        await asyncio.sleep(seconds)
        return Stretch(time.perf_counter() - began, self.requests - beats, cpu_seconds(pid) - cpu)

    async def end(self) -> Gaps:
        """Stop serving, and say what was seen of each script; it was started with `--scripts`."""
        self._stdin.close()
        while not self._gaps.exists():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
        found = json.loads(self._gaps.read_bytes())
        return Gaps(**found | {"lateness": tuple(found["lateness"])})


class _Line(asyncio.Protocol):
    """One connection. Heartbeats come one after the other, whole or in pieces."""

    def __init__(self, counters: memoryview, seen: _Seen | None) -> None:
        self._counters = counters
        self._seen = seen
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write
        self._counters[_CONNECTIONS] += 1

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while (head := data.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(data, 0, head)
            end = head + 4 + (int(found[1]) if found else 0)
            if len(data) < end:
                break
            self._counters[_REQUESTS] += 1
            if self._seen:
                self._seen.note(data[head:end])
            self._write(_ANSWER)
            data = data[end:]
        self._rest = data


class _Seen:
    """When each script beat, by the clock of the origin."""

    def __init__(self, scripts: int, interval: float, window: float) -> None:
        self._interval = interval
        self._window = window
        self._last = array("d", bytes(8 * scripts))
        self._beats = array("L", bytes(8 * scripts))
        self._lateness = array("d")
        self._longest = 0.0
        self._lapses = 0

    def note(self, body: bytes) -> None:
        found = _SCRIPT.search(body)
        if not found:  # somebody asks about a token
            return
        script, now = int(found[1]), time.monotonic()
        if self._beats[script]:
            self._close(now - self._last[script])
        if self._beats[script] > 1:
            self._lateness.append(max(0.0, now - self._last[script] - self._interval))
        self._beats[script] += 1
        self._last[script] = now

    def _close(self, gap: float) -> None:
        self._longest = max(self._longest, gap)
        self._lapses += gap > self._window

    def save(self, file: Path) -> None:
        now = time.monotonic()
        for beats, last in zip(self._beats, self._last, strict=True):
            if beats:
                self._close(now - last)
        content = {
            "scripts": sum(beats > 0 for beats in self._beats),
            "lateness": sorted(self._lateness),
            "longest": self._longest,
            "lapses": self._lapses,
        }
        file.with_suffix(".new").write_text(json.dumps(content), encoding="utf-8")
        file.with_suffix(".new").rename(file)


@asynccontextmanager
async def opened(folder: Path, *options: str, tls: bool = False) -> AsyncIterator[Origin]:
    """Start an origin on the server's core for as long as this is entered.

    Args:
        folder: Where it keeps its certificate and its counts.
        options: Further options of its command line.
        tls: Whether it speaks TLS, by a certificate that is made for it.
    """
    environ: dict[str, str] = {}
    if tls:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        environ["SSL_CERT_FILE"] = str(folder / "ca.pem")
        options = (*options, "--certificate", str(folder / "server.pem"))
    shared = folder / "counters"
    shared.write_bytes(bytes(8 * _COUNTERS))
    gaps = folder / "gaps.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.origin", str(shared), str(gaps), *options),
        env=surroundings(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        os.sched_setaffinity(process.pid, {cores().server})
        port = int(await process.stdout.readline())
        scheme = "https" if tls else "http"
        with shared.open("r+b") as file, mmap.mmap(file.fileno(), 0) as counters:
            base_url = f"{scheme}://127.0.0.1:{port}/client/v4"
            origin = Origin(base_url, environ, counters, gaps, process.stdin)
            yield origin
            origin._counters.release()  # noqa: SLF001 - its own view, which would keep the map open
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _serve(counters: memoryview, gaps: Path, seen: _Seen | None, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Line(counters, seen), "127.0.0.1", 0, ssl=tls, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    if seen:
        seen.save(gaps)


def main() -> None:
    """Serve until the standard input ends."""
    parser = ArgumentParser(prog="python -m benchmarks.origin", description=__doc__)
    parser.add_argument("counters", type=Path)
    parser.add_argument("gaps", type=Path)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--scripts", type=int, default=0, help="note when each of so many beats")
    parser.add_argument("--interval", type=float, default=15.0)
    parser.add_argument("--window", type=float, default=45.0)
    asked = parser.parse_args()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if asked.certificate else None
    if tls:
        tls.load_cert_chain(asked.certificate)
    seen = _Seen(asked.scripts, asked.interval, asked.window) if asked.scripts else None
    with (
        asked.counters.open("r+b") as file,
        mmap.mmap(file.fileno(), 0) as shared,
        memoryview(shared).cast("Q") as counters,
    ):
        uvloop.run(_serve(counters, asked.gaps, seen, tls))


if __name__ == "__main__":
    main()
