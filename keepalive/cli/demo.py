"""`keepalive demo`: a local Cloudflare and the real daemon against it, with faults on the way."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from keepalive.cli.options import Options
from keepalive.cli.run import INTERRUPTED
from keepalive.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from keepalive.core.events import Event
    from keepalive.demo.show import Show
    from keepalive.engine.clock import BootClock

FRAME = 0.1
"""Seconds between two pictures on a terminal."""


def demo(
    options: Options,
    *,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End after so long; else at Ctrl-C.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Makes the faults repeatable.")] = 0,
) -> None:
    """Play keepalive against a local Cloudflare, with faults on the way.

    The emulator, the daemon and a naive loop run side by side on 127.0.0.1, five times as fast as life. No
    account, no token, no network. Ctrl-C ends it, with what was measured.

    Example: keepalive demo --for 30s
    """
    seconds = _seconds(duration)
    try:
        closing = asyncio.run(_play(options, seconds, seed))
    except asyncio.CancelledError:
        raise typer.Exit(INTERRUPTED) from None
    for line in closing:
        typer.echo(line)


def _seconds(duration: str | None) -> float | None:
    from keepalive.config.duration import HINT, parse_duration  # noqa: PLC0415 - `--help` needs none of it

    try:
        return None if duration is None else parse_duration(duration)
    except ValueError as error:
        raise UsageError(f"--for: {duration!r} {error}; {HINT}") from None


async def _play(options: Options, seconds: float | None, seed: int) -> list[str]:
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for any of these

    from keepalive.demo.show import open_show  # noqa: PLC0415
    from keepalive.engine.clock import BootClock  # noqa: PLC0415

    overrides = {"log.format": options.log_format or "console", "log.level": options.log_level or "debug"}
    clock = BootClock()
    async with open_show(seed, clock, overrides) as show:
        console = Console(no_color=not options.color, highlight=False)
        if sys.stdout.isatty() and not console.is_dumb_terminal:
            await _on_screen(show, clock, console, seconds)
        else:
            await _in_lines(show, clock, options, seconds)
        return show.closing()


async def _in_lines(show: Show, clock: BootClock, options: Options, seconds: float | None) -> None:
    """Play it as log lines, with a plain line when a fault begins and ends."""
    from keepalive import app  # noqa: PLC0415
    from keepalive.demo.ticker import noteworthy  # noqa: PLC0415

    log = app.open_logs(show.configuration, clock, colour=options.color)

    def sink(event: Event) -> None:
        if options.log_level or noteworthy(event):
            log(event)

    playing, unwritten = asyncio.current_task(), None

    def announce(text: str) -> None:
        nonlocal unwritten
        try:
            typer.echo(f"-- {text}")
        except OutputError as error:  # nobody watches any more
            unwritten = error
            if playing:
                playing.cancel()

    try:
        await show.run(sink, announce, seconds)
    except asyncio.CancelledError:
        raise unwritten or asyncio.CancelledError from None
    finally:
        log.close(app.LOG_SECONDS)


async def _on_screen(show: Show, clock: BootClock, console: Console, seconds: float | None) -> None:
    """Play it as a moving picture on a screen of its own, which leaves the terminal as it was."""
    from rich.live import Live  # noqa: PLC0415

    from keepalive.demo.ticker import Ticker, noteworthy  # noqa: PLC0415
    from keepalive.demo.view import view  # noqa: PLC0415

    ticker = Ticker(clock.wall_at, colour=not console.no_color)

    def sink(event: Event) -> None:
        if noteworthy(event):
            ticker(event)

    async def draw(live: Live) -> None:
        while True:
            picture = view(show.scene(), ticker.lines, console.height)
            await asyncio.to_thread(live.update, picture, refresh=True)  # a slow terminal delays no beat
            await asyncio.sleep(FRAME)

    with Live(console=console, screen=True, auto_refresh=False) as live:
        async with asyncio.TaskGroup() as tasks:
            drawing = tasks.create_task(draw(live), name="picture")
            try:
                await show.run(sink, ticker.announce, seconds)
            finally:
                drawing.cancel()
