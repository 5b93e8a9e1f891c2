"""Every exception that keepalive raises on purpose, in one screen.

A fault of the network or of Cloudflare is never an exception: it is an `Outcome`. What is here ends a
command, and `exit_code` is what the shell then sees.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import ClassVar


class KeepaliveError(Exception):
    """The root: catch it to catch whatever keepalive says to a person. Its text is one clear message."""

    exit_code: ClassVar[int] = 1


class UsageError(KeepaliveError):
    """The command line itself cannot be understood."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that is wrong with the configuration.

    Attributes:
        where: A file with its line (`keepalive.toml:12`, `targets.csv:7`), a variable (`$KEEPALIVE_…`)
            or an option (`--config`).
        key: The dotted key as a user writes it (`heartbeat.interval`, `targets[2].account_id`), or "".
        found: What was found there, in words; never a secret's value.
        hint: What to write instead.
    """

    where: str
    key: str
    found: str
    hint: str

    def __str__(self) -> str:
        """Say it in one line: `where: key: found; hint`; control characters of a name are spelt out."""
        place = f"{self.where}: {self.key}" if self.key else self.where
        line = f"{place}: {self.found}; {self.hint}" if self.hint else f"{place}: {self.found}"
        return line if line.isprintable() else "".join(map(_spelt, line))


def _spelt(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]


class ConfigError(KeepaliveError):
    """The configuration has faults; all of them are in `faults`. Nothing has been sent."""

    exit_code: ClassVar[int] = 78

    def __init__(self, faults: tuple[ConfigFault, ...]) -> None:
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))


class OutputError(KeepaliveError):
    """What a command has to say cannot be written to standard output; `errno` says why."""

    exit_code: ClassVar[int] = 74  # EX_IOERR of sysexits.h

    def __init__(self, error: OSError) -> None:
        self.errno = error.errno
        if error.errno == errno.EBADF:
            super().__init__("standard output is closed; open it, or send it to a file")
        else:
            super().__init__(f"standard output cannot be written ({error.strerror}); send it elsewhere")


class StoreError(KeepaliveError):
    """The state cannot be kept. What was there before is untouched."""

    def __init__(self, path: str, found: str, hint: str) -> None:
        self.path = path
        self.found = found
        self.hint = hint
        super().__init__(f"{path} {found}; {hint}")


class StoreLockedError(StoreError):
    """Another daemon keeps its state there: two of them would spend one quota twice."""


class ControlError(KeepaliveError):
    """The daemon cannot be asked at a path or a port; its heartbeats go on."""

    def __init__(self, address: str, found: str, hint: str) -> None:
        self.address = address
        self.found = found
        self.hint = hint
        super().__init__(f"{address} {found}; {hint}")


class RequestError(KeepaliveError):
    """What the daemon is asked cannot be answered; `status` is that of the HTTP reply."""

    def __init__(self, status: int, found: str, hint: str) -> None:
        self.status = status
        self.found = found
        self.hint = hint
        super().__init__(f"{found}; {hint}")


class TargetError(KeepaliveError):
    """What should name a target names none, or it is not clear which."""

    exit_code: ClassVar[int] = 2

    def __init__(self, found: str, hint: str) -> None:
        self.found = found
        self.hint = hint
        super().__init__(f"{found}; {hint}")


class LeaseError(KeepaliveError):
    """A lease is not granted, and nothing has changed; `crowded` where the quota has no room for it."""

    def __init__(self, found: str, hint: str, *, crowded: bool = False) -> None:
        self.found = found
        self.hint = hint
        self.crowded = crowded
        super().__init__(f"{found}; {hint}")


class DaemonUnreachableError(KeepaliveError):
    """No daemon answers."""

    exit_code: ClassVar[int] = 3

    def __init__(self, found: str, hint: str) -> None:
        self.found = found
        self.hint = hint
        super().__init__(f"{found}; {hint}")


class DaemonRefusedError(KeepaliveError):
    """A daemon answered that it will not; `status` is the HTTP status of what it said."""

    def __init__(self, status: int, found: str, hint: str) -> None:
        self.status = status
        self.found = found
        self.hint = hint
        super().__init__(f"{found}; {hint}" if hint else found)

    @property
    def passing(self) -> bool:
        """Whether it may be over in a moment: a daemon that stops, or has too much to do."""
        return self.status >= 500 or self.status in (408, 429)


class NotEligibleError(KeepaliveError):
    """A target is refused: waiting does not make it eligible."""


class NotKeptError(KeepaliveError):
    """The targets could not be made eligible before the command of `exec`, which was not started."""

    exit_code: ClassVar[int] = 125


class CommandNotRunnableError(KeepaliveError):
    """The command of `exec` is there, and cannot be run."""

    exit_code: ClassVar[int] = 126

    def __init__(self, name: str, found: str) -> None:
        super().__init__(
            f"{name!r} cannot be run ({found}); is it executable, and does a script begin with #!?"
        )


class CommandNotFoundError(KeepaliveError):
    """There is no such command."""

    exit_code: ClassVar[int] = 127

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no command {name!r}; write its path, or look at $PATH")
