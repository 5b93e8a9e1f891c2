"""What a file on a disk may come to, and what the store makes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepalive.core.group import RateGroup
from keepalive.core.outcome import Attempt, Fault, Throttled
from keepalive.core.state import GroupState, Refusal
from keepalive.errors import StoreError, StoreLockedError
from tests.store.shelves import API, WEB, WHOLE, SqliteShelf, plan, refused, save

STATE = GroupState(
    renewed=((API, 1001.5), (WEB, 1002.5), (WHOLE, 1003.5)),
    silent_until=1060.5,
    throttles=2,
    refusals=(refused(opened_at=995.5), refused(WEB, 996.5)),
)


def write(shelf: SqliteShelf) -> None:
    """Put a whole state there, with two calls."""
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    store.charge("default", 1001.5)
    store.charge("default", 1002.5)
    save(store, STATE, 1004)


def tables(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def kept(folder: Path) -> dict[str, bytes]:
    """Every byte of the state; the index of SQLite's log and the lock tell nothing."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {
        file.name: file.read_bytes()
        for file in files
        if not file.name.endswith(("-shm", "-lock")) and file.stat().st_size
    }


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[SqliteShelf]:
    shelf = SqliteShelf(tmp_path)
    yield shelf
    shelf.clear()


@pytest.fixture
def written(shelf: SqliteShelf) -> SqliteShelf:
    write(shelf)
    shelf.clear()
    return shelf


def refusal_to_open(shelf: SqliteShelf) -> str:
    """Fail to open it, and see that not a byte of it has changed."""
    before = kept(shelf.path.parent)
    with pytest.raises(StoreError) as raised:
        shelf.open(1010).begin(plan(), 1010)
    shelf.clear()
    assert kept(shelf.path.parent) == before
    message = str(raised.value)
    assert message.startswith(str(shelf.path))
    assert "\n" not in message
    return message


# --- a file that is not what it should be ------------------------------------------------------


def cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


def fill_with_noise(path: Path) -> None:
    path.write_bytes(bytes(index * 7919 % 251 for index in range(9000)))


def overwrite_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def write_text(path: Path) -> None:
    path.write_text("[state]\npath = 1\n", encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [fill_with_noise, overwrite_a_page, cut(100), cut(4096), cut(5000), write_text],
    ids=["noise", "a page of ones", "cut in the header", "cut after a page", "cut in a page", "a text file"],
)
def test_what_is_damaged_is_told_and_left_as_it_was(
    written: SqliteShelf, damage: Callable[[Path], None]
) -> None:
    damage(written.path)

    assert "is damaged" in refusal_to_open(written)


@pytest.mark.parametrize(
    "script",
    [
        "DROP TABLE refusals",
        "ALTER TABLE renewals DROP COLUMN renewed_at",
        "UPDATE refusals SET key = 'no JSON' WHERE key LIKE '%web%'",
        "UPDATE refusals SET key = '[]' WHERE key LIKE '%web%'",
        "UPDATE refusals SET key = '7' WHERE key LIKE '%web%'",
        "UPDATE refusals SET key = '[1, 2, 3, 4]' WHERE key LIKE '%web%'",
        "UPDATE refusals SET fault = '{\"reason\": 1}'",
        "UPDATE refusals SET opened_at = 9e99",
        "UPDATE rate_groups SET silent_until = 9e99",
        "UPDATE rate_groups SET saved_at = -9e999",
        "UPDATE rate_groups SET throttles = -1",
        "UPDATE rate_groups SET boot_id = CAST(x'ff' AS TEXT)",
    ],
)
def test_what_cannot_be_is_told_and_left_as_it_was(written: SqliteShelf, script: str) -> None:
    tables(written.path, script)

    assert "is damaged" in refusal_to_open(written)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("PRAGMA user_version = 2", "was written by a newer keepalive (format 2, this one knows 1)"),
        ("PRAGMA application_id = 252006673", "belongs to another program"),
    ],
)
@pytest.mark.parametrize("killed", [False, True])
def test_what_belongs_to_others_is_told_and_left_as_it_was(
    written: SqliteShelf, tmp_path: Path, script: str, says: str, *, killed: bool
) -> None:
    tables(written.path, script)
    if killed:  # it left its last writes in SQLite's log: to look must not even tidy up
        with closing(sqlite3.connect(written.path)) as other:
            other.executescript(
                "PRAGMA journal_mode = WAL; CREATE TABLE more (what); INSERT INTO more VALUES (1);"
            )
            shutil.copytree(tmp_path, tmp_path / "killed")
        written = SqliteShelf(tmp_path / "killed")
        assert (tmp_path / "killed" / "state.db-wal").stat().st_size

    assert says in refusal_to_open(written)


