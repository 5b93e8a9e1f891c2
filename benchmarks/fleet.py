"""A fleet: targets of several users of one emulated Cloudflare, and the configuration that names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keepalive.emulator import Credential, Quota, User, World

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many targets, dealt out over so many users: each with a token, a rate group and a quota of its own.

    Attributes:
        targets: All of them together.
        users: How many share them.
        window: Emulated seconds that a heartbeat lasts.
        interval: Emulated seconds between heartbeats.
        factor: Emulated seconds in a real one; the configuration is in real ones.
    """

    targets: int = 60
    users: int = 3
    window: float = 45.0
    interval: float = 15.0
    factor: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """The users; their credentials and rate groups are called the same."""
        return tuple(f"user{number}" for number in range(self.users))

    def scripts(self, name: str) -> tuple[str, ...]:
        """The scripts that one user looks at."""
        own = range(self.names.index(name), self.targets, self.users)
        return tuple(f"script-{number}" for number in own)

    def world(self) -> World:
        """What the emulated Cloudflare knows."""
        every = frozenset(script for name in self.names for script in self.scripts(name))
        users = (User(name, (Credential.api_token(_token(name)),)) for name in self.names)
        return World(tuple(users), {ACCOUNT_ID: every}, window=self.window, events_per_second=0)

    def write(self, folder: Path, base_url: str, *, only: str | None = None, state: str = "") -> Path:
        """Write the configuration of all users or of one, and say where; `state` is the file that is kept."""
        file = folder / "keepalive.toml"
        file.touch(0o600)
        names = self.names if only is None else (only,)
        file.write_text("\n".join(self._toml(base_url, names, state)) + "\n", encoding="utf-8")
        return file

    def _toml(self, base_url: str, names: tuple[str, ...], state: str) -> list[str]:
        heartbeat = f"window = {self.window / self.factor}\ninterval = {self.interval / self.factor}"
        period = Quota().period / self.factor
        lines = [
            "[heartbeat]",
            heartbeat,
            "[cloudflare]",
            f'base_url = "{base_url}"',
            "[state]",
            f'path = "{state}"',
        ]
        for name in names:
            lines += [f"[credentials.{name}]", f'api_token = "{_token(name)}"', f'rate_group = "{name}"']
            lines += [f"[rate_groups.{name}]", f"period = {period}"]
            scripts = ", ".join(f'"{script}"' for script in self.scripts(name))
            lines += [
                "[[targets]]",
                f'credential = "{name}"',
                f'account_id = "{ACCOUNT_ID}"',
                f"scripts = [{scripts}]",
            ]
        return lines


def _token(name: str) -> str:
    return f"token-of-{name}"
