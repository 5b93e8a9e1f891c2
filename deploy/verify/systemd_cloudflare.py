"""The Cloudflare of the proofs under systemd: an emulator whose own account of lapses is written to a file.

Usage: systemd_cloudflare.py ACCOUNT.json - runs until it is stopped.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from keepalive.emulator import Emulator, World
from keepalive.emulator.world import ACCOUNT_ID, Credential, User

PORT = 8976
SCRIPTS = tuple(f"script{number:02}" for number in range(38))
TOKENS = {"one": ("token-one", "token-two"), "eu": ("token-eu",), "sealed": ("token-sealed",)}
"""The tokens of each user; the second of one is what a rotation brings."""

WRITE_SECONDS = 0.1


def world() -> World:
    """Users that share one account."""
    users = (
        User(name, tuple(Credential.api_token(token) for token in tokens)) for name, tokens in TOKENS.items()
    )
    return World(users=tuple(users), accounts={ACCOUNT_ID: frozenset(SCRIPTS)})


def account(cloudflare: Emulator) -> str:
    """What Cloudflare knows: how often a target lapsed, and when the heartbeats of each user came."""
    now, wall = cloudflare.now, time.time()
    heartbeats: dict[str, list[float]] = {}
    for request in cloudflare.requests:
        if request.route == "heartbeat" and request.accepted and request.user:
            heartbeats.setdefault(request.user, []).append(wall - (now - request.at))
    lapses = {f"{who.user}/{who.script_id}": tally.lapses for who, tally in cloudflare.tallies().items()}
    return json.dumps({"lapses": lapses, "heartbeats": heartbeats})


async def main(file: Path) -> None:
    """Serve, and write the account again and again."""
    async with Emulator(world(), port=PORT) as cloudflare:
        while True:
            part = file.with_suffix(".part")
            part.write_text(account(cloudflare))
            part.replace(file)
            await asyncio.sleep(WRITE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