def test_the_data_base_of_another_program_is_left_as_it_was(shelf: SqliteShelf) -> None:
    tables(shelf.path, "CREATE TABLE guests (name); INSERT INTO guests VALUES ('Ann');")

    assert "belongs to another program" in refusal_to_open(shelf)


def test_an_empty_file_is_begun(shelf: SqliteShelf) -> None:
    shelf.path.touch()

    write(shelf)

    assert shelf.open(1005).begin(plan(), 1005).throttles == 2


def test_after_the_damaged_file_was_moved_away_as_told_a_new_one_is_begun(
    written: SqliteShelf, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(written.path)) as left_behind:
        left_behind.executescript("PRAGMA journal_mode = WAL; UPDATE rate_groups SET throttles = 5;")
        shutil.copytree(tmp_path, tmp_path / "killed")
    shelf = SqliteShelf(tmp_path / "killed")
    shelf.path.rename(tmp_path / "killed" / "damaged.db")

    assert shelf.open(1010).begin(plan(), 1010).throttles == 0
    save(shelf.open(1010), STATE, 1011)
    assert shelf.open(1012).begin(plan(), 1012).throttles == 2
    shelf.clear()


def test_a_first_writer_that_was_killed_half_way_is_taken_back(shelf: SqliteShelf, tmp_path: Path) -> None:
    born = tmp_path / "born" / "state.db"
    born.parent.mkdir()
    with closing(sqlite3.connect(born, isolation_level=None)) as connection:
        connection.executescript("PRAGMA cache_size = 1; BEGIN; CREATE TABLE rate_groups (name TEXT);")
        connection.executemany("INSERT INTO rate_groups VALUES (?)", [("x" * 900,)] * 100)
        shutil.copy(born, shelf.path)
        shutil.copy(f"{born}-journal", f"{shelf.path}-journal")
    assert shelf.path.stat().st_size

    write(shelf)

    assert shelf.open(1005).begin(plan(), 1005).throttles == 2


class Bodies:
    """The files of a state that was closed, and of one whose daemon was killed."""

    def __init__(self, closed: dict[str, bytes], killed: dict[str, bytes]) -> None:
        self.closed = closed
        self.killed = killed


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Bodies:
    folder = tmp_path_factory.mktemp("bodies")
    shelf = SqliteShelf(folder)
    write(shelf)
    killed = kept(folder)
    shelf.clear()
    return Bodies(kept(folder), killed)


@settings(max_examples=100, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
    killed=st.booleans(),
)
def test_flipped_bytes_are_told_or_harmless_and_never_trip_the_engine(
    flips: list[tuple[int, int]], bodies: Bodies, *, killed: bool
) -> None:
    files = {name: bytearray(body) for name, body in (bodies.killed if killed else bodies.closed).items()}
    used = [(body, index) for body in files.values() for index, byte in enumerate(body) if byte]
    for place, bits in flips:
        body, index = used[place % len(used)]
        body[index] ^= bits
    folder = Path(mkdtemp())
    shelf = SqliteShelf(folder)
    try:
        (folder / "state.db-ledgers").mkdir()
        for name, body in files.items():
            (folder / ("state.db-ledgers" if name == "default" else "") / name).write_bytes(body)
        try:
            known, damage = shelf.open(1010).begin(plan(), 1010), ""
        except StoreError as error:
            known, damage = GroupState(), str(error)
        assert not damage or re.search(
            "is damaged|another program|newer keepalive|another version|readonly", damage
        )
        if damage.startswith(f"{shelf.path} is damaged"):
            assert kept(folder) == {name: bytes(body) for name, body in files.items()}
        go_on(known)
    finally:
        shelf.clear()
        shutil.rmtree(folder)


def go_on(known: GroupState) -> None:
    """Let a rate group live with it for a while, through a throttle too."""
    group = RateGroup("default")
    group.apply(plan(), 1010)
    group.restore(known, 1010)
    now = 1010.0
    for _ in range(20):
        now = min(max(now, group.next_wake(now)), now + 100)
        while order := group.take(now):
            group.settle(Attempt(order, now, now, Throttled(Fault("throttled"))), now, 0.5)
        group.announce(now)
    assert 0 <= group.budget.silent_until - now < 90_000
    group.save(now)


