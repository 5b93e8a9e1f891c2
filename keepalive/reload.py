"""A reload: puts another configuration, a rotated secret or leased targets in force while the daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from keepalive.cloudflare.auth import Credential
from keepalive.cloudflare.client import CloudflareClient
from keepalive.config import Configuration, mark
from keepalive.config.configuration import Value
from keepalive.config.secrets import Mark
from keepalive.core.events import ConfigRejected, ConfigReloaded, Sink
from keepalive.core.plan import Plan
from keepalive.core.target import Target
from keepalive.engine.ports import Clock
from keepalive.engine.scheduler import Scheduler
from keepalive.errors import ConfigError, KeepaliveError

WATCH_SECONDS = 3.0
"""Seconds between two looks at the files that hold secrets."""

_FIXED = ("cloudflare.", "log.", "state.", "http.", "control.")
"""What the parts that hold open files and sockets were built from."""


class Reload:
    """Whatever is wrong with what it reads is told, and the old configuration stays in force."""

    def __init__(  # noqa: PLR0913 - all that a configuration is put into
        self,
        configuration: Configuration,
        load: Callable[[], Configuration],
        *,
        scheduler: Scheduler,
        client: CloudflareClient,
        clock: Clock,
        tell: Sink,
        leased: tuple[Target, ...] = (),
    ) -> None:
        """Wire it up.

        Args:
            configuration: What is in force.
            load: Reads the configuration again, in a thread.
            scheduler: Gets the plan.
            client: Gets the credentials.
            clock: Tells the time.
            tell: Gets what became of it.
            leased: What is held behind the configuration's own targets.
        """
        self._configuration = configuration
        self._targets = _targets(configuration.plan)
        self._leased = leased
        self._started_with = _fixed(configuration)
        self._credentials = configuration.credentials
        self._seen = dict(configuration.secret_files)
        self._turn = asyncio.Lock()  # a rotation that overtook a reload would put the old secrets back
        self._load = load
        self._scheduler = scheduler
        self._client = client
        self._clock = clock
        self._tell = tell

    @property
    def configuration(self) -> Configuration:
        """What is in force."""
        return self._configuration

    @property
    def targets(self) -> AbstractSet[Target]:
        """The targets that the configuration names, whoever leases others."""
        return self._targets

    def room_for(self, target: Target) -> float:
        """Seconds until a target may be held too that is not yet; 0 for now, and for one that is held."""
        if self._scheduler.group_of(target):
            return 0.0
        return self._scheduler.room_in(self._configuration.rate_group_of(target.credential))

    def holds(self, targets: Iterable[Target]) -> bool:
        """Whether all of these are in force."""
        return all(self._scheduler.group_of(target) for target in targets)

    async def hold_too(self, leased: tuple[Target, ...]) -> None:
        """Hold these behind the configuration's own from now on, and none that was leased before."""
        async with self._turn:
            self._leased = leased
            plan = self._configuration.plan_with(leased)
            with suppress(RuntimeError):  # no thread to be had: `apply` waits for the disk itself
                await self._scheduler.prepare(plan)
            self._scheduler.apply(plan)

    async def again(self) -> ConfigReloaded | ConfigRejected:
        """Read the configuration again and put it in force.

        Unchanged targets keep their deadlines, timers and connections.
        """
        async with self._turn:
            try:
                fresh = await asyncio.to_thread(self._load)
                plan = fresh.plan_with(self._leased)
                await self._scheduler.prepare(plan)
                event: ConfigReloaded | ConfigRejected = self._put(fresh, plan)
            except Exception as error:  # noqa: BLE001 - a file that trips our reader must not stop the daemon
                event = self._rejected(error)
            self._tell(event)
            return event

    async def watch(self) -> None:
        """Look at the files that hold secrets every few seconds, and use what changed, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                marks = await asyncio.to_thread(_marks, tuple(self._seen))
            except RuntimeError:  # no thread to be had, for want of memory: the next look may find one
                continue
            if marks != self._seen:
                await self._rotate(marks)

    async def _rotate(self, marks: dict[Path, Mark]) -> None:
        """Read the secrets again; the rest of the configuration may be in the middle of an edit.

        What cannot be read is tried again once it has changed from `marks`.
        """
        async with self._turn:
            try:
                keyring = await asyncio.to_thread(self._configuration.reread_secrets)
                self._client.replace_credentials(keyring.credentials)
            except Exception as error:  # noqa: BLE001 - as above
                self._seen = marks
                self._tell(self._rejected(error))
                return
            self._seen = keyring.files
            if changed := self._changed(keyring.credentials):
                targets, now = len(self._targets), self._clock.now()
                self._tell(ConfigReloaded(at=now, targets=targets, added=0, removed=0, credentials=changed))

    def _put(self, fresh: Configuration, plan: Plan) -> ConfigReloaded:
        old, new = self._targets, _targets(fresh.plan)
        self._client.replace_credentials(fresh.credentials)
        self._scheduler.apply(plan)
        self._configuration, self._targets, self._seen = fresh, new, dict(fresh.secret_files)
        fixed = _fixed(fresh)
        return ConfigReloaded(
            at=self._clock.now(),
            targets=len(new),
            added=len(new - old),
            removed=len(old - new),
            credentials=self._changed(fresh.credentials),
            restart_needed=tuple(
                key
                for key in sorted(fixed.keys() | self._started_with.keys())
                if fixed.get(key) != self._started_with.get(key)
            ),
        )

    def _changed(self, credentials: Mapping[str, Credential]) -> tuple[str, ...]:
        """Whose secret is another one; what was refused to it is tried at once."""
        changed = tuple(
            name for name, each in credentials.items() if self._credentials.get(name, each) != each
        )
        self._credentials = credentials
        for name in changed:
            self._scheduler.forgive((name,))
        return changed

    def _rejected(self, error: Exception) -> ConfigRejected:
        match error:
            case ConfigError():
                faults = tuple(str(fault) for fault in error.faults)
            case KeepaliveError():
                faults = (str(error),)
            case _:
                faults = (f"{type(error).__name__}: please report it",)
        return ConfigRejected(at=self._clock.now(), faults=faults)


def _targets(plan: Plan) -> set[Target]:
    return {target for group in plan.values() for target in group.targets}


def _fixed(configuration: Configuration) -> dict[str, Value]:
    return {
        setting.key: setting.value for setting in configuration.explain() if setting.key.startswith(_FIXED)
    }


def _marks(files: Iterable[Path]) -> dict[Path, Mark]:
    return {file: mark(file) for file in files}
