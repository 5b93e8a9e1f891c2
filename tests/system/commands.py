"""Commands: keepalive as a person starts it, each in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.daemon import surroundings

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
OTHER_ACCOUNT_ID = "fedcba9876543210fedcba9876543210"

DAEMON = """
[control]
socket = "k.sock"
[cloudflare]
base_url = "BASE_URL"
[state]
path = ""
[credentials.prod]
api_token = "emulated-token"
"""
"""A daemon that is asked by its socket and remembers nothing; BASE_URL is to be replaced."""


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


async def keepalive(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None, timeout: float = 20.0
) -> Ran:
    """Run `keepalive ARGUMENTS` in a folder to its end."""
    return await python(folder, "-m", "keepalive", *arguments, environ=environ, timeout=timeout)


async def python(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None, timeout: float = 20.0
) -> Ran:
    """Run `python ARGUMENTS` in a folder to its end, which comes within `timeout` seconds or by force."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        cwd=folder,
        env=surroundings(folder) | dict(environ or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return Ran(process.returncode or 0, out.decode(), err.decode())


def write_config(folder: Path, text: str) -> Path:
    """Put a configuration into a folder, readable by its owner only."""
    file = folder / "keepalive.toml"
    file.touch(0o600)
    file.write_text(text, encoding="utf-8")
    return file
