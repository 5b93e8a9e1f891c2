"""Tail throughput: events a second that `keepalive tail --json` prints, beside a plain loop that only prints.

The server is bare sockets in a process of its own, for an emulator would be what is measured. It gives both
peers the same frames as fast as they take them, and each peer prints into a pipe whose reader only counts
bytes. Peers and their order are the same in every round: what else the machine does weighs on both.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from argparse import ArgumentParser
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread

from benchmarks.daemon import surroundings
from benchmarks.report import Figure, Report

EVENT_BYTES = 1000
ROUNDS = 5

LEAST_PER_SECOND = 20_000

DIFFERENT = 4096
"""Frames that are sent again and again, their ids renewed: events that were seen are not printed twice."""

MOST_NOTES = 2
"""Lines in which a tail may say of itself that it is connected and eligible; a loss would be one too many."""

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"

PLAIN = """
import asyncio, json, sys
from websockets.asyncio.client import connect

async def main(url, count):
    async with connect(url, compression=None) as socket:
        async for message in socket:
            json.loads(message)
            print(message)
            count -= 1
            if not count:
                break

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
"""The loop that people write, at its fastest: it parses each event and prints what came, and does no more."""

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ID = b"0123456789abcdef0123456789"


def event(number: int) -> bytes:
    """An event of 1 kB in the shape of Cloudflare's, with an id to be renewed."""
    body = {
        "dataset": "cloudflare-workers",
        "timestamp": int(time.time() * 1000),
        "source": {"level": "info", "message": f"request {number}", "padding": ""},
        "$workers": {
            "scriptName": "api",
            "eventType": "fetch",
            "outcome": "ok",
            "requestId": f"{number:016X}",
            "cpuTimeMs": number % 7,
            "wallTimeMs": number % 40,
            "event": {"request": {"method": "GET", "path": f"/orders/{number}"}},
        },
        "$metadata": {
            "id": _ID.decode(),
            "service": "api",
            "trigger": f"GET /orders/{number}",
            "level": "info",
            "message": f"request {number}",
        },
    }
    left = EVENT_BYTES - len(json.dumps(body, separators=(",", ":")))
    body["source"]["padding"] = "x" * left  # type: ignore[index] # a dictionary, as written above
    return json.dumps(body, separators=(",", ":")).encode()


def frame(text: bytes) -> bytes:
    """A WebSocket frame of text, as servers send it: without a mask."""
    return b"\x81\x7e" + struct.pack(">H", len(text)) + text


# --- the server -----------------------------------------------------------------------------------


