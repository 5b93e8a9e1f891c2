"""A daemon: the real `keepalive run`, as a process of its own that cannot outlive its block."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

Line = dict[str, str | int | float | None]
"""A log line, read back."""

ROOT = Path(__file__).parents[1]
"""Where the package lies that is measured."""

_KEPT = ("PATH", "LANG", "TMPDIR")


def surroundings(home: Path) -> dict[str, str]:
    """An environment with nothing of keepalive's, of Cloudflare's or of a proxy in it."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("COV")}
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT)}


class Daemon:
    """A running `keepalive run`, its log kept in a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(signum)

    async def exit_code(self, timeout: float) -> int:
        """Wait for its end; minus N when signal N killed it.

        Raises:
            TimeoutError: It did not end within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def stop(self, signum: signal.Signals = signal.SIGTERM, timeout: float = 20.0) -> tuple[int, float]:
        """Send a signal, and say how it ended and after how many seconds."""
        before = time.monotonic()
        self.send(signum)
        code = await self.exit_code(timeout)
        return code, time.monotonic() - before

    @property
    def log(self) -> str:
        """Everything on stderr so far."""
        return self._log.read_text(encoding="utf-8")

    def lines(self, event: str) -> list[Line]:
        """The log lines of one kind of event; a last line that is not whole yet is left out."""
        whole = self.log.rpartition("\n")[0].splitlines()
        found: list[Line] = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def summary(self) -> Line:
        """The last `eligibility.summary`: after the end, the final one."""
        return self.lines("eligibility.summary")[-1]


async def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    """Wait for something that another process brings about.

    Raises:
        TimeoutError: It did not come true within `timeout` seconds.
    """
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - another process sets no event of this one
            await asyncio.sleep(0.02)


@asynccontextmanager
async def started(
    config: Path,
    *options: str,
    environ: Mapping[str, str] | None = None,
    stderr: int | None = None,
) -> AsyncIterator[Daemon]:
    """Start `keepalive run` for as long as this is entered; leaving kills it if it still runs.

    Args:
        config: The configuration; its folder is the home and the working directory.
        options: Further options.
        environ: Variables besides the few that `surroundings` keeps.
        stderr: A file descriptor for the log; else it goes to `run.log` beside the configuration.
    """
    folder = config.parent
    log = folder / "run.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keepalive", "run", "--config", str(config), *options),
            cwd=folder,
            env=surroundings(folder) | dict(environ or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=file if stderr is None else stderr,
        )
    try:
        yield Daemon(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
