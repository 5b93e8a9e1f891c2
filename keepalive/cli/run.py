"""`keepalive run`: the daemon, in the foreground."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys

from keepalive.cli.loop import fastest_loop
from keepalive.cli.options import Options, warn

INTERRUPTED = 130

GARBAGE = (10_000, 20, 100)
"""New objects, and rounds, after which garbage is looked for. A beat leaves none, but makes a hundred.

Python's own numbers, 700, 10 and 10, cost each beat a tenth of its time, and walk through all targets.
"""


def run(options: Options) -> None:
    """Hold all targets eligible until stopped: the daemon, in the foreground.

    SIGTERM or Ctrl-C drains within 5 s and exits 0; a second one exits at once.

    Example: keepalive run --config /etc/keepalive/keepalive.toml
    """
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _leave)
    hung_up: list[int] = []
    signal.signal(signal.SIGHUP, lambda signum, _: hung_up.append(signum))
    gc.disable()  # imports make no garbage, and to look for it is a tenth of the time to the first heartbeat
    configuration = options.read()
    warn(configuration)

    from keepalive import app  # noqa: PLC0415 - a broken configuration is told without waiting for aiohttp
    from keepalive.engine.clock import BootClock  # noqa: PLC0415

    gc.freeze()
    gc.set_threshold(*GARBAGE)
    gc.enable()

    async def main() -> None:
        clock = BootClock()
        log = app.open_logs(configuration, clock, colour=options.color)
        code = 0
        try:
            await app.run(
                configuration,
                clock,
                log,
                load=options.read,
                environ=os.environ,
                hung_up=lambda: bool(hung_up),
            )
        except asyncio.CancelledError:
            code = INTERRUPTED
        finally:
            log.close(app.LOG_SECONDS)
        sys.stdout.flush()
        # A name server that hangs holds a thread of asyncio's, and the interpreter would wait for it.
        os._exit(code)

    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(main())


def _leave(_signum: int, _frame: object) -> None:
    """End at once, until the supervisor listens: nothing has been sent yet that a drain could finish."""
    os._exit(0)
