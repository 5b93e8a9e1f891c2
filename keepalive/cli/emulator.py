"""`keepalive emulator`: the local Cloudflare alone, for tests of other programs."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

_TOKEN = "emulated-token"  # noqa: S105 - made up: it opens nothing but an emulator
_ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
_SCRIPTS = ("api", "web")


def _duration(value: str | float) -> float:
    from keepalive.config.duration import HINT, parse_duration  # noqa: PLC0415 - `--help` needs none of it

    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} {error}; {HINT}") from None


def _account(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", value):
        raise typer.BadParameter(f"{value!r} is no account id; write 32 lower-case hex digits")
    return value


def _token(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise typer.BadParameter("a token has neither blanks nor control characters; write one without")
    return value


def _names(scripts: list[str] | None) -> list[str]:
    from keepalive.config.targets import script_problem  # noqa: PLC0415 - `--help` needs none of it

    for script in scripts or ():
        if wrong := script_problem(script):
            raise typer.BadParameter("; ".join(wrong))
        if "," in script:
            raise typer.BadParameter(f"{script!r} has a comma; give --script once for each name")
    return scripts or list(_SCRIPTS)


def emulator(  # noqa: PLR0913 - one parameter for each option of the command
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    token: Annotated[
        str,
        typer.Option(callback=_token, metavar="TOKEN", help="The API token to accept; a made-up one."),
    ] = _TOKEN,
    account: Annotated[
        str, typer.Option(callback=_account, metavar="ID", help="The account id to know: 32 hex digits.")
    ] = _ACCOUNT_ID,
    script: Annotated[
        list[str] | None,
        typer.Option(
            callback=_names,
            metavar="NAME",
            help="A script of that account; repeat it for more. Default: api, web.",
        ),
    ] = None,
    window: Annotated[
        float,
        typer.Option(parser=_duration, metavar="DURATION", help="How long an accepted heartbeat lasts."),
    ] = 45.0,
    time_factor: Annotated[
        float,
        typer.Option(min=0.01, max=1000, metavar="N", help="Run windows, quotas and faults N times as fast."),
    ] = 1.0,
    events_per_second: Annotated[
        float, typer.Option(min=0, max=1000, metavar="N", help="How many events each script logs.")
    ] = 1.0,
    faults: Annotated[Path | None, typer.Option(metavar="FILE", help="A fault script in TOML.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Makes the chance of the faults repeatable.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Run a local Cloudflare until Ctrl-C, for tests of other programs.

    It answers the live-tail and telemetry API on 127.0.0.1 with Cloudflare's error codes, quota and
    eligibility window, and plays the faults of a script.

    Example: keepalive emulator --port 8976 --script api --time-factor 10 --faults faults.toml
    """
    from keepalive.emulator import Emulator, World, read_faults, run_alone  # noqa: PLC0415 - brings aiohttp

    scripts = tuple(script or ())
    world = World.simple(token=token, account_id=account, scripts=scripts, window=window)
    local = Emulator(
        replace(world, events_per_second=events_per_second),
        faults=read_faults(faults) if faults else (),
        time_factor=time_factor,
        port=port,
        seed=seed,
    )

    def announce() -> None:
        environment = {
            "CLOUDFLARE_BASE_URL": local.base_url,
            "CLOUDFLARE_API_TOKEN": token,
            "CLOUDFLARE_ACCOUNT_ID": account,
            "KEEPALIVE_SCRIPTS": ",".join(scripts),
        }
        if as_json:
            typer.echo(json.dumps({"schema": 1, "base_url": local.base_url, "environment": environment}))
            return
        typer.echo(
            f"# A local Cloudflare listens on {local.base_url} until Ctrl-C. Point keepalive at it by:"
        )
        for name, value in environment.items():
            typer.echo(f"export {name}={shlex.quote(value)}")

    run_alone(local, announce)
