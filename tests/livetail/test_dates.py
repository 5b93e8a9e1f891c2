from __future__ import annotations

from keepalive.livetail.dates import Dates


def test_before_any_event_our_own_clock_is_all_there_is() -> None:
    assert Dates(lambda: 1000.0).now_ms() == 1_000_000
    assert Dates(lambda: 1000.0).now_ms(2.5) == 997_500


def test_the_promptest_event_says_how_far_our_clock_is_ahead() -> None:
    dates = Dates(lambda: 1000.0)
    for ahead in (45_300, 45_100, 59_000):
        dates.learn(ahead)
    assert dates.now_ms() == 1_000_000 - 45_101


def test_a_clock_that_is_set_is_followed_at_once_backwards_and_slowly_forwards() -> None:
    dates = Dates(lambda: 1000.0)
    dates.learn(100)
    dates.learn(-60_000)
    assert dates.now_ms() == 1_060_000
    for _ in range(1000):
        dates.learn(100)
    assert dates.now_ms() == 1_059_000
