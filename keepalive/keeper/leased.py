"""The keeper that leans on a running daemon by a lease, and beats by itself while the daemon is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf

from keepalive.cloudflare.client import CloudflareClient
from keepalive.control.answers import FaultSaid, TargetSaid
from keepalive.core.eligibility import Eligibility, judge
from keepalive.core.events import EligibilityChanged, LeaseLost, LeaseTaken, Sink
from keepalive.core.outcome import Fault
from keepalive.core.target import Target
from keepalive.engine.ports import Clock
from keepalive.errors import DaemonRefusedError, DaemonUnreachableError
from keepalive.keeper.bell import Bell
from keepalive.keeper.beside import beside
from keepalive.keeper.ports import Keeper, Landlord
from keepalive.keeper.quota import StayingLender

TTL_SECONDS = 60.0
"""Seconds that a lease outlives whoever asked for it: long enough to miss two renewals, or a restart."""

RENEW_SECONDS = 20.0
"""Seconds between two renewals."""

LOOK_SECONDS = 1.0
"""Seconds between two looks at how the targets stand."""

SOON_SECONDS = 0.1
"""The same while somebody waits for the first heartbeats."""

SOON_LOOKS = 50
"""How many of these; an outage may last longer."""

CROWDED_SECONDS = 5.0
"""Seconds until a daemon whose quota had no room is asked again."""

HANDOVER_SECONDS = 10.0
"""Seconds that a daemon which is back has to make all targets eligible, while this process still beats."""

ESTRANGED_SECONDS = 60.0
"""Seconds until a daemon that is there and would not do is asked again."""

RELEASE_SECONDS = 1.0
"""Seconds that the release may take at the end; else the lease runs out by itself."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the daemon said of a target, on this clock."""

    state: Eligibility = Eligibility.PENDING
    until: float | None = None
    fault: Fault | None = None

    def state_at(self, now: float, window: float) -> Eligibility:
        """What it is now, if the daemon has not answered since."""
        if self.until is None or not self.state.holds:
            return self.state
        return judge(self.until - window, denied=False, now=now, window=window)


