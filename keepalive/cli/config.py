"""`keepalive config`: the configuration, explained."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from keepalive.cli.options import Options, warn
from keepalive.config import Configuration, Setting

NARROWEST = 24
"""Characters for a value, gaps included; with less there is no table, because nothing may be cut."""

config = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@config.callback()
def _config() -> None:
    """Explain the configuration.

    Example: keepalive config show
    """


@config.command()
def show(
    options: Options,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Show every effective value and where it comes from; secrets stay hidden.

    Example: KEEPALIVE_HEARTBEAT__INTERVAL=20s keepalive config show
    """
    configuration = options.read()
    warn(configuration)
    if as_json:
        typer.echo(_json(configuration))
    elif sys.stdout.isatty():
        _print_table(configuration, color=options.color)
    else:
        for setting in configuration.explain():
            typer.echo(f"{setting.key}\t{_text(setting)}\t{setting.source}")


def _json(configuration: Configuration) -> str:
    settings = [setting._asdict() for setting in configuration.explain()]
    path = str(configuration.path) if configuration.path else None
    return json.dumps({"schema": 1, "file": path, "settings": settings}, ensure_ascii=False, indent=2)


def _print_table(configuration: Configuration, *, color: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415

    console = Console(no_color=not color, markup=False, highlight=False)
    settings = tuple(configuration.explain())
    around = max(len(each.key) for each in settings) + max(len(each.source) for each in settings)
    if around + NARROWEST > console.width:
        for each in settings:
            typer.echo(f"{each.key} = {_text(each)}\n    {each.source}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("source", no_wrap=True)
    for each in settings:
        table.add_row(each.key, _text(each), each.source)
    console.print(table)


def _text(setting: Setting) -> str:
    if isinstance(setting.value, str):
        return setting.value or '""'
    return json.dumps(setting.value, ensure_ascii=False)
