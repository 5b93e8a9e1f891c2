from __future__ import annotations

import pytest

from keepalive.core.outcome import Accepted, Denied, Fault, Order, Throttled, Transient
from keepalive.core.plan import Quota
from keepalive.core.target import Scope, Target
from keepalive.simulator.flight import Flight
from keepalive.simulator.network import RESET
from keepalive.simulator.session import Session
from keepalive.simulator.spells import Broken, RemoteSpell, Throttle
from keepalive.simulator.user import User

TARGET = Target("prod", "0" * 32, "api")


def session(*spells: RemoteSpell) -> Session:
    return Session(TARGET, 45.0, spells)


def user(requests: int = 1200) -> User:
    return User(Quota(requests=requests), window=45.0, interval=15.0)


def flight(to: Session, arrives_at: float) -> Flight:
    order = Order(1, TARGET, 1, hedge=False, due_at=arrives_at, timeout=5.0)
    flight = Flight(order, to, arrives_at)
    flight.arrives_at = arrives_at
    to.tries.append(flight)
    return flight


def answer(user: User, session: Session, arrives_at: float) -> object:
    arriving = flight(session, arrives_at)
    user.receive(arriving)
    return arriving.outcome


def test_a_session_holds_for_its_window_from_the_arrival_and_lapses_until_the_next() -> None:
    api, cloudflare = session(), user()
    for arrives_at in (10.0, 25.0, 80.0):
        assert isinstance(answer(cloudflare, api, arrives_at), Accepted)
    api.close(130.0)
    (first, second) = api.lapses("default", ())
    assert (api.since, first.start, first.until) == (10.0, 70.0, 80.0)
    assert (second.start, second.until) == (125.0, 130.0)


def test_what_comes_before_the_first_acceptance_is_no_lapse() -> None:
    api = session()
    api.close(100.0)
    assert api.lapses("default", ()) == ()


def test_renewals_are_counted_by_the_seconds_that_were_left_and_early_ones_apart() -> None:
    api, cloudflare = session(), user()
    for arrives_at in (0.0, 15.5, 20.5):
        answer(cloudflare, api, arrives_at)
    assert cloudflare.renewals == 3
    assert {left: renewals for left, renewals in enumerate(cloudflare.remaining) if renewals} == {
        29: 1,
        40: 1,
    }
    assert cloudflare.extra_beats == 1


def test_one_call_above_the_quota_blocks_the_user_for_five_minutes() -> None:
    api, cloudflare = session(), user(requests=3)
    answers = [answer(cloudflare, api, moment) for moment in (0.0, 1.0, 2.0, 3.0, 302.9, 303.0)]
    assert [isinstance(outcome, Accepted) for outcome in answers] == [True, True, True, False, False, True]
    assert answers[3] == Throttled(Fault("throttled", http_status=429), 300.0)
    assert cloudflare.blocks == 1


def test_what_the_network_spoiled_counts_against_the_quota_and_keeps_its_outcome() -> None:
    api, cloudflare = session(), user(requests=1)
    spoiled = flight(api, 0.0)
    spoiled.outcome, spoiled.counts_only = RESET, True
    cloudflare.receive(spoiled)
    assert spoiled.outcome is RESET
    assert api.since is None
    assert isinstance(answer(cloudflare, api, 1.0), Throttled)


@pytest.mark.parametrize(
    ("spell", "outcome"),
    [
        (Broken(status=503), Transient(Fault("http_503", http_status=503))),
        (
            Broken(status=401, scope=Scope.CREDENTIAL),
            Denied(Fault("http_401", http_status=401), Scope.CREDENTIAL),
        ),
        (Throttle(retry_after=5.0), Throttled(Fault("throttled", http_status=429), 5.0)),
        (Throttle(), Throttled(Fault("throttled", http_status=429), None)),
    ],
)
def test_a_spell_of_cloudflare_decides_the_answer_and_renews_nothing(
    spell: RemoteSpell, outcome: object
) -> None:
    api = session(spell)
    assert answer(user(), api, 0.0) == outcome
    assert api.since is None


def test_a_lapse_tells_the_tries_since_the_last_renewal_and_the_spells_that_were_on() -> None:
    api, cloudflare = session(Broken(start=10.0, length=60.0), Throttle(start=200.0, length=5.0)), user()
    for arrives_at in (0.0, 15.0, 60.0, 75.0):
        answer(cloudflare, api, arrives_at)
    (lapse,) = api.lapses("default", ())
    assert [(tried.sent_at, tried.ending) for tried in lapse.tries] == [
        (15.0, "http_503"),
        (60.0, "http_503"),
        (75.0, "under_way"),
    ]
    assert lapse.causes == ("broken",)