class Server:
    """Answers the calls of a tail, and pours events into each WebSocket that is opened."""

    def __init__(self, events: int) -> None:
        self._events = events
        parts = [frame(event(number)).split(_ID) for number in range(DIFFERENT)]
        self._parts = [(before, after) for before, after in parts]
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self._tails = 0

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            line, _ = self._listener.accept()
            Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, suppress(OSError):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            rest = b""
            while True:
                while b"\r\n\r\n" not in rest:
                    if not (chunk := line.recv(65536)):
                        return
                    rest += chunk
                head, _, rest = rest.partition(b"\r\n\r\n")
                fields = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (field.partition(":") for field in head.decode().split("\r\n")[1:])
                }
                if "sec-websocket-key" in fields:
                    self._pour(line, fields["sec-websocket-key"])
                    return
                length = int(fields.get("content-length", 0))
                while len(rest) < length:
                    rest += line.recv(65536)
                rest = rest[length:]
                line.sendall(self._answer(head.split(b" ", 2)[1]))

    def _answer(self, path: bytes) -> bytes:
        result: dict[str, object] = {}
        if path.endswith(b"/live-tail"):
            result = {"wsUrl": f"ws://127.0.0.1:{self.port}/connect?key=made-up"}
        elif path.endswith(b"/query"):
            result = {"events": {"events": [], "count": 0}}
        body = json.dumps({"success": True, "errors": [], "messages": [], "result": result}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _pour(self, line: socket.socket, key: str) -> None:
        accept = b64encode(sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()).decode()
        line.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self._tails += 1
        for first in range(0, self._events, 256):
            numbers = range(first, min(first + 256, self._events))
            line.sendall(b"".join(self._numbered(number) for number in numbers))
        line.recv(1)  # the peer ends it

    def _numbered(self, number: int) -> bytes:
        before, after = self._parts[number % DIFFERENT]
        return before + b"%010d%016d" % (self._tails, number) + after


def _serve(events: int, port: Connection) -> None:
    server = Server(events)
    port.send(server.port)
    server.run()


@contextmanager
def served(events: int) -> Iterator[int]:
    """The server's port, as long as this is entered."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(events, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


# --- the peers ------------------------------------------------------------------------------------


def run(command: list[str], environ: dict[str, str], folder: Path, events: int) -> tuple[float, float]:
    """Run a peer to its end on one core; how many events it printed a second, and CPU seconds it took."""
    lines, first, last = 0, 0.0, 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=_on_one_core,  # noqa: PLW1509 - no thread of this process runs yet
    ) as process:
        assert process.stdout is not None
        while chunk := os.read(process.stdout.fileno(), 1 << 20):
            last = time.perf_counter()
            first = first or last
            lines += chunk.count(b"\n")
        process.wait(30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert events <= lines <= events + MOST_NOTES, f"{lines} lines for {events} events"
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return events / (last - first), spent


def _on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def ours(port: int, folder: Path, events: int) -> tuple[list[str], dict[str, str]]:
    """`keepalive tail --json`, with its heartbeats."""
    environ = surroundings(folder) | {
        "CLOUDFLARE_BASE_URL": f"http://127.0.0.1:{port}/client/v4",
        "CLOUDFLARE_API_TOKEN": "made-up-token",
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID,
    }
    return [
        sys.executable,
        "-m",
        "keepalive",
        "tail",
        "api",
        "--json",
        "-n",
        str(events),
        "--for",
        "2m",
    ], environ


def plain(port: int, folder: Path, events: int) -> tuple[list[str], dict[str, str]]:
    """The plain loop."""
    return [sys.executable, "-c", PLAIN, f"ws://127.0.0.1:{port}/connect", str(events)], surroundings(folder)


def throughput(events: int, rounds: int, command: str) -> Report:
    """Measure and report."""
    peers = {"keepalive": ours} | ({"plain": plain} if find_spec("websockets") else {})
    rates: dict[str, list[float]] = {name: [] for name in peers}
    spent: dict[str, list[float]] = {name: [] for name in peers}
    with TemporaryDirectory() as folder, served(events) as port:
        for number in range(rounds + 1):
            for name, peer in peers.items():
                rate, seconds = run(*peer(port, Path(folder), events), Path(folder), events)
                if number:  # the first round warms caches
                    rates[name].append(rate)
                    spent[name].append(seconds)
    figures = [
        Figure("`keepalive tail --json`", median(rates["keepalive"]), "events/s", least=LEAST_PER_SECOND),
        Figure("the slowest of its rounds", min(rates["keepalive"]), "events/s"),
    ]
    if "plain" in peers:
        ratios = [mine / theirs for mine, theirs in zip(rates["keepalive"], rates["plain"], strict=True)]
        figures += [
            Figure("a plain loop over `websockets` and `json`", median(rates["plain"]), "events/s"),
            Figure("times as fast as the plain loop", median(ratios), "", least=1.0, digits=2),
            Figure("the same in the worst round", min(ratios), "", digits=2),
        ]
    figures += [
        Figure(f"CPU of the {name} process, start included", median(spent[name]), "s", digits=2)
        for name in peers
    ]
    missing = () if "plain" in peers else ("websockets is not installed: only keepalive was measured",)
    return Report(
        name="tail_throughput",
        setting=(
            f"{events:,} events of {EVENT_BYTES:,} bytes, {rounds} rounds, the peers in turn, each bound to "
            "one core; medians. The server is another process."
        ),
        command=command,
        figures=tuple(figures),
        notes=missing,
    )


def main() -> int:
    """Measure, print the table, save it, and say by the exit code whether all figures hold."""
    parser = ArgumentParser(prog="python -m benchmarks.tail_throughput", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    command = " ".join(["python -m benchmarks.tail_throughput", *sys.argv[1:]])
    report = throughput(asked.events, asked.rounds, command)
    print(*report.markdown(), f"- saved as {report.save().name}", sep="\n")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
