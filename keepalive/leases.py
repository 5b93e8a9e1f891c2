"""Leases: targets that somebody asked for at run time, each for as long as it is renewed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from math import inf

from keepalive.config.duration import format_duration
from keepalive.config.reference import resolve
from keepalive.config.wording import quote
from keepalive.core.events import LeaseEnded, LeaseGranted, Sink
from keepalive.core.lease import Lease, LeaseChanges
from keepalive.core.plan import admit
from keepalive.core.target import Target
from keepalive.engine.ports import Clock
from keepalive.errors import LeaseError
from keepalive.reload import Reload

SHORTEST_TTL, LONGEST_TTL = 1.0, 86_400.0
"""Seconds for which a lease can be asked at a time."""

MOST_LEASES = 10_000
"""Leases at a time: whoever asks for a new name each time must not fill the memory."""

MOST_TARGETS = 1_000
"""Targets of one lease."""

MOST_HOLDERS = 10
"""Leases that are named of a target: ten thousand may hold the same, and each of them is listed with it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)


class Leases:
    """Holds what is leased behind the configuration's own targets, and lets go of it in time."""

    def __init__(
        self,
        reload: Reload,
        clock: Clock,
        tell: Sink,
        keep: Callable[[LeaseChanges], None],
        kept: Iterable[Lease] = (),
    ) -> None:
        """Wire it up.

        Args:
            reload: Puts what is leased in force; has those of `kept` in force already.
            clock: Tells the time; nobody else waits on it.
            tell: Gets what is granted, and what ends.
            keep: Gets every change, for the next process.
            kept: What another process had granted.
        """
        self._reload = reload
        self._clock = clock
        self._tell = tell
        self._keep = keep
        self._leases = {lease.name: lease for lease in kept}
        self._holders = _holders(self._leases.values())
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        """All of them, the oldest first."""
        return iter(tuple(self._leases.values()))

    def get(self, name: str) -> Lease | None:
        """The lease of that name."""
        return self._leases.get(name)

    def holders(self, target: Target) -> tuple[str, ...]:
        """The leases that hold a target, the oldest first, and no more than `MOST_HOLDERS`."""
        return tuple(self._holders.get(target, ())[:MOST_HOLDERS])

    @property
    def guests(self) -> tuple[Target, ...]:
        """What is leased, and is none of the configuration's own targets."""
        return tuple(target for target in self._holders if target not in self._reload.targets)

    async def put(self, name: str, references: tuple[str, ...], credential: str | None, ttl: float) -> bool:
        """Grant or renew a lease; asking twice for the same changes nothing but its end.

        Args:
            name: Whoever asks chooses it: 1 to 128 letters, digits and `._:-`.
            references: The targets as `[ACCOUNT/]SCRIPT`.
            credential: Who speaks for them; None where the configuration leaves no choice.
            ttl: Seconds from now for which they are held.

        Returns:
            Whether it is new.

        Raises:
            LeaseError: It is not granted.
            TargetError: A reference names no target, or it is not clear which.
        """
        _check(name, references, ttl)
        configuration = self._reload.configuration
        named = (resolve(reference, credential, configuration) for reference in references)
        targets = tuple(dict.fromkeys(named))
        old = self._leases.get(name)
        if old is None and len(self._leases) >= MOST_LEASES:
            raise LeaseError(f"there are {MOST_LEASES:,} leases already", "release some, or let them expire")
        if old is None or old.targets != targets:
            self._check_room(name, targets)
        now = self._clock.now()
        lease = self._leases[name] = Lease(name, targets, now + ttl)
        self._keep({name: lease})
        self._wake.set()
        if old is None or old.targets != targets:
            self._tell(LeaseGranted(at=now, lease=name, targets=len(targets), ttl=ttl))
            await self._hold()
        elif not self._reload.holds(targets):  # whoever asked first still waits for a reload to end
            await self._hold()
        return old is None

    async def release(self, name: str) -> bool:
        """End a lease; False where there is none of that name."""
        if (lease := self._leases.pop(name, None)) is None:
            return False
        self._end(lease, self._clock.now(), "released")
        await self._hold()
        return True

    async def run(self) -> None:
        """Let go of every lease that nobody has renewed in time, until cancelled."""
        while True:
            ends_at = min((lease.ends_at for lease in self._leases.values()), default=inf)
            await self._clock.wait(self._wake, ends_at)
            self._wake.clear()
            now = self._clock.now()
            if over := [lease for lease in self._leases.values() if lease.ends_at <= now]:
                for lease in over:
                    del self._leases[lease.name]
                    self._end(lease, lease.ends_at, "expired")
                await self._hold()

    async def _hold(self) -> None:
        """Put what is leased now in force, in the order of asking."""
        self._holders = _holders(self._leases.values())
        await self._reload.hold_too(tuple(self._holders))

    def _end(self, lease: Lease, at: float, cause: str) -> None:
        self._keep({lease.name: None})
        self._tell(LeaseEnded(at=at, lease=lease.name, cause=cause))

    def _check_room(self, name: str, targets: tuple[Target, ...]) -> None:
        others = (lease.targets for lease in self._leases.values() if lease.name != name)
        held = dict.fromkeys(target for each in others for target in each)
        if wait := max(map(self._reload.room_for, targets), default=0.0):
            again = format_duration(max(1, round(wait)))
            raise LeaseError(
                "so many targets have come and gone that the heartbeats of the others need what is left",
                f"renew a lease instead of ending it, and ask again in {again}",
                crowded=True,
            )
        for group in self._reload.configuration.plan_with((*held, *targets)).values():
            admission = admit(group)
            if refused := set(admission.refused).intersection(targets):
                raise LeaseError(
                    f"the quota of rate group {group.name} holds {len(admission.admitted):,} targets, and "
                    f"{len(refused):,} of these would be beyond",
                    "release another lease, or take targets out of the configuration",
                    crowded=True,
                )


def _holders(leases: Iterable[Lease]) -> dict[Target, list[str]]:
    """Who holds each target, by the order of asking."""
    holders: dict[Target, list[str]] = {}
    for lease in leases:
        for target in lease.targets:
            holders.setdefault(target, []).append(lease.name)
    return holders


def _check(name: str, references: tuple[str, ...], ttl: float) -> None:
    if not _NAME.fullmatch(name):
        found = f"{quote(name[:64])} is no name for a lease"
        raise LeaseError(found, "write 1 to 128 letters, digits, dots, colons, dashes or underscores")
    if not references:
        raise LeaseError("a lease of no target", "name at least one as ACCOUNT/SCRIPT")
    if len(references) > MOST_TARGETS:
        hint = f"write at most {MOST_TARGETS:,}, and take a second lease for the rest"
        raise LeaseError(f"a lease of {len(references):,} targets", hint)
    if not SHORTEST_TTL <= ttl <= LONGEST_TTL:
        hint = f"write {SHORTEST_TTL:g} to {LONGEST_TTL:,.0f} seconds, and renew it before it ends"
        raise LeaseError(f"a lease for {ttl:g} seconds", hint)
