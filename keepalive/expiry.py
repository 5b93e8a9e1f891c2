"""Expiry: looks after API tokens that end, so that somebody makes the next one in time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Protocol

from keepalive.cloudflare.auth import ApiToken
from keepalive.cloudflare.verification import SOON, TokenActive, TokenUnverifiable
from keepalive.core.events import (
    ConfigReloaded,
    CredentialExpiring,
    CredentialVerified,
    Event,
    LeaseGranted,
    Sink,
)
from keepalive.core.outcome import Denied, Fault, Outcome, Transient
from keepalive.core.target import Scope
from keepalive.engine.clock import wait
from keepalive.engine.ports import Clock
from keepalive.engine.scheduler import Scheduler
from keepalive.reload import Reload

FIRST_LOOK_SECONDS = 60.0
"""Seconds from the start until the first look: a short run sends nothing but heartbeats."""

LOOK_SECONDS = 43_200.0
"""Seconds from one look at a token to the next, at most."""

JITTER = 0.1
"""Part of that by which a look may come early, so that many daemons do not ask at one moment."""

TELL_SECONDS = 86_400.0
"""Seconds from one warning of a token that ends soon to the next."""

AGAIN_SECONDS = 900.0
"""Seconds until the next look, where Cloudflare could not be asked."""

SETTLE_SECONDS = 5.0
"""Seconds that a new secret or a new lease is left to the heartbeats."""

REQUESTS = 2
"""Requests that a verification may take: one for a user's token, and one more for an account's own."""

STEP_SECONDS = 0.1
"""Seconds between two steps: the tokens of a large fleet must not be in the way of its heartbeats."""

_TIMEOUT = 5.0
_GONE = Transient(Fault("gone", "the configuration does not name it any more"), Scope.CREDENTIAL)
_HINT = (
    "make the next token at https://dash.cloudflare.com/profile/api-tokens and put it in place of this one"
)


class Verifier(Protocol):
    """Asks what a token says of itself."""

    async def verify(
        self,
        credential: str,
        account_id: str,
        *,
        timeout: float,
        leave: Callable[[], Awaitable[Outcome | None]],
    ) -> TokenActive | TokenUnverifiable | Outcome:
        """Ask whether the token of a credential is valid, within `timeout` seconds for each request.

        `leave` is asked before each of them; an outcome is the answer instead of the request.
        """
        ...


class WallClock(Clock, Protocol):
    """A clock that knows the date."""

    def wall_at(self, moment: float) -> float:
        """Unix time of a moment of this clock."""
        ...


@dataclass(slots=True)
class _Token:
    """When to look at the token of a credential next; never, while no target needs it.

    Attributes:
        due_at: The moment.
        lent: Requests that its rate group has charged for that look.
    """

    due_at: float
    lent: int = 0


class Expiry:
    """Asks twice a day when each token ends, and tells of those that end soon, once a day.

    Only tokens that a target needs are asked about, and only with what heartbeats leave of the quota. A
    token that is refused is no news here: heartbeats show that sooner. A sink too: what changes the
    tokens in use, or brings targets, is looked at soon.
    """

    def __init__(  # noqa: PLR0913 - what it reads, asks by and tells, and two choices of the caller's
        self,
        reload: Reload,
        scheduler: Scheduler,
        client: Verifier,
        clock: WallClock,
        tell: Sink,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Wire it up.

        Args:
            reload: Knows the credentials in force.
            scheduler: Knows who needs them, and lends the requests.
            client: Asks.
            clock: Tells the time and the date.
            tell: Gets what was answered.
            chance: Draws a number in [0, 1).
        """
        self._reload = reload
        self._scheduler = scheduler
        self._client = client
        self._clock = clock
        self._tell = tell
        self._chance = chance
        self._tokens: dict[str, _Token] = {}
        self._wake = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Look soon at a token that was replaced, and at those that have got their first target."""
        match event:
            case ConfigReloaded():
                replaced = event.credentials
            case LeaseGranted():
                replaced = ()
            case _:
                return
        for name, token in self._tokens.items():
            if name in replaced or token.due_at == inf:
                token.due_at = self._clock.now() + SETTLE_SECONDS
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        await asyncio.sleep(FIRST_LOOK_SECONDS)
        while True:
            self._wake.clear()
            now = self._clock.now()
            self._tokens = {name: self._tokens.get(name) or _Token(now) for name in self._names()}
            name = min(self._tokens, key=lambda name: self._tokens[name].due_at, default="")
            token = self._tokens.get(name)
            if token is None or token.due_at > now:
                await wait(self._wake, token.due_at - now if token else inf)
                continue
            token.due_at = inf
            due_at = await self._look(name, token, now)
            token.due_at = min(token.due_at, due_at)  # sooner, where the secret was replaced meanwhile
            await asyncio.sleep(STEP_SECONDS)

    def _names(self) -> list[str]:
        credentials = self._reload.configuration.credentials
        return [name for name, credential in credentials.items() if isinstance(credential, ApiToken)]

    async def _look(self, name: str, token: _Token, now: float) -> float:
        """Go one step further with a look at a token.

        Returns:
            When to do the next step.
        """
        group = self._scheduler.groups.get(self._reload.configuration.rate_group_of(name))
        targets = group.plan.targets if group else ()
        account = next((target.account_id for target in targets if target.credential == name), None)
        if group is None or account is None:
            return inf
        if token.lent < REQUESTS:
            if seconds := self._scheduler.lend(group.name):
                return now + min(seconds, LOOK_SECONDS)
            token.lent += 1
            return now
        token.lent = 0
        answer = await self._client.verify(name, account, timeout=_TIMEOUT, leave=lambda: self._gone(name))
        now = self._clock.now()
        if isinstance(answer, TokenActive):
            return now + self._tell_end(name, answer.expires_on, now)
        if isinstance(answer, Denied | TokenUnverifiable):
            return now + self._until_next()
        return now + AGAIN_SECONDS

    async def _gone(self, name: str) -> Outcome | None:
        """What stands for an answer where a reload has taken the credential away between two requests."""
        return None if name in self._reload.configuration.credentials else _GONE

    def _tell_end(self, name: str, expires_on: datetime | None, now: float) -> float:
        """Tell when a token ends; the seconds until the next look."""
        if expires_on is None:
            self._tell(CredentialVerified(at=now, credential=name, expires_on=None))
            return self._until_next()
        ends_in = expires_on.timestamp() - self._clock.wall_at(now)
        ends_at = now + ends_in
        self._tell(CredentialVerified(at=now, credential=name, expires_on=ends_at))
        if ends_in >= SOON.total_seconds():
            return self._until_next()
        self._tell(
            CredentialExpiring(
                at=now, credential=name, expires_on=ends_at, ends_in=max(0.0, ends_in), hint=_HINT
            )
        )
        return TELL_SECONDS

    def _until_next(self) -> float:
        return LOOK_SECONDS * (1 - JITTER * self._chance())
