"""What every store keeps to, whatever is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from keepalive.core.lease import Lease
from keepalive.core.ledger import Ledger
from keepalive.core.stamp import UNWRITTEN
from keepalive.core.state import GroupState
from keepalive.engine.ports import Store
from tests.store.shelves import API, WEB, WHOLE, MemoryShelf, Shelf, SqliteShelf, plan, refused, save


@pytest.fixture(params=["memory", "sqlite"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    kept: Shelf = MemoryShelf() if request.param == "memory" else SqliteShelf(tmp_path)
    yield kept
    kept.clear()


def moments(state: GroupState) -> list[float]:
    """When calls left, one entry each."""
    return [at for at, count in state.calls for _ in range(count)]


def test_a_new_one_knows_nothing(shelf: Shelf) -> None:
    assert shelf.open(1000).begin(plan(), 1000) == GroupState()


def test_it_gives_back_what_was_saved_and_charged(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    for at in (1001.25, 1002.5):
        store.charge("default", at)
    state = GroupState(
        renewed=((API, 1001.25), (WHOLE, 1002.5)),
        silent_until=1030.5,
        throttles=2,
        refusals=(refused(), refused(WEB, opened_at=995.0, cause="unknown_script")),
    )
    save(store, state, 1003)

    known = shelf.open(1004).begin(plan(), 1004)

    assert sorted(known.renewed, key=str) == sorted(state.renewed, key=str)
    assert moments(known) == [1001.25, 1002.5]
    assert (known.silent_until, known.throttles) == (1030.5, 2)
    assert set(known.refusals) == set(state.refusals)


def test_renewals_are_added_to_those_known_and_all_else_is_replaced(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    first = GroupState(
        renewed=((API, 1001.0), (WEB, 1002.0)), silent_until=1030.0, throttles=3, refusals=(refused(),)
    )
    save(store, first, 1003)
    save(store, GroupState(renewed=((WEB, 1010.0),), refusals=(refused(WEB),)), 1011)

    known = shelf.open(1012).begin(plan(), 1012)

    assert dict(known.renewed) == {API: 1001.0, WEB: 1010.0}
    assert (known.silent_until, known.throttles) == (-inf, 0)
    assert known.refusals == (refused(WEB),)


def test_groups_know_nothing_of_each_other(shelf: Shelf) -> None:
    store = shelf.open(1000)
    for name in ("left", "right"):
        store.begin(plan(name), 1000)
    store.charge("left", 1001)
    save(store, GroupState(renewed=((API, 1001.0),), throttles=1), 1002, "left")
    save(store, GroupState(renewed=((API, 1002.0),), refusals=(refused(),)), 1002, "right")
    save(store, GroupState(), 1003, "left")

    store = shelf.open(1004)
    left, right = (store.begin(plan(name), 1004) for name in ("left", "right"))

    assert (dict(left.renewed), left.throttles, left.refusals) == ({API: 1001.0}, 0, ())
    assert (dict(right.renewed), right.refusals) == ({API: 1002.0}, (refused(),))
    assert (moments(left), moments(right)) == ([1001.0], [])


def test_a_charge_for_a_group_that_never_began_is_harmless(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(), 1000)

    store.charge("nobody", 1001)
    store.charge("default", 1002)

    assert moments(shelf.open(1003).begin(plan(), 1003)) == [1002.0]


def test_what_is_never_begun_is_kept_for_a_daemon_that_begins_it(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    store.charge("default", 1001)
    save(store, GroupState(renewed=((API, 1001.0),), throttles=1), 1002)
    shelf.open(1003).begin(plan("other"), 1003)

    known = shelf.open(1004).begin(plan(), 1004)

    assert (dict(known.renewed), known.throttles, moments(known)) == ({API: 1001.0}, 1, [1001.0])


def test_a_call_counts_for_a_period_and_no_longer(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(period=60), 1000)
    for at in (1000.0, 1010.0, 1020.0):
        store.charge("default", at)

    assert moments(shelf.open(1070).begin(plan(period=60), 1070)) == [1020.0]


# --- leases ------------------------------------------------------------------------------------


def keep(store: Store, at: float, **leases: Lease | None) -> None:
    asyncio.run(store.save({}, leases, at))


def test_leases_are_kept_by_name_with_their_targets_in_order_and_one_that_ended_is_gone(shelf: Shelf) -> None:
    store = shelf.open(1000)
    keep(store, 1001, one=Lease("one", (WEB, API, WHOLE), 1100), two=Lease("two", (API,), 1200))
    keep(store, 1002, two=Lease("two", (WEB,), 1300), three=Lease("three", (API,), 1400))
    keep(store, 1003, three=None)

    assert shelf.open(1004).leases == (Lease("one", (WEB, API, WHOLE), 1100), Lease("two", (WEB,), 1300))
    assert len(shelf.open(5000).leases) == 2, "whether one has ended is for others to say"


def test_a_lease_that_is_renewed_keeps_its_place_among_the_others(shelf: Shelf) -> None:
    store = shelf.open(1000)
    keep(store, 1001, one=Lease("one", (WEB,), 1100), two=Lease("two", (API,), 1200))
    keep(store, 1002, one=Lease("one", (WEB,), 1300))

    assert [lease.name for lease in shelf.open(1003).leases] == ["one", "two"]


def test_after_another_boot_a_lease_lasts_as_long_as_was_left_of_it(shelf: Shelf) -> None:
    keep(shelf.open(1000), 1010, one=Lease("one", (API,), 1100))

    assert shelf.open(20, "two").leases == (Lease("one", (API,), 110),)
    assert shelf.open(50, "two").leases == (Lease("one", (API,), 110),)


# --- another boot ------------------------------------------------------------------------------


def test_after_another_boot_calls_keep_their_age_and_no_renewal_is_believed(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(period=300), 1000)
    for at in (600.0, 762.0, 1001.0, 1002.0):  # the first one was no longer counted when the last one left
        store.charge("default", at)
    save(store, GroupState(renewed=((API, 1001.0),), refusals=(refused(opened_at=990.0),)), 1003)

    known = shelf.open(20, "two").begin(plan(period=300), 20)

    assert known.renewed == ()
    assert moments(known) == [20.0 - 240.0 + UNWRITTEN, 20.0, 20.0]
    [refusal] = known.refusals
    assert (refusal.key, refusal.fault) == (refused().key, refused().fault)
    assert refusal.opened_at == pytest.approx(20 - 13)


def test_a_silence_keeps_across_boots_what_was_left_of_it(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    save(store, GroupState(silent_until=1300.0, throttles=3), 1003)

    known = shelf.open(20, "two").begin(plan(), 20)

    assert known.silent_until == pytest.approx(20 + 297)
    assert known.throttles == 3
    assert shelf.open(25, "two").begin(plan(), 25).silent_until == pytest.approx(20 + 297)


def test_calls_that_were_carried_over_count_for_a_period_of_the_new_boot(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    store.charge("default", 1001)
    store = shelf.open(5000, "two")
    store.begin(plan(), 5000)
    store.charge("default", 5001)

    assert moments(shelf.open(5059, "two").begin(plan(), 5059)) == [5000.0, 5001.0]
    assert moments(shelf.open(5060.5, "two").begin(plan(), 5060.5)) == [5001.0]


@pytest.mark.parametrize(("boot_id", "now"), [("", 1004.0), ("one", 500.0)])
def test_a_boot_without_a_name_and_a_clock_that_is_behind_are_another_boot(
    shelf: Shelf, boot_id: str, now: float
) -> None:
    store = shelf.open(1000, boot_id)
    store.begin(plan(), 1000)
    store.charge("default", 1001)
    save(store, GroupState(renewed=((API, 1001.0),)), 1002)

    store = shelf.open(now, boot_id)
    known = store.begin(plan(), now)
    assert (known.renewed, moments(known)) == ((), [now])

    save(store, GroupState(), now + 1)
    later = shelf.open(now + 600, boot_id).begin(plan(period=1200), now + 600)
    assert later.renewed == ()
    assert len(moments(later)) == 1


def test_what_was_true_before_a_boot_is_not_believed_in_the_boot_after_it(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(), 1000)
    save(store, GroupState(renewed=((API, 1001.0), (WEB, 1002.0))), 1003)
    store = shelf.open(20, "two")
    store.begin(plan(), 20)
    save(store, GroupState(renewed=((WEB, 21.0),)), 22)

    assert dict(shelf.open(2000, "two").begin(plan(), 2000).renewed) == {WEB: 21.0}


# --- another quota -----------------------------------------------------------------------------


def test_a_quota_that_grows_keeps_what_was_sent_and_has_room_for_more(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(requests=3), 1000)
    for at in (1001, 1002, 1003):
        store.charge("default", at)
    store = shelf.open(1004)
    assert len(moments(store.begin(plan(requests=20), 1004))) == 3
    for at in range(1005, 1022):
        store.charge("default", at)

    assert len(moments(shelf.open(1030).begin(plan(requests=20), 1030))) == 20


def test_a_quota_that_was_lowered_for_a_while_forgets_no_call(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(requests=20), 1000)
    for at in range(1001, 1021):
        store.charge("default", at)
    shelf.open(1021).begin(plan(requests=3), 1021)

    assert len(moments(shelf.open(1022).begin(plan(requests=20), 1022))) == 20


def test_a_quota_that_changes_while_the_daemon_runs_forgets_no_call(shelf: Shelf) -> None:
    store = shelf.open(1000)
    for requests, begin in ((5, 1000), (2, 1010), (12, 1020)):
        store.begin(plan(requests=requests), begin)
        store.charge("default", begin + 1)
    for at in range(1030, 1039):
        store.charge("default", at)

    assert len(moments(shelf.open(1040).begin(plan(requests=12), 1040))) == 12


def test_a_longer_period_counts_further_back_and_a_shorter_one_less(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(period=60), 1000)
    for at in (1001, 1050):
        store.charge("default", at)

    assert moments(shelf.open(1100).begin(plan(period=300), 1100)) == [1001.0, 1050.0]
    assert moments(shelf.open(1100).begin(plan(period=60), 1100)) == [1050.0]


def test_a_quota_that_grows_forgets_no_call_that_a_longer_period_counts(shelf: Shelf) -> None:
    store = shelf.open(1000)
    store.begin(plan(requests=3, period=60), 1000)
    store.charge("default", 1001)
    shelf.open(1100).begin(plan(requests=20, period=60), 1100)

    assert moments(shelf.open(1101).begin(plan(requests=20, period=300), 1101)) == [1001.0]


def test_a_ledger_goes_on_until_the_limit_and_no_further(shelf: Shelf) -> None:
    """What all of it is for: the next process sends no call that the one before has spent."""
    store = shelf.open(1000)
    store.begin(plan(requests=10, period=60), 1000)
    for at in range(1001, 1009):
        store.charge("default", at)

    ledger = Ledger(10, 60)
    ledger.restore(shelf.open(1010).begin(plan(requests=10, period=60), 1010).calls)
    sent = 0
    while ledger.ready_at(1010) <= 1010:
        ledger.charge(1010)
        sent += 1
    assert sent == 2
    assert 1061 <= ledger.ready_at(1010) <= 1061.3
