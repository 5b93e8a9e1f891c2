from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.ramp import RAMP_GAP, RAMP_START, Ramp


def test_a_group_that_never_fell_may_always_send() -> None:
    ramp = Ramp()
    for serial in range(100):
        ramp.charge(5.0, serial)

    assert not ramp.active
    assert ramp.ready_at(5.0) == 5.0


def test_at_most_ten_per_second_leave_while_coming_back() -> None:
    ramp, now, sent = Ramp(), 10.0, list[float]()
    ramp.begin(now, RAMP_START, patience=3)
    while now < 11:
        ramp.charge(now, len(sent))
        ramp.settle(len(sent), success=True)
        sent.append(now)
        now = ramp.ready_at(now)

    assert 9 <= len(sent) <= 11


def test_four_are_in_flight_and_one_more_after_each_success() -> None:
    ramp, now = Ramp(), 0.0
    ramp.begin(now, RAMP_START, patience=60)
    flights, serial = list[int](), 0
    for expected in range(RAMP_START, RAMP_START + 5):
        while (ready := ramp.ready_at(now)) <= now + RAMP_GAP:
            now, serial = ready, serial + 1
            ramp.charge(now, serial)
            flights.append(serial)
        assert len(flights) == expected
        ramp.settle(flights.pop(), success=True)


def test_a_probe_that_succeeds_alone_opens_the_way_for_four() -> None:
    ramp = Ramp()
    ramp.begin(0, 1, patience=60)
    ramp.charge(0, 1)
    assert ramp.ready_at(1) == 60

    ramp.settle(1, success=True)

    for now in (1, 2, 3, 4):
        assert ramp.ready_at(now) == now
        ramp.charge(now, 1 + now)
    assert ramp.ready_at(5) > 5


def test_a_failure_makes_room_but_widens_nothing() -> None:
    ramp = Ramp()
    ramp.begin(0, 1, patience=60)
    ramp.charge(0, 1)

    ramp.settle(1, success=False)

    assert ramp.ready_at(1) == 1
    ramp.charge(1, 2)
    assert ramp.ready_at(2) == 61


@given(st.integers(1, 4), st.floats(0.5, 5))
def test_attempts_that_hang_let_one_more_leave_each_time_patience_ends(limit: int, patience: float) -> None:
    ramp, now, sent = Ramp(), 0.0, list[float]()
    ramp.begin(now, limit, patience)
    for _ in range(limit + 3):
        now = ramp.ready_at(now)
        ramp.charge(now, len(sent))
        sent.append(now)

    late = sent[limit - 1 :]
    assert all(later - earlier >= patience * 0.999 for earlier, later in pairwise(late))
    assert max(late) < inf


def test_those_already_under_way_do_not_count_when_they_come_back() -> None:
    ramp = Ramp()
    ramp.begin(10, 1, patience=60)
    ramp.charge(10, 21)
    for serial in range(20):
        ramp.settle(serial, success=True)

    assert ramp.ready_at(11) == 70


def test_once_its_probe_has_succeeded_it_can_be_lifted_and_lets_everything_pass() -> None:
    ramp = Ramp()
    ramp.begin(0, 1, patience=60)
    ramp.charge(0, 1)

    ramp.lift()
    assert ramp.ready_at(0) == 60

    ramp.settle(1, success=True)
    ramp.lift()
    assert ramp.ready_at(0) == 0


@given(st.lists(st.tuples(st.sampled_from(["send", "succeed", "fail"]), st.floats(0, 2)), max_size=60))
def test_no_more_are_in_flight_than_successes_have_earned(script: list[tuple[str, float]]) -> None:
    ramp, now, flights, successes = Ramp(), 1.0, list[int](), 0
    ramp.begin(now, RAMP_START, patience=1e9)
    for serial, (step, pause) in enumerate(script):
        now += pause
        if step == "send":
            if ramp.ready_at(now) <= now:
                ramp.charge(now, serial)
                flights.append(serial)
        elif flights:
            successes += step == "succeed"
            ramp.settle(flights.pop(0), success=step == "succeed")
        assert len(flights) <= RAMP_START + successes
