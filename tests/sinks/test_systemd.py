"""What systemd hears, over a real datagram socket, in virtual time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import DaemonDraining, DaemonReady
from keepalive.sinks.systemd import Manager, Notifier, notify, take_manager
from tests.sinks.samples import changed, failed, summary

pytestmark = pytest.mark.looptime


class Systemd:
    """The far end: a bound datagram socket, and the messages that came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(4096).decode())
        return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    far_end = Systemd(str(tmp_path / "notify"))
    yield far_end
    far_end.close()


@dataclass
class Daemon:
    """What a notifier asks the daemon for."""

    eligible: int = 0
    at_risk: int = 0
    pending: int = 0
    refused: int = 0
    budget: float = 0.0
    healthy: bool = True
    notifiers: list[Notifier] = field(default_factory=list)

    def counts(self) -> dict[Eligibility, int]:
        states = (Eligibility.ELIGIBLE, Eligibility.AT_RISK, Eligibility.PENDING, Eligibility.REFUSED)
        found = (self.eligible, self.at_risk, self.pending, self.refused)
        return dict.fromkeys(Eligibility, 0) | dict(zip(states, found, strict=True))

    def notifier(self, address: str, watchdog: float = 0.0) -> Notifier:
        return Notifier(
            Manager(address, watchdog),
            counts=self.counts,
            budget=lambda: self.budget,
            healthy=lambda: self.healthy,
        )


@asynccontextmanager
async def running(notifier: Notifier) -> AsyncIterator[Notifier]:
    task = asyncio.create_task(notifier.run())
    await asyncio.sleep(0.01)
    yield notifier
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_ready_is_the_first_word_and_carries_the_status(systemd: Systemd) -> None:
    async with running(Daemon(pending=42).notifier(systemd.address)):
        assert systemd.heard() == ["READY=1\nSTATUS=42 pending, budget 0 %"]


async def test_the_status_names_the_states_that_have_targets_and_the_budget(systemd: Systemd) -> None:
    daemon = Daemon(eligible=58, at_risk=2, budget=0.712)

    assert daemon.notifier(systemd.address).status == "58 eligible, 2 at risk, budget 71 %"
    daemon.eligible, daemon.at_risk, daemon.refused = 63_000, 0, 7
    assert daemon.notifier(systemd.address).status == "63,000 eligible, 7 refused, budget 71 %"


async def test_a_daemon_without_targets_says_so(systemd: Systemd) -> None:
    assert Daemon().notifier(systemd.address).status == "no targets"


async def test_a_change_is_told_at_most_once_a_second_and_only_when_it_reads_differently(
    systemd: Systemd,
) -> None:
    daemon = Daemon(pending=3)
    async with running(daemon.notifier(systemd.address)) as notifier:
        systemd.heard()
        for _ in range(3):
            daemon.pending, daemon.eligible = daemon.pending - 1, daemon.eligible + 1
            notifier(changed())
            await asyncio.sleep(0.2)
        assert systemd.heard() == []
        await asyncio.sleep(1)
        assert systemd.heard() == ["STATUS=3 eligible, budget 0 %"]
        notifier(summary())
        await asyncio.sleep(5)
        assert systemd.heard() == []


async def test_what_changes_no_count_wakes_nobody(systemd: Systemd) -> None:
    daemon = Daemon(eligible=3)
    async with running(daemon.notifier(systemd.address)) as notifier:
        systemd.heard()
        daemon.budget = 0.5
        notifier(failed())
        notifier(DaemonReady(at=0, eligible=3, targets=3, after_seconds=1))
        await asyncio.sleep(5)
        assert systemd.heard() == []


async def test_the_watchdog_is_fed_at_a_third_of_its_time(systemd: Systemd) -> None:
    async with running(Daemon(eligible=1).notifier(systemd.address, watchdog=9)):
        await asyncio.sleep(8.9)
        assert systemd.heard().count("WATCHDOG=1") == 3


async def test_the_watchdog_starves_while_the_daemon_is_not_healthy(systemd: Systemd) -> None:
    daemon = Daemon(eligible=1, healthy=False)
    async with running(daemon.notifier(systemd.address, watchdog=9)):
        await asyncio.sleep(30)
        assert "WATCHDOG=1" not in systemd.heard()
        daemon.healthy = True
        await asyncio.sleep(3)
        assert systemd.heard() == ["WATCHDOG=1"]


async def test_nothing_is_fed_where_nobody_watches(systemd: Systemd) -> None:
    async with running(Daemon(eligible=1).notifier(systemd.address)):
        await asyncio.sleep(60)
        assert systemd.heard() == ["READY=1\nSTATUS=1 eligible, budget 0 %"]


async def test_the_budget_is_told_in_the_rhythm_of_the_watchdog(systemd: Systemd) -> None:
    daemon = Daemon(eligible=1)
    async with running(daemon.notifier(systemd.address, watchdog=9)):
        systemd.heard()
        daemon.budget = 0.4
        await asyncio.sleep(4)
        assert sorted(systemd.heard()) == ["STATUS=1 eligible, budget 40 %", "WATCHDOG=1"]


async def test_a_drain_is_told_at_once_with_the_time_that_it_needs(systemd: Systemd) -> None:
    async with running(Daemon(eligible=2).notifier(systemd.address)) as notifier:
        systemd.heard()
        notifier(DaemonDraining(at=0, cause="SIGTERM", in_flight=1))
        assert systemd.heard() == [
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=6000000\nSTATUS=stopping: 2 eligible, budget 0 %"
        ]


async def test_the_first_word_is_repeated_until_it_was_taken(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    async with running(Daemon(eligible=1).notifier(address)):  # nobody listens yet
        systemd = Systemd(address)
        assert systemd.heard() == []
        await asyncio.sleep(1.1)
        assert systemd.heard() == ["READY=1\nSTATUS=1 eligible, budget 0 %"]
        systemd.close()


def test_a_full_queue_neither_blocks_nor_raises(systemd: Systemd) -> None:
    sent = [notify(systemd.address, "WATCHDOG=1") for _ in range(2000)]

    assert sent[0]
    assert not sent[-1]


@pytest.mark.parametrize(
    "address", ["/nowhere/notify", "/null\0byte", "@nobody-listens-here", "/" + 200 * "x"]
)
def test_a_manager_that_is_not_there_is_no_fault(address: str) -> None:
    assert not notify(address, "READY=1")


def test_an_abstract_address_is_reached() -> None:
    systemd = Systemd(f"@keepalive-test-{os.getpid()}")

    assert notify(systemd.address, "READY=1", "STATUS=well")
    assert systemd.heard() == ["READY=1\nSTATUS=well"]
    systemd.close()


def test_the_manager_is_read_once_and_no_child_can_speak_to_it() -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}

    assert take_manager(environ) == Manager("/run/notify", 10.0)
    assert environ == {}
    assert take_manager(environ) is None


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_of_another_process_is_not_ours(environ: dict[str, str], watchdog: float) -> None:
    assert take_manager({"NOTIFY_SOCKET": "@systemd"} | environ) == Manager("@systemd", watchdog)


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "notify"])
def test_an_address_that_is_no_unix_socket_is_nobody(address: str) -> None:
    assert take_manager({"NOTIFY_SOCKET": address}) is None