def test_what_a_fault_says_comes_back_to_the_letter(shelf: SqliteShelf) -> None:
    words = 'ünï "quoted" \\ \x00\x1f\n\u2028 \U0001f4a5 \ud800 \'; DROP TABLE refusals; --'
    refusal = Refusal(("prod", "a" * 32, "wörk\x00er"), Fault("odd", words, 403, -1, words, words), 990.0)
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    save(store, GroupState(refusals=(refusal,)), 1001)

    assert shelf.open(1002).begin(plan(), 1002).refusals == (refusal,)


# --- a place that is not what it should be -----------------------------------------------------


def test_a_folder_in_the_place_of_the_file_is_told(shelf: SqliteShelf) -> None:
    (shelf.path / "mine").mkdir(parents=True)

    assert "is a directory" in refusal_to_open(shelf)
    assert (shelf.path / "mine").is_dir()


def test_a_place_where_nothing_can_be_made_is_told() -> None:
    assert "cannot be written: no such file" in refusal_to_open(SqliteShelf(Path("/proc/nowhere")))


def test_a_file_in_the_place_of_its_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "cannot be written" in refusal_to_open(SqliteShelf(tmp_path / "file"))


def test_only_its_owner_may_read_it(written: SqliteShelf, tmp_path: Path) -> None:
    home = tmp_path / "new" / "state"
    before = os.umask(0)
    try:
        shelf = SqliteShelf(home)
        write(shelf)
        modes = {path: path.stat().st_mode & 0o777 for path in (home, *home.rglob("*"))}
        shelf.clear()
    finally:
        os.umask(before)
    assert len(modes) == 7
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_it_forgets_a_renewal_after_a_day_and_keeps_a_younger_one(shelf: SqliteShelf) -> None:
    store = shelf.open(1000)
    save(store, GroupState(renewed=((API, 1000.0), (WEB, 9000.0))), 9000)

    assert dict(shelf.open(88_000).begin(plan(), 88_000).renewed) == {WEB: 9000.0}
    shelf.clear()
    with closing(sqlite3.connect(shelf.path)) as connection:
        assert connection.execute("SELECT count(*) FROM renewals").fetchone() == (1,)


# --- other processes ---------------------------------------------------------------------------