class Leased:
    """Keeps targets eligible by a lease of a daemon; only while they hand over, both send heartbeats."""

    def __init__(  # noqa: PLR0913 - the parts, and what they share
        self,
        landlord: Landlord,
        targets: tuple[Target, ...],
        *,
        window: float,
        begin: Callable[[], AbstractAsyncContextManager[Keeper]],
        rate_group_of: Callable[[str], str],
        client: CloudflareClient,
        clock: Clock,
        tell: Sink,
        bell: Bell,
        lender: StayingLender,
    ) -> None:
        """Wire it up.

        Args:
            landlord: The daemon.
            targets: What it holds for us.
            window: Seconds that one accepted heartbeat is assumed to last.
            begin: Begins to beat in this process, for as long as it is entered; rings `bell`.
            rate_group_of: The rate group of a credential.
            client: Speaks to Cloudflare for those above.
            clock: Tells the time.
            tell: Gets what changes.
            bell: Rung when a state changes.
            lender: Has calls charged to the daemon.
        """
        self._landlord = landlord
        self._targets = targets
        self._window = window
        self._begin = begin
        self._rate_group_of = rate_group_of
        self._client = client
        self._clock = clock
        self._tell = tell
        self._bell = bell
        self._lender = lender
        self._own: Keeper | None = None
        self._seen = dict.fromkeys(targets, _Seen())
        self._told: dict[Target, Eligibility] = {}
        self._renew_at = -inf
        self._answered_at = clock.now()

    # --- what a keeper is --------------------------------------------------------------------------

    @property
    def client(self) -> CloudflareClient:
        """What speaks to Cloudflare for those above."""
        return self._client

    @property
    def shared(self) -> bool:
        """Whether the daemon sends the heartbeats now."""
        return self._own is None

    def state(self, target: Target) -> Eligibility:
        """Say what a target is now."""
        seen = self._seen.get(target, _Seen()).state_at(self._clock.now(), self._window)
        if self._own is None:
            return seen
        own = self._own.state(target)
        # What the daemon renewed last holds on until the first heartbeat of this process is accepted.
        still = own is Eligibility.PENDING and (seen.holds or seen is Eligibility.LAPSED)
        return seen if still else own

    def fault(self, target: Target) -> Fault | None:
        """Say why a target is not renewed."""
        if self._own is not None:
            return self._own.fault(target)
        return self._seen.get(target, _Seen()).fault

    async def changed(self) -> None:
        """Wait until the state of some target changes."""
        await self._bell.rung()

    async def permit(self, credential: str) -> None:
        """Wait until the quota lends one call: the daemon's, and where it is away that of this process."""
        if self._own is not None:
            await self._own.permit(credential)
        else:
            await self._lender.permit(self._rate_group_of(credential))

    # --- the daemon --------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Take the lease.

        Raises:
            DaemonUnreachableError: It does not answer.
            DaemonRefusedError: It will not, and not for want of room: that may change.
        """
        if (refused := await self._ask()) is not None:
            raise refused
        self._tell_taken()

    async def run(self) -> None:
        """Lean on the daemon, or stand in for it, until cancelled."""
        while True:
            lost = await self._lean()
            self._tell(
                LeaseLost(at=self._clock.now(), lease=self._landlord.name, cause=lost.found, hint=lost.hint)
            )
            if isinstance(lost, DaemonUnreachableError):
                self._lender.rest()  # the first heartbeat is the one that must not be late
            async with self._begin() as own:
                self._own = own
                self._bell.ring()  # it may have begun with a refusal, before anybody could see it
                await self._regain(estranged=isinstance(lost, DaemonRefusedError))
                self._told = {target: own.state(target) for target in self._targets}
                self._own = None
            self._tell_taken()

    async def end(self) -> None:
        """Have the daemon let go of the targets, if it answers."""
        with suppress(DaemonUnreachableError, DaemonRefusedError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._landlord.release()

    async def _lean(self) -> DaemonUnreachableError | DaemonRefusedError:
        """Renew and look for as long as the daemon holds the targets, and say why it does not any more."""
        soon = SOON_LOOKS
        while True:
            soon = soon - 1 if Eligibility.PENDING in map(self.state, self._targets) else 0
            await asyncio.sleep(SOON_SECONDS if soon > 0 else LOOK_SECONDS)
            lost = await self._ask()
            self._notice()
            if lost is not None and (not _passing(lost) or self._too_long_away()):
                return lost

    async def _regain(self, *, estranged: bool) -> None:
        """Ask until the daemon holds the targets again, and all of them are eligible there."""
        while True:
            if estranged:
                await asyncio.sleep(ESTRANGED_SECONDS)
            granted_at: float | None = None
            self._renew_at = -inf
            while granted_at is None or self._clock.now() < granted_at + HANDOVER_SECONDS:
                await asyncio.sleep(LOOK_SECONDS)
                refused = await self._ask()
                if refused is not None:
                    granted_at = None
                    if not _passing(refused):
                        break
                    continue
                if all(seen.state.holds for seen in self._seen.values()):
                    return
                granted_at = self._clock.now() if granted_at is None else granted_at
            await self.end()  # it is there, and does worse than this process: two must not beat for long
            estranged = True

    async def _ask(self) -> DaemonUnreachableError | DaemonRefusedError | None:
        """Renew the lease if that is due, else look; None where the daemon answered how the targets stand."""
        now = self._clock.now()
        due = now >= self._renew_at
        try:
            said = await (self._landlord.renew() if due else self._landlord.look())
        except DaemonUnreachableError as error:
            self._renew_at = -inf  # whoever comes back is asked to hold them at once
            return error
        except DaemonRefusedError as error:
            if error.status == 404 and not due:  # it began anew, and knows nothing of us
                self._renew_at = -inf
                return await self._ask()
            if error.status == 409 and self._own is None:
                self._crowded(error, now)
                return None
            return error
        self._answered_at = now
        if due:
            self._renew_at = now + RENEW_SECONDS
        self._seen = self._read(said, now)
        return None

    def _read(self, said: Sequence[TargetSaid], now: float) -> dict[Target, _Seen]:
        found = dict.fromkeys(self._targets, _Seen())  # a reload may have taken its credential away
        for each in said:
            ahead = each.eligible_for_seconds
            until = None if ahead is None else now + ahead
            target = Target(each.credential, each.account_id, each.script_id)
            found[target] = _Seen(each.state, until, _fault(each.fault) if each.fault else None)
        return found

    def _crowded(self, error: DaemonRefusedError, now: float) -> None:
        self._answered_at, self._renew_at = now, now + CROWDED_SECONDS
        seen = _Seen(Eligibility.REFUSED, None, Fault("quota", error.found, hint=error.hint))
        self._seen = dict.fromkeys(self._targets, seen)

    def _too_long_away(self) -> bool:
        """Whether to wait for the daemon any longer may cost somebody the renewal."""
        away = self._clock.now() - self._answered_at
        return away >= self._window / 2 or any(
            self.state(target) in (Eligibility.AT_RISK, Eligibility.LAPSED) for target in self._targets
        )

    def _notice(self) -> None:
        """Tell what has changed since the last look."""
        now, changed = self._clock.now(), False
        for target in self._targets:
            seen, state, before = self._seen[target], self.state(target), self._told.get(target)
            if state is before:
                continue
            self._told[target], changed = state, True
            self._tell(
                EligibilityChanged(
                    at=now,
                    target=target,
                    from_state=before,
                    to_state=state,
                    cause=seen.fault.cause if seen.fault else "leased",
                    eligible_until=seen.until,
                    fault=seen.fault,
                )
            )
        if changed:
            self._bell.ring()

    def _tell_taken(self) -> None:
        name, address = self._landlord.name, self._landlord.address
        self._tell(LeaseTaken(at=self._clock.now(), lease=name, address=address, targets=len(self._targets)))
        self._notice()


def _passing(error: DaemonUnreachableError | DaemonRefusedError) -> bool:
    return isinstance(error, DaemonUnreachableError) or error.passing


def _fault(said: FaultSaid) -> Fault:
    return Fault(
        said.cause, said.detail or "", said.http_status, said.error_code, said.cf_ray, said.hint or ""
    )


@asynccontextmanager
async def leased(keeper: Leased) -> AsyncIterator[Leased]:
    """Lean on a daemon as long as this is entered; then have it let go.

    Raises:
        DaemonUnreachableError: On entering: it does not answer.
        DaemonRefusedError: On entering: it will not, and not for want of room.
    """
    try:
        await keeper.begin()
        async with beside({"lease": keeper.run()}):
            yield keeper
    finally:
        await keeper.end()
