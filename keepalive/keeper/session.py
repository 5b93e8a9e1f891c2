"""The Python API's session: one target that is kept eligible for as long as a block runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from keepalive.config.access import Access, find_access
from keepalive.config.configuration import Configuration, load
from keepalive.config.reference import resolve
from keepalive.config.targets import script_problem
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import Event, Level, Sink
from keepalive.core.target import Target
from keepalive.engine.clock import BootClock
from keepalive.errors import NotEligibleError, TargetError
from keepalive.keeper.keeping import keeping
from keepalive.keeper.ports import Keeper
from keepalive.sinks.line import line_of

_LOGGER = logging.getLogger("keepalive")
_LEVELS = {level: logging.getLevelNamesMapping()[level.upper()] for level in Level}

_CREDENTIALS = ("CLOUDFLARE_API_", "CLOUDFLARE_EMAIL", "KEEPALIVE_CREDENTIALS__")
"""What begins the name of a variable that brings a credential; a token that is given replaces them all."""


class Change(NamedTuple):
    """A target went from one state to another.

    Attributes:
        before: What it was.
        after: What it is.
        reason: Why it is not renewed, in one line; "" where nothing is wrong.
    """

    before: Eligibility
    after: Eligibility
    reason: str


class Session:
    """A target that is kept eligible; `hold` gives one.

    Attributes:
        target: Which.
    """

    def __init__(self, keeper: Keeper, target: Target) -> None:
        self.target = target
        self._keeper = keeper

    @property
    def state(self) -> Eligibility:
        """What the target is now."""
        return self._keeper.state(self.target)

    @property
    def reason(self) -> str:
        """Why it is not renewed, and what to do, in one line; "" where nothing is wrong."""
        fault = self._keeper.fault(self.target)
        if fault is None:
            return ""
        seen = fault.detail or fault.cause
        return f"{seen}; {fault.hint}" if fault.hint else seen

    @property
    def shared(self) -> bool:
        """Whether a running daemon sends the heartbeats now, instead of this process."""
        return self._keeper.shared

    async def eligible(self) -> None:
        """Wait until the target is eligible. Bound it with `asyncio.timeout`: an outage may last.

        Raises:
            NotEligibleError: It is refused, which waiting does not change.
        """
        while not self.state.holds:
            if self.state in (Eligibility.DENIED, Eligibility.REFUSED):
                raise NotEligibleError(f"{self.target.label} is {self.state}: {self.reason}")
            await self._keeper.changed()

    async def transitions(self) -> AsyncIterator[Change]:
        """Give every change of state from now on, for ever.

        Nothing is queued: what a target became and left again while nobody asked is not told.
        """
        before = self.state
        while True:
            while (after := self.state) is before:
                await self._keeper.changed()
            yield Change(before, after, self.reason)
            before = after


class Aim(NamedTuple):
    """What is meant by the arguments of `hold` and `tail`.

    Attributes:
        configuration: Knows the credential, and how to speak to Cloudflare.
        target: What is to be kept eligible.
        access: Where a daemon may be.
        lean: Whether a daemon may know the credential too.
    """

    configuration: Configuration
    target: Target
    access: Access
    lean: bool


@asynccontextmanager
async def hold(  # noqa: PLR0913 - each has a default, and most callers name two
    *,
    account_id: str | None = None,
    script_id: str | None = None,
    api_token: str | None = None,
    base_url: str | None = None,
    config: str | os.PathLike[str] | None = None,
    credential: str | None = None,
) -> AsyncIterator[Session]:
    """Keep a target eligible for as long as this is entered.

    A running daemon that reads the same configuration holds it by a lease, unless a token is given here; else
    heartbeats are sent from this loop, by the same engine as the daemon's. What happens is logged by the
    standard logger `keepalive`.

    Args:
        account_id: 32 lower-case hexadecimal digits; else `$CLOUDFLARE_ACCOUNT_ID` or the configuration's.
        script_id: The Worker script's name; None is the whole account.
        api_token: The token of the user who tails; else the environment's or the configuration's credential.
        base_url: Where the API is; else `$CLOUDFLARE_BASE_URL` or Cloudflare's own address.
        config: A configuration file. No other is looked for: without one the environment says everything.
        credential: Which of the configuration's credentials speaks, where several may.

    Raises:
        ConfigError: What is given, or the environment, has faults; nothing was sent.
        TargetError: It is not clear which target is meant.
    """
    aim = await asyncio.to_thread(take_aim, account_id, script_id, api_token, base_url, config, credential)
    async with kept(aim, BootClock()) as keeper:
        yield Session(keeper, aim.target)


@asynccontextmanager
async def kept(aim: Aim, clock: BootClock) -> AsyncIterator[Keeper]:
    """Keep what is meant eligible for as long as this is entered."""
    async with keeping(
        aim.configuration,
        [aim.target],
        aim.access,
        tell=_logged(clock),
        clock=clock,
        prefix="python",
        lean=aim.lean,
    ) as keeper:
        yield keeper


def _logged(clock: BootClock) -> Sink:
    """A sink that writes events to the standard logger `keepalive`."""

    def tell(event: Event) -> None:
        level = _LEVELS[event.level]
        if _LOGGER.isEnabledFor(level):
            line = line_of(event, clock.wall_at)
            rest = {key: line[key] for key in line if key not in ("timestamp", "level", "event")}
            _LOGGER.log(level, "%s %s", event.name, rest)

    return tell


def take_aim(  # noqa: PLR0913, PLR0917 - those of `hold`
    account_id: str | None,
    script_id: str | None,
    api_token: str | None,
    base_url: str | None,
    config: str | os.PathLike[str] | None,
    credential: str | None,
) -> Aim:
    """Read what `hold` is given; it may wait for a disk.

    Raises:
        ConfigError: As `hold` does.
        TargetError: As `hold` does.
    """
    for name, value in (("account_id", account_id), ("script_id", script_id)):
        if not value and value is not None:  # such as from a variable that is not set
            raise TargetError(f"{name} is empty", "leave it out, or give None")
    if script_id is not None and (problem := script_problem(script_id)):
        raise TargetError(*problem)
    file = None if config is None else Path(config)
    environ = _environment(os.environ, account_id, api_token)
    overrides = {} if base_url is None else {"cloudflare.base_url": base_url}
    folder = Path.cwd()
    configuration = load(file or Path(os.devnull), overrides, environ, folder)
    if file is None:
        configuration = replace(configuration, path=None)
    account = account_id or environ.get("CLOUDFLARE_ACCOUNT_ID", "")
    reference = f"{account}/{script_id or ''}" if account or not script_id else script_id
    target = resolve(reference, credential, configuration)
    return Aim(configuration, target, find_access(file, environ, folder), api_token is None)


def _environment(
    environ: Mapping[str, str], account_id: str | None, api_token: str | None
) -> Mapping[str, str]:
    """The environment, with what is given in the place of what it says."""
    said = {
        name: text for name, text in environ.items() if name not in ("KEEPALIVE_SCRIPTS", "KEEPALIVE_CONFIG")
    }
    if account_id is not None:
        said["CLOUDFLARE_ACCOUNT_ID"] = account_id
    if api_token is not None:
        kept = {
            n: text for n, text in said.items() if not n.startswith(_CREDENTIALS) or n.endswith("_BASE_URL")
        }
        said = kept | {"CLOUDFLARE_API_TOKEN": api_token}
    return said
