"""Cores: one for the client that is measured, another for the server, and what a process took of one."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import NamedTuple

_WHOLE_PROCESS = 2
"""CPUCLOCK_SCHED of the kernel's <linux/posix-timers.h>: what all threads of a process ran, in ns."""


class Cores(NamedTuple):
    """Where the client runs, and where the server and whoever measures do."""

    client: int
    server: int

    @property
    def apart(self) -> bool:
        """Whether they are two."""
        return self.client != self.server

    def __str__(self) -> str:
        """Say it in one sentence."""
        if self.apart:
            return f"The client has core {self.client} to itself; the server runs on core {self.server}."
        return "**Client and server share the only core there is: the figures say little.**"


@cache
def cores() -> Cores:
    """The first and the last core that this process may use, as it was before it pinned itself to one."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1])


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU time that a process took so far, its threads included.

    Raises:
        OSError: It is gone.
    """
    return time.clock_gettime((~pid << 3) | _WHOLE_PROCESS)  # what clock_getcpuclockid(3) returns
