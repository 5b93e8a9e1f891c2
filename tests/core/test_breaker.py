from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.breaker import CONFIRMED_AFTER, EARLY_PROBES, LATE_PROBES, ORIGIN_PROBE, Breaker, Breakers
from keepalive.core.outcome import Fault
from keepalive.core.target import Scope, Target
from tests.core.stage import ACCOUNT

FAULT = Fault("authentication")
WINDOW = 45.0
NARROW = [Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET]


def probes(breaker: Breaker, until: float, round_trip: float) -> list[float]:
    """Probe whenever the breaker says so; every probe is refused again."""
    now, sent = breaker.opened_at, list[float]()
    while (now := breaker.ready_at(now)) < until:
        breaker.charge(now)
        sent.append(now)
        breaker.repeat(FAULT, now, now + round_trip)
        now += round_trip
    return sent


@given(st.floats(0, 5))
def test_an_origin_is_probed_once_a_second_even_while_probes_hang(round_trip: float) -> None:
    breaker, now, sent = Breaker(Scope.ORIGIN, FAULT, 0.0, WINDOW), 0.0, list[float]()
    for _ in range(20):
        now = breaker.ready_at(now)
        breaker.charge(now)
        sent.append(now)

    assert sent == [ORIGIN_PROBE * count for count in range(1, 21)]


@given(st.sampled_from(NARROW), st.floats(0.001, 5))
def test_what_stays_refused_is_probed_ever_more_seldom_but_for_ever(scope: Scope, round_trip: float) -> None:
    sent = probes(Breaker(scope, FAULT, 0.0, WINDOW), 10_000.0, round_trip)

    gaps = [round(later - earlier, 6) for earlier, later in pairwise(sent)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= 1
    assert gaps[-1] == max(gaps) == LATE_PROBES[-1]


@given(st.sampled_from(NARROW), st.floats(0.001, 0.9))
def test_a_refusal_is_probed_every_few_seconds_while_a_lease_under_it_may_last(
    scope: Scope, round_trip: float
) -> None:
    sent = probes(Breaker(scope, FAULT, 0.0, WINDOW), 120.0, round_trip)

    early = [at for at in sent if at < WINDOW]
    assert all(
        later - sooner <= WINDOW * EARLY_PROBES[-1] + 1e-6 for sooner, later in pairwise([0.0, *early])
    )
    assert len(sent) <= len(early) + 2


@given(st.sampled_from(NARROW))
def test_a_refusal_is_believed_after_three_in_a_row(scope: Scope) -> None:
    breaker = Breaker(scope, FAULT, 0.0, WINDOW)
    for count in range(2, CONFIRMED_AFTER + 1):
        assert not breaker.confirmed
        assert breaker.repeat(FAULT, count, count + 0.1)

    assert breaker.faults == 3
    assert breaker.confirmed


@given(st.lists(st.floats(0, 9.9), max_size=20))
def test_refusals_that_were_under_way_when_the_last_came_back_do_not_count(sent: list[float]) -> None:
    breaker = Breaker(Scope.CREDENTIAL, FAULT, 10.0, WINDOW)

    for sent_at in sent:
        assert not breaker.repeat(Fault("other"), sent_at, 11.0)

    assert not breaker.confirmed
    assert breaker.fault is FAULT


def test_an_origin_refuses_nobody() -> None:
    breaker = Breaker(Scope.ORIGIN, FAULT, 0.0, WINDOW)
    for moment in range(1, 10):
        breaker.repeat(FAULT, moment, moment)

    assert not breaker.confirmed


def test_it_keeps_the_last_fault() -> None:
    breaker, last = Breaker(Scope.TARGET, FAULT, 0.0, WINDOW), Fault("not_found")

    breaker.repeat(last, 1.0, 1.1)

    assert breaker.fault is last


target = Target("prod", ACCOUNT, "api")
keys = st.sampled_from(
    [("prod",), ("prod", ACCOUNT), target, ("other",), ("prod", "f" * 32), Target("prod", ACCOUNT, "web"), ()]
)


@given(st.dictionaries(keys, st.floats(0, 50)))
def test_a_target_waits_for_the_last_of_the_breakers_it_stands_under_and_for_no_other(
    opened: dict[tuple[str | None, ...], float],
) -> None:
    breakers = Breakers()
    for key, at in opened.items():
        breakers[key] = Breaker(Scope(len(key)), FAULT, at, WINDOW)
    own = [at for key, at in opened.items() if key and target[: len(key)] == key]

    assert breakers.ready_at(target, 0.0) == max((at + ORIGIN_PROBE for at in own), default=0.0)
    assert len(list(breakers.over(target))) == len(own)


@given(st.dictionaries(keys, st.booleans()))
def test_a_target_is_denied_by_a_believed_breaker_above_it_only(
    opened: dict[tuple[str | None, ...], bool],
) -> None:
    breakers = Breakers()
    for key, believed in opened.items():
        breaker = breakers[key] = Breaker(Scope(len(key)), FAULT, 0.0, WINDOW)
        for moment in range(1, 3 if believed else 1):
            breaker.repeat(FAULT, moment, moment)

    assert breakers.deny(target) == any(
        believed and key and target[: len(key)] == key for key, believed in opened.items()
    )
