from __future__ import annotations

import struct
from collections.abc import Callable
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.stamp import UNWRITTEN
from keepalive.errors import StoreError
from keepalive.store.ring import Ring, _behind_newest

HEADER = 64


def ring(
    path: Path, capacity: int = 4, boot_id: str = "one", now: float = 1000.0, period: float = 60.0
) -> Ring:
    return Ring(path, capacity, boot_id, now=now, period=period)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ring of four, gone round once: 995, 996 over 991, 992; then 993 and 994."""
    path = tmp_path / "default"
    first = ring(path, now=990.0)
    for at in range(991, 997):
        first.charge(float(at))
        first.flush()
    first.close()
    return path


def stamps(path: Path) -> list[float]:
    return [stamp for (stamp,) in struct.iter_unpack("=d", path.read_bytes()[HEADER:])]


def put(path: Path, *moments: float) -> None:
    path.write_bytes(path.read_bytes()[:HEADER] + struct.pack(f"={len(moments)}d", *moments))


def test_the_oldest_call_is_overwritten_and_the_file_does_not_grow(path: Path) -> None:
    assert stamps(path) == [995.0, 996.0, 993.0, 994.0]


def test_it_goes_on_behind_the_newest_without_writing_the_file_anew(path: Path) -> None:
    inode = path.stat().st_ino

    again = ring(path)
    again.charge(1000.0)
    again.close()

    assert again.calls == (993.0, 994.0, 995.0, 996.0)
    assert stamps(path) == [995.0, 996.0, 1000.0, 994.0]
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("capacity", [1, 2, 3, 5])
def test_any_number_of_openings_keeps_the_newest_calls(tmp_path: Path, capacity: int) -> None:
    path = tmp_path / "default"
    for at in range(1000, 1020):
        each = ring(path, capacity, now=float(at))
        each.charge(float(at))
        each.close()

    assert sorted(stamps(path)) == [float(at) for at in range(1020 - capacity, 1020)]


def test_a_flush_is_asked_for_once_however_many_calls_it_is_for(tmp_path: Path) -> None:
    each = ring(tmp_path / "default")

    assert [each.charge(1000.0 + at) for at in range(3)] == [True, False, False]
    assert stamps(tmp_path / "default") == [0.0] * 4

    each.flush()

    assert stamps(tmp_path / "default") == [1000.0, 1001.0, 1002.0, 0.0]
    assert each.charge(1003.0)


def test_calls_of_one_moment_all_count(tmp_path: Path) -> None:
    path = tmp_path / "default"
    for _ in range(2):
        each = ring(path, now=1000.0)
        each.charge(1000.0)
        each.charge(1000.0)
        each.close()

    assert ring(path).calls == (1000.0,) * 4


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 7))
def test_the_place_behind_the_newest_is_found_in_any_ring_that_was_gone_round(
    steps: list[int], turn: int
) -> None:
    moments = [float(sum(steps[: index + 1])) for index in range(len(steps))]
    turn %= len(moments)
    turned = moments[-turn:] + moments[:-turn] if turn else moments

    assert _behind_newest(memoryview(bytearray(struct.pack(f"={len(turned)}d", *turned))).cast("d")) == turn


def test_after_a_power_cut_old_and_new_pages_may_be_mixed_and_what_counts_is_kept(path: Path) -> None:
    put(path, 995.0, 920.0, 993.0, 921.0)

    assert ring(path, boot_id="two", now=20.0).calls == (20.0, 20.0)


def test_calls_of_an_earlier_boot_stay_in_order_below_zero_and_the_next_goes_behind_them(path: Path) -> None:
    put(path, 600.0, 762.0, 1001.0, 0.0)

    again = ring(path, boot_id="two", now=20.0, period=300.0)
    assert again.calls == (20.0 - 239.0 + UNWRITTEN, 20.0)
    again.charge(21.0)
    again.close()

    assert ring(path, boot_id="two", now=22.0, period=300.0).calls == (-184.0, 20.0, 21.0)


def test_one_that_was_never_written_to_is_gone_on_with_in_any_boot(tmp_path: Path) -> None:
    ring(tmp_path / "default").close()

    again = ring(tmp_path / "default", boot_id="two", now=1.0)
    again.charge(2.0)
    again.close()

    assert ring(tmp_path / "default", boot_id="two", now=3.0).calls == (2.0,)


def header(magic: bytes = b"keepring", version: int = 1, capacity: int = 4) -> bytes:
    return struct.pack("=8sII48s", magic, version, capacity, b"one")


def rewrite(head: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(head + path.read_bytes()[HEADER:])


def resize(by: int) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[:by] if by < 0 else data + b"\0" * by)

    return change


def restamp(*moments: float) -> Callable[[Path], object]:
    return lambda path: put(path, *moments)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(b""), "is damaged, or no ledger"),
        (lambda path: path.write_bytes(b"keepring"), "is damaged, or no ledger"),
        (lambda path: path.write_bytes(b"\xde\xad" * 99), "is damaged, or no ledger"),
        (rewrite(header(magic=b"KEEPRING")), "is damaged, or no ledger"),
        (rewrite(header(version=2)), "was written by another version of keepalive (format 2)"),
        (rewrite(header(capacity=5)), "has not the size that it names"),
        (rewrite(header(capacity=0)), "has not the size that it names"),
        (resize(-3), "has not the size that it names"),
        (resize(8), "has not the size that it names"),
        (restamp(995.0, nan, 993.0, 994.0), "holds moments that cannot be"),
        (restamp(995.0, inf, 993.0, 994.0), "holds moments that cannot be"),
        (restamp(995.0, -1e12, 993.0, 994.0), "holds moments that cannot be"),
        (restamp(995.0, 1e12, 993.0, 994.0), "holds moments that cannot be"),
        (restamp(995.0, 991.0, 993.0, 992.0), "its moments are in no order"),
        (restamp(995.0, 4000.0, 3999.0, 994.0), "its moments are in no order"),
    ],
)
def test_what_is_no_ring_is_told_and_left_as_it_was(
    path: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(path)
    before = path.read_bytes()

    with pytest.raises(StoreError) as raised:
        ring(path)

    assert says in str(raised.value)
    assert str(raised.value).startswith(f"{path} ")
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["default"]


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()

    with pytest.raises(StoreError, match="cannot be written: is a directory; make room"):
        ring(tmp_path / "default")
