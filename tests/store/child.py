"""Processes that use a store as a daemon does, and are cut short; each command is one of them.

python -m tests.store.child COMMAND FOLDER: what they found is printed as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import struct
import sys
from pathlib import Path

from keepalive.core.state import GroupState
from keepalive.engine.clock import BootClock
from keepalive.errors import StoreError
from keepalive.store.sqlite import SqliteStore
from tests.store.shelves import API, SqliteShelf, plan, save

ROUNDS = 20
ROOM = 4000
NOBODY = 65534


def report(**found: str | int | list[int]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def hold(folder: Path) -> None:
    """Have the store open until killed."""
    store = SqliteStore(folder / "state.db", "one", 1000.0)
    report(opened=store.path)
    signal.pause()


def intrude(folder: Path) -> None:
    """Open and write it as a user who may not."""
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        store = SqliteStore(folder / "state.db", "one", 1000.0)
        store.begin(plan(), 1000.0)
    except StoreError as error:
        report(error=str(error))
    else:
        report(error="")


def fill(folder: Path) -> None:
    """Run out of room, go on, and find room again: a file may not grow any further meanwhile."""
    store = SqliteShelf(folder).open(1000.0)
    store.begin(plan(requests=50), 1000.0)
    save(store, GroupState(renewed=((API, 1000.0),)), 1000.0)
    errors = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    for second in range(1, 6):
        store.charge("default", 1000.0 + second)
        try:
            save(store, GroupState(renewed=((API, 1000.0 + second),), throttles=second), 1000.0 + second)
        except StoreError as error:
            errors.append(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    save(store, GroupState(renewed=((API, 1006.0),)), 1006.0)
    report(errors=len(errors), error=errors[0] if errors else "")


def begin_without_room(folder: Path) -> None:
    """Open it where nothing can be written, and where only the lock can."""
    for limit in (0, 64):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            SqliteStore(folder / "state.db", "one", 1000.0).begin(plan(), 1000.0)
        except StoreError as error:
            report(error=str(error))


def crash(folder: Path) -> None:
    """Kill processes that charge every millisecond and save, and look each time what the next one knows."""
    clock, chance = BootClock(), random.Random(7)
    missing, sent, saved = [], 0, 0
    for _ in range(ROUNDS):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            spend(folder, clock, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            told.read(16)  # it is under way
            signal.sigtimedwait((), chance.uniform(0.0, 0.02))
            os.kill(child, signal.SIGKILL)
            records = list(struct.iter_unpack("=dd", _whole(told.read())))
        os.waitpid(child, 0)
        calls = [at for kind, at in records if not kind]
        renewals = [at for kind, at in records if kind]
        shelf = SqliteShelf(folder)
        state = shelf.open(clock.now(), clock.boot_id).begin(plan(requests=ROOM, period=3600.0), clock.now())
        shelf.clear()
        known = {at for at, _ in state.calls}
        missing.append(sum(at not in known for at in calls[-(ROOM - 1) :]))
        missing[-1] += dict(state.renewed).get(API, 0.0) < max(renewals, default=0.0)
        sent += len(calls)
        saved += len(renewals)
    report(missing=missing, sent=sent, saved=saved)


def _whole(data: bytes) -> bytes:
    return data[: len(data) // 16 * 16]


def spend(folder: Path, clock: BootClock, writer: int) -> None:
    """Charge for ever, save now and then, and tell each when it is done."""
    store = SqliteShelf(folder).open(clock.now(), clock.boot_id)
    store.begin(plan(requests=ROOM, period=3600.0), clock.now())

    async def run() -> None:
        while True:
            for _ in range(5):
                at = clock.now()
                store.charge("default", at)
                signal.sigtimedwait((), 0.001)  # as between two requests: five times as many as may leave
                os.write(writer, struct.pack("=dd", 0.0, at))
            at = clock.now()
            await store.save({"default": GroupState(renewed=((API, at),))}, {}, at)
            os.write(writer, struct.pack("=dd", 1.0, at))

    asyncio.run(run())


COMMANDS = {
    "hold": hold,
    "intrude": intrude,
    "fill": fill,
    "begin-without-room": begin_without_room,
    "crash": crash,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](Path(sys.argv[2]))