def child(command: str, folder: Path) -> list[dict[str, str | int | list[int]]]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.store.child", command, str(folder)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert not ran.returncode, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another daemon has the state, until it is killed."""
    argv = [sys.executable, "-m", "tests.store.child", "hold", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_it_belongs_to_one_process_and_says_to_which_until_that_is_killed(shelf: SqliteShelf) -> None:
    with holding(shelf.path.parent) as other:
        with pytest.raises(StoreLockedError) as raised:
            shelf.open(1000)
        other.send_signal(signal.SIGKILL)
        other.wait()

        shelf.open(1000)

    assert f"is in use by another keepalive, process {other.pid};" in str(raised.value)


def test_a_second_opening_in_one_process_is_refused_too(written: SqliteShelf) -> None:
    written.open(1000)
    with pytest.raises(StoreLockedError) as raised:
        SqliteShelf(written.path.parent).open(1000)
    assert f"process {os.getpid()};" in str(raised.value)


def test_one_that_could_not_be_opened_is_free_for_the_next(written: SqliteShelf) -> None:
    tables(written.path, "PRAGMA user_version = 2")
    refusal_to_open(written)
    tables(written.path, "PRAGMA user_version = 1")

    assert written.open(1010).begin(plan(), 1010).throttles == 2


def test_a_killed_process_loses_no_call_but_those_of_its_last_milliseconds(tmp_path: Path) -> None:
    [found] = child("crash", tmp_path)

    missing = found["missing"]
    assert isinstance(missing, list)
    assert len(missing) == 20
    assert max(missing) <= 10  # one a millisecond; the thread that writes waits for its turn of the processor
    assert sum(missing) <= 20
    assert isinstance(found["sent"], int)
    assert isinstance(found["saved"], int)
    assert found["sent"] > 50
    assert found["saved"] > 3


def test_a_full_disk_is_told_and_what_follows_it_is_kept(shelf: SqliteShelf) -> None:
    [found] = child("fill", shelf.path.parent)

    assert found["errors"] == 5
    assert str(found["error"]).startswith(f"{shelf.path}")
    assert " cannot be written: " in str(found["error"])
    known = shelf.open(1007).begin(plan(requests=50), 1007)
    assert dict(known.renewed) == {API: 1006.0}
    assert [at for at, _ in known.calls] == [1001.0, 1002.0, 1003.0, 1004.0, 1005.0]


def test_a_disk_that_is_full_from_the_start_is_told_and_nothing_is_lost(written: SqliteShelf) -> None:
    before = kept(written.path.parent)

    found = child("begin-without-room", written.path.parent)

    assert len(found) == 2
    assert all(str(each["error"]).startswith(f"{written.path} cannot be written: ") for each in found)
    assert {name: kept(written.path.parent)[name] for name in before} == before
    known = written.open(1005).begin(plan(), 1005)
    assert (known.throttles, len(known.calls)) == (2, 2)


def test_a_file_with_no_room_left_is_told_in_the_words_of_sqlite(written: SqliteShelf) -> None:
    store = written.open(1010)
    written._store._connection.execute("PRAGMA max_page_count = 1")  # type: ignore[union-attr]
    many = tuple((API._replace(script_id=f"script-{number}"), 1010.0) for number in range(2000))

    with pytest.raises(StoreError, match="cannot be written: database or disk is full; make room"):
        save(store, GroupState(renewed=many, throttles=7), 1010)

    assert written.open(1011).begin(plan(), 1011).throttles == 2


@pytest.mark.parametrize(
    ("modes", "says"),
    [
        ({".": 0o755, "state.db": 0o644, "state.db-lock": 0o666}, "permission denied"),
        ({".": 0o755, "state.db": 0o666, "state.db-lock": 0o666}, "cannot be written"),
        ({".": 0o755}, "permission denied"),
        ({".": 0o777, "state.db-ledgers": 0o555}, "permission denied"),
    ],
    ids=[
        "a file that may not be written",
        "a folder that may not be written",
        "a lock of somebody else's",
        "a folder of ledgers",
    ],
)
def test_a_state_that_may_not_be_written_is_told_and_left_as_it_was(modes: dict[str, int], says: str) -> None:
    """By a user of its own, where the tests are run by root, whom no mode stops.

    In a folder of its own, because those of pytest are closed to other users.
    """
    with TemporaryDirectory() as place:
        folder = Path(place) / "home"
        folder.mkdir()
        Path(place).chmod(0o755)
        shelf = SqliteShelf(folder)
        write(shelf)
        shelf.clear()
        for name, mode in modes.items():
            (folder / name).chmod(mode)
        before = kept(folder)
        [found] = child("intrude", folder)
        folder.chmod(0o755)
        (folder / "state.db-ledgers").chmod(0o755)
        assert says in str(found["error"])
        assert kept(folder) == before


def test_a_frozen_file_system_holds_up_no_charge_and_loses_none(
    shelf: SqliteShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    thawed, write = Event(), os.pwrite
    store = shelf.open(1000)
    store.begin(plan(), 1000)

    def frozen(descriptor: int, data: bytes, offset: int) -> int:
        thawed.wait()
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", frozen)
    for second in range(5):
        store.charge("default", 1001.0 + second)  # this thread would wait for ever
    thawed.set()
    shelf.clear()

    assert [at for at, _ in shelf.open(1010).begin(plan(), 1010).calls] == [1001.0 + at for at in range(5)]


def test_a_state_that_was_deleted_while_in_use_is_told(shelf: SqliteShelf) -> None:
    store = shelf.open(1000)
    shutil.rmtree(shelf.path.parent)

    with pytest.raises(StoreError, match="was deleted or moved away while it was in use; restart keepalive"):
        save(store, GroupState(renewed=((API, 1000.0),)), 1000.0)


def test_a_damaged_ledger_leaves_what_else_is_known(shelf: SqliteShelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    save(store, GroupState(renewed=((API, 1000.0),), silent_until=1600.0, throttles=1), 1000.0)
    shelf.clear()
    (shelf.path.parent / f"{shelf.path.name}-ledgers" / "default").write_bytes(b"damaged")

    again = shelf.open(1001)
    with pytest.raises(StoreError):
        again.begin(plan(), 1001)

    assert again.known("default").silent_until == 1600.0
    assert dict(again.known("default").renewed) == {API: 1000.0}
