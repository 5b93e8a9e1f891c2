from __future__ import annotations

from math import inf, log
from random import Random
from statistics import median

import pytest

from keepalive.core.outcome import Order
from keepalive.core.target import Target
from keepalive.simulator.flight import Flight
from keepalive.simulator.network import REFUSED, RESET, TIMED_OUT, UNAVAILABLE, Latency, Network
from keepalive.simulator.session import Session
from keepalive.simulator.spells import Flaky, Loss, Outage, RemoteSpell, Slow

TARGET = Target("prod", "0" * 32, "api")
EXACT = Latency(median=0.1, spread=0.0)


def carried(*spells: RemoteSpell, sent_at: float = 0.0, latency: Latency = EXACT, seed: int = 1) -> Flight:
    order = Order(1, TARGET, 1, hedge=False, due_at=sent_at, timeout=5.0)
    flight = Flight(order, Session(TARGET, 45.0, spells), sent_at)
    Network(latency, Random(seed)).carry(flight)
    return flight


def test_a_healthy_attempt_is_half_way_when_it_arrives_and_cloudflare_says_how_it_ends() -> None:
    flight = carried(sent_at=10.0)
    assert flight.arrives_at == pytest.approx(10.05)
    assert flight.ends_at == pytest.approx(10.1)
    assert flight.outcome is None


def test_answers_are_log_normal_around_the_median() -> None:
    took = [carried(latency=Latency(0.08, 0.4), seed=seed).ends_at for seed in range(2000)]
    assert median(took) == pytest.approx(0.08, rel=0.05)
    assert sum(log(seconds / 0.08) ** 2 for seconds in took) / 2000 == pytest.approx(0.16, rel=0.1)


def test_a_slow_answer_arrives_early_and_comes_back_late() -> None:
    flight = carried(Slow(seconds=4.0))
    assert flight.arrives_at == pytest.approx(0.05)
    assert flight.ends_at == pytest.approx(4.1)


def test_an_answer_later_than_the_timeout_is_a_hang_that_cloudflare_took_all_the_same() -> None:
    flight = carried(Slow(seconds=4.95))
    assert flight.outcome is TIMED_OUT
    assert flight.ends_at == 5.0
    assert flight.arrives_at == pytest.approx(0.05)
    assert not flight.counts_only


@pytest.mark.parametrize(
    ("spell", "outcome", "ends_at"),
    [
        (Flaky(reset=1.0), RESET, 0.1),
        (Flaky(unavailable=1.0), UNAVAILABLE, 0.1),
        (Flaky(hang=1.0), TIMED_OUT, 5.0),
    ],
)
def test_what_a_flaky_network_spoils_counts_but_does_not_renew(
    spell: Flaky, outcome: object, ends_at: float
) -> None:
    flight = carried(spell)
    assert flight.outcome is outcome
    assert flight.ends_at == pytest.approx(ends_at)
    assert flight.arrives_at == pytest.approx(0.05)
    assert flight.counts_only


def test_a_flaky_network_spoils_the_parts_that_it_names() -> None:
    outcomes = [carried(Flaky(reset=0.3, hang=0.1), seed=seed).outcome for seed in range(3000)]
    assert outcomes.count(RESET) / 3000 == pytest.approx(0.3, abs=0.03)
    assert outcomes.count(TIMED_OUT) / 3000 == pytest.approx(0.1, abs=0.02)
    assert outcomes.count(None) / 3000 == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize(
    ("start", "arrives_at", "outcome", "ends_at"),
    [
        (0.0, inf, REFUSED, 0.002),
        (0.04, inf, RESET, 0.052),
        (0.06, 0.05, RESET, 0.102),
        (0.11, 0.05, None, 0.1),
    ],
)
def test_an_outage_resets_what_it_meets_on_the_way(
    start: float, arrives_at: float, outcome: object, ends_at: float
) -> None:
    flight = carried(Outage(start=start, length=20.0, loss=Loss.REFUSED))
    assert flight.outcome is outcome
    assert flight.arrives_at == pytest.approx(arrives_at)
    assert flight.ends_at == pytest.approx(ends_at)


@pytest.mark.parametrize(("start", "arrives_at"), [(0.0, inf), (0.04, inf), (0.06, 0.05)])
def test_a_black_hole_swallows_what_it_meets_on_the_way(start: float, arrives_at: float) -> None:
    flight = carried(Outage(start=start, length=20.0, loss=Loss.BLACK_HOLE))
    assert flight.outcome is TIMED_OUT
    assert flight.arrives_at == pytest.approx(arrives_at)
    assert flight.ends_at == 5.0


def test_what_is_sent_when_a_spell_is_over_does_not_feel_it() -> None:
    flight = carried(Outage(start=0.0, length=20.0), Flaky(reset=1.0, length=20.0), sent_at=20.0)
    assert flight.outcome is None
