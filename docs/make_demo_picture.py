"""Makes demo.svg beside this file: one moment of a real run of the demo.

Run it from the repository: `.venv/bin/python docs/make_demo_picture.py`. It takes a minute or a few.
"""

# ruff: noqa: INP001 - a script of its own, no part of a package

from __future__ import annotations

import asyncio
import os
import re
import signal
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import Event
from keepalive.demo.scene import Scene
from keepalive.demo.show import Show, open_show
from keepalive.demo.ticker import Ticker, noteworthy
from keepalive.demo.view import view
from keepalive.engine.clock import BootClock

WIDTH, HEIGHT = 100, 26

FIRST_ROUND = 30.0
"""Seconds after which every kind of fault has left its marks."""

BARE = re.sub(r"@font-face \{\{.*?\}\}\n|<!--.*?-->\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's format without comments, and without fonts from elsewhere: a page may not fetch them."""


def telling(scene: Scene) -> bool:
    """Whether this moment shows what the demo is about: keepalive under pressure, the naive loop down."""
    at_risk = any(row.state is Eligibility.AT_RISK for row in scene.targets)
    down = not all(scene.contestants[-1].eligible)
    return scene.elapsed > FIRST_ROUND and scene.weather.playing and at_risk and down


async def photograph(show: Show, ticker: Ticker) -> Console:
    """Wait for a telling moment, and draw it."""
    while not telling(show.scene()):  # noqa: ASYNC110 - deadlines run down without an event
        await asyncio.sleep(0.1)
    console = Console(
        record=True, file=StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor"
    )
    console.print(view(show.scene(), ticker.lines, HEIGHT))
    os.kill(os.getpid(), signal.SIGTERM)  # the show drains and ends, as it does for everybody
    return console


async def main() -> None:
    """Run the demo until a telling moment, and write its picture."""
    clock = BootClock()
    ticker = Ticker(clock.wall_at, colour=True)

    def sink(event: Event) -> None:
        if noteworthy(event):
            ticker(event)

    async with open_show(0, clock, {}) as show, asyncio.TaskGroup() as tasks:
        picture = tasks.create_task(photograph(show, ticker))
        await show.run(sink, ticker.announce, None)
    svg = picture.result().export_svg(title="keepalive demo", code_format=BARE, unique_id="demo")
    Path(__file__).with_name("demo.svg").write_text(svg, encoding="utf-8")


asyncio.run(main())
