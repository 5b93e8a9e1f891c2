"""The Python API's tail: the events of one target, for as long as somebody takes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence

from keepalive.cloudflare.tls import tls_context
from keepalive.config.duration import LONGEST
from keepalive.core.telemetry import Event, Wanted
from keepalive.engine.clock import BootClock
from keepalive.errors import UsageError
from keepalive.keeper.session import Aim, kept, take_aim
from keepalive.livetail.backlog import Backlog
from keepalive.livetail.connection import Opener
from keepalive.livetail.filters import wanted_of
from keepalive.livetail.record import Dropped, Gap
from keepalive.livetail.stream import Stream

AT_ONCE = 100
"""Records that are taken from the backlog together."""


async def tail(  # noqa: PLR0913 - those of `hold`, and which events
    *,
    account_id: str | None = None,
    script_id: str | None = None,
    api_token: str | None = None,
    base_url: str | None = None,
    config: str | os.PathLike[str] | None = None,
    credential: str | None = None,
    filters: Sequence[str] = (),
    any_of: bool = False,
    since: float | None = None,
) -> AsyncGenerator[Event | Gap | Dropped, None]:
    """Give the events of a target, in order and each once, until the loop over them is left.

    It reconnects by itself and fills gaps from what is stored. What cannot be had comes as a `Gap` in its
    place; what did not fit into 32 MiB because the loop was too slow, as a `Dropped`.

    Args:
        account_id: As in `hold`; as are the others.
        script_id: The Worker script's name; None is the whole account.
        api_token: The token of the user who tails.
        base_url: Where the API is.
        config: A configuration file.
        credential: Which of its credentials speaks.
        filters: Which events, each as `--filter` of the command takes it: `"level = error"`.
        any_of: Whether one of the filters is enough.
        since: Begin with what is stored of so many seconds, a day at most.

    Raises:
        ConfigError: What is given, or the environment, has faults; nothing was sent.
        TargetError: It is not clear which target is meant.
        UsageError: A filter cannot be understood, or `since` is no length of time.
    """
    # One filter alone is a sequence too, of letters: nobody means that.
    wanted = wanted_of([filters] if isinstance(filters, str) else filters, any_of=any_of)
    if since is not None and not 0 <= since <= LONGEST:
        raise UsageError(f"since is {since:g} s; give 0 to {LONGEST:g}, or leave it out")
    aim = await asyncio.to_thread(take_aim, account_id, script_id, api_token, base_url, config, credential)
    came = asyncio.Event()
    backlog = Backlog(bell=came.set)
    # A task of its own: a generator that is left in the middle is closed by another task than it ran in.
    following = asyncio.create_task(_follow(aim, wanted, backlog, since), name=f"tail {aim.target.label}")
    following.add_done_callback(lambda _: came.set())
    try:
        while not following.done():
            items = backlog.take(AT_ONCE)
            for item in items:
                if isinstance(item, Event):
                    yield item
                elif isinstance(item.record, Gap | Dropped):
                    yield item.record
            backlog.release(items)
            backlog.settle()
            if not items and backlog.sleep():
                await came.wait()
            came.clear()
        following.result()
    finally:
        following.cancel()
        await asyncio.wait([following])


async def _follow(aim: Aim, wanted: Wanted, backlog: Backlog, since: float | None) -> None:
    tls = tls_context(aim.configuration.settings.cloudflare.ca_file or None)
    clock = BootClock()
    since_ms = None if since is None else round(clock.wall_at(clock.now() - since) * 1000)
    async with kept(aim, clock) as keeper, Opener(tls) as connect:
        stream = Stream(
            aim.target,
            wanted,
            backlog.inlet(aim.target),
            api=keeper.client,
            keeper=keeper,
            connect=connect,
        )
        await stream.run(since_ms)
