"""The journal: how a line tells systemd's log how much a person should care."""

from __future__ import annotations

import os

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""What syslog and the journal call the levels (sd-daemon(3))."""


def reads(descriptor: int) -> bool:
    """Whether the journal reads the descriptor: `$JOURNAL_STREAM` is its `device:inode` (systemd.exec(5))."""
    stream = os.environ.get("JOURNAL_STREAM")
    if not stream:
        return False
    found = os.fstat(descriptor)
    return stream == f"{found.st_dev}:{found.st_ino}"


def prioritised(text: str, level: str) -> str:
    """Put `<N>` before each line of a text."""
    prefix = f"<{_PRIORITIES[level]}>"
    return prefix + text.replace("\n", f"\n{prefix}")
