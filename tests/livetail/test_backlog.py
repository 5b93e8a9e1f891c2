from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.target import Target
from keepalive.core.telemetry import Event
from keepalive.livetail.backlog import Backlog, Item, Note
from keepalive.livetail.record import Changed, Dropped, Gap, Record, State

API = Target("prod", "0123456789abcdef0123456789abcdef", "api")
WEB = API._replace(script_id="web")


def event(number: int, text: str = "") -> Event:
    return Event(f'{{"n":{number}{text}}}', str(number), number, "api")


def read(backlog: Backlog, most: int = 1_000_000) -> list[Item]:
    items = backlog.take(most)
    backlog.release(items)
    return items


def test_records_come_out_in_the_order_in_which_they_were_put() -> None:
    backlog = Backlog()
    put = backlog.inlet(API)
    records: list[Record] = [event(1), Changed(State.LAPSED), Gap(1, 2, "quota"), event(2)]

    for record in records:
        put(record)

    assert read(backlog, 1) == [event(1)]
    assert read(backlog) == [Note(API, Changed(State.LAPSED)), Note(API, Gap(1, 2, "quota")), event(2)]
    assert backlog.waiting == 0


def test_what_does_not_fit_is_counted_and_told_where_it_was_lost() -> None:
    backlog = Backlog(most_records=10)
    put = backlog.inlet(API)
    for number in range(17):
        put(event(number))

    first = read(backlog)
    put(event(17))

    assert first == [event(number) for number in range(10)]
    assert read(backlog) == [Note(None, Dropped(7)), event(17)]
    assert (backlog.accepted, backlog.lost) == (11, 7)


def test_nothing_is_taken_again_before_half_was_read() -> None:
    backlog = Backlog(most_records=10)
    put = backlog.inlet(API)
    for number in range(11):
        put(event(number))

    read(backlog, 5)
    put(event(11))
    assert backlog.lost == 2
    read(backlog, 1)
    put(event(12))

    assert read(backlog)[-2:] == [Note(None, Dropped(2)), event(12)]


def test_what_was_taken_weighs_until_it_is_released() -> None:
    backlog = Backlog(most_records=4)
    put = backlog.inlet(API)
    for number in range(4):
        put(event(number))

    items = backlog.take(4)
    put(event(4))
    assert backlog.lost == 1
    backlog.release(items)
    put(event(5))

    assert read(backlog) == [Note(None, Dropped(1)), event(5)]


def test_memory_bounds_it_too_and_wide_characters_weigh_what_they_take() -> None:
    narrow, wide = Backlog(most_bytes=1_000_000), Backlog(most_bytes=1_000_000)
    for number in range(2000):
        narrow.inlet(API)(event(number, "x" * 1000))
        wide.inlet(API)(event(number, "\U0001f600" * 1000))

    assert 600 < narrow.accepted < 1000
    assert 150 < wide.accepted < 250


def test_a_loss_is_told_although_nothing_else_comes() -> None:
    backlog = Backlog(most_records=2)
    for number in range(5):
        backlog.inlet(API)(event(number))

    backlog.settle()
    assert len(read(backlog)) == 2
    backlog.settle()
    backlog.settle()

    assert read(backlog) == [Note(None, Dropped(3))]


def test_a_reader_that_makes_room_for_a_loss_says_so() -> None:
    told: list[bool] = []
    backlog = Backlog(most_records=2, room=lambda: told.append(True))
    for number in range(2):
        backlog.inlet(API)(event(number))
    read(backlog, 1)
    for number in range(2, 5):
        backlog.inlet(API)(event(number))

    assert not told
    assert read(backlog) == [event(1), event(2)]
    assert told
    backlog.settle()
    assert read(backlog) == [Note(None, Dropped(2))]


def test_at_last_a_loss_is_told_without_room() -> None:
    backlog = Backlog(most_records=2)
    for number in range(5):
        backlog.inlet(API)(event(number))

    backlog.settle(at_last=True)

    assert read(backlog)[2:] == [Note(None, Dropped(3))]


def test_without_room_the_last_state_of_each_target_is_kept_and_one_gap_that_spans_all() -> None:
    backlog = Backlog(most_records=1)
    api, web = backlog.inlet(API), backlog.inlet(WEB)
    api(event(0))
    for number in range(1000):
        api(Gap(1000 - number, 2000 + number, "quota"))
        api(Changed(State.DISCONNECTED))
        api(Changed(State.ELIGIBLE))
        api(Dropped(1))
    web(Changed(State.LAPSED))
    web(event(1))

    read(backlog)
    backlog.settle()

    assert read(backlog) == [
        Note(None, Dropped(1001)),
        Note(API, Gap(1, 2999, "quota")),
        Note(API, Changed(State.ELIGIBLE)),
        Note(WEB, Changed(State.LAPSED)),
    ]


def test_after_as_many_events_as_were_wanted_nothing_is_taken() -> None:
    told: list[int] = []
    backlog = Backlog(most_events=2, completed=lambda: told.append(backlog.accepted))
    put = backlog.inlet(API)

    for record in (Changed(State.ELIGIBLE), event(1), event(2), event(3), Changed(State.LAPSED)):
        put(record)

    assert told == [2]
    assert read(backlog) == [Note(API, Changed(State.ELIGIBLE)), event(1), event(2)]


def test_only_a_reader_that_sleeps_is_woken_and_once() -> None:
    rung: list[bool] = []
    backlog = Backlog(bell=lambda: rung.append(True))
    put = backlog.inlet(API)
    put(event(0))
    assert not rung

    assert not backlog.sleep()
    read(backlog)
    assert backlog.sleep()
    put(event(1))
    put(event(2))

    assert len(rung) == 1


PUT, NOTE = 0, -1
"""An event is put, or a note; any other number is how many records are read."""


@given(
    actions=st.lists(st.sampled_from([PUT, PUT, NOTE, 1, 7, 20]), max_size=300),
    room=st.integers(1, 30),
)
def test_every_event_comes_out_once_or_is_counted_in_its_place(actions: list[int], room: int) -> None:
    backlog = Backlog(most_records=room)
    put = backlog.inlet(API)
    out: list[Item] = []
    sent = 0
    for action in actions:
        if action == PUT:
            put(event(sent))
            sent += 1
        elif action == NOTE:
            put(Changed(State.AT_RISK))
        else:
            out += read(backlog, action)
        assert backlog.waiting <= room + 3  # a loss is told by at most three records of one target
    backlog.settle(at_last=True)
    out += read(backlog)

    expected = 0
    for item in out:
        if isinstance(item, Event):
            assert item.timestamp == expected
            expected += 1
        elif isinstance(item.record, Dropped):
            expected += item.record.count
    assert expected == sent
