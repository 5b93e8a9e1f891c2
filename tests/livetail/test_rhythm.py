from __future__ import annotations

from keepalive.livetail.rhythm import Rhythm


def steady(seconds: float, events: int) -> Rhythm:
    rhythm = Rhythm()
    for _ in range(events):
        rhythm.note(seconds, 1)
    return rhythm


def test_a_steady_stream_breaks_off_with_a_silence_of_ten_times_the_longest() -> None:
    rhythm = steady(1.0, 100)
    assert not rhythm.breaks(9.9, 5.0)
    assert rhythm.breaks(10.1, 5.0)


def test_a_short_silence_is_never_a_break() -> None:
    assert not steady(0.02, 1000).breaks(4.9, 5.0)
    assert steady(0.02, 1000).breaks(5.0, 5.0)


def test_a_stream_that_is_not_known_yet_breaks_nothing_and_is_looked_into_late() -> None:
    rhythm = steady(0.02, 10)
    assert not rhythm.breaks(1000.0, 5.0)
    assert rhythm.worth_a_look(10.0, 60.0) == 60.0


def test_a_silence_is_looked_into_the_sooner_the_steadier_the_stream_was() -> None:
    assert steady(0.02, 100).worth_a_look(10.0, 60.0) == 10.0
    assert steady(3.0, 100).worth_a_look(10.0, 60.0) == 30.0
    assert steady(30.0, 100).worth_a_look(10.0, 60.0) == 60.0


def test_one_long_silence_is_forgotten_over_many_events() -> None:
    rhythm = steady(0.02, 100)
    rhythm.note(60.0, 1)
    for _ in range(10_000):
        rhythm.note(0.02, 1)
    assert rhythm.breaks(6.0, 5.0)
