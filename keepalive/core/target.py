"""A target: what is kept eligible. It is its own key."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Target(NamedTuple):
    """Whom one heartbeat speaks for.

    Attributes:
        credential: Name of the credential that signs the heartbeat.
        account_id: 32 lower-case hexadecimal digits.
        script_id: The Worker script's name, or None for the whole account (the body is then `{}`).
    """

    credential: str
    account_id: str
    script_id: str | None = None

    @property
    def label(self) -> str:
        """`ACCOUNT/SCRIPT` as on the command line; `ACCOUNT/` is the whole account."""
        return f"{self.account_id}/{self.script_id or ''}"


class Scope(IntEnum):
    """How far a fault reaches. `target[:scope]` is the key of everything that shares the fault."""

    ORIGIN = 0
    CREDENTIAL = 1
    ACCOUNT = 2
    TARGET = 3


Key = tuple[str | None, ...]
"""`target[:scope]`: empty for the origin, a whole target at the other end."""
