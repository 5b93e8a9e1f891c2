"""What the headers of a reply say of the quota, to the letter, played in virtual time."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from multidict import CIMultiDict

from keepalive.cloudflare.judge import judge
from keepalive.cloudflare.quota import merged
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged, GroupThrottled
from keepalive.core.outcome import Order
from tests.cloudflare.servers import SUCCESS
from tests.core.stage import START, Answer, Reply, Stage, fleet, planned
from tests.faults.conftest import Figure

TARGETS = 6
TODAY = 1_790_000_000.0
"""Unix time by Cloudflare's clock when a play begins."""

THROTTLED = b'{"success":false,"errors":[{"code":971,"message":"slow down"}],"result":null}'
SPELL = 8.0
"""Seconds for which every request is throttled."""

Headers = list[tuple[str, str]]


def date(seconds: float) -> str:
    """So many seconds after the play began, as HTTP writes it."""
    return formatdate(TODAY + seconds, usegmt=True)


def says(status: int, headers: Headers, wall_now: float = TODAY) -> Reply:
    body = THROTTLED if status == 429 else SUCCESS
    return Reply(judge(status, merged(CIMultiDict(headers)), body, wall_now=wall_now))


def throttling(headers: Headers, wall_now: float, seconds: float = SPELL) -> Answer:
    """Answer 429 with these headers from second 60 on."""

    def answer(order: Order, at: float) -> Reply:
        throttled = 60 <= at - START < 60 + seconds
        return says(429, headers, wall_now) if throttled else says(200, [])

    return answer


def lapses(stage: Stage) -> int:
    return sum(event.to_state is Eligibility.LAPSED for event in stage.told(EligibilityChanged))


def silence(stage: Stage) -> float:
    """Seconds without a request behind the first 429."""
    at = next(stage.told(GroupThrottled)).at
    return min(sent.at for sent in stage.sent if sent.at > at) - at


def play(answer: Answer, seconds: float = 240.0, targets: int = TARGETS) -> Stage:
    stage = Stage(planned(fleet(targets)), answer)
    stage.play(seconds)
    return stage


# --- Retry-After --------------------------------------------------------------------------------

OBEYED: dict[str, tuple[Headers, float]] = {
    "seconds": ([("Retry-After", "10")], TODAY),
    "date": ([("Retry-After", date(70)), ("Date", date(60))], TODAY + 60),
    "date-while-our-clock-is-at-1970": ([("Retry-After", date(70)), ("Date", date(60))], 0.0),
    "date-while-our-clock-is-at-2100": ([("Retry-After", date(70)), ("Date", date(60))], 4_102_444_800.0),
    "date-without-a-date-beside-it": ([("Retry-After", date(70))], TODAY + 60),
}


@pytest.mark.parametrize(("headers", "wall_now"), OBEYED.values(), ids=OBEYED)
def test_retry_after_is_obeyed(headers: Headers, wall_now: float, figure: Figure) -> None:
    stage = play(throttling(headers, wall_now))
    assert 10 < silence(stage) < 11
    assert lapses(stage) == 0
    figure("silent for {} s, 0 lapses", silence(stage))


ABSURD: dict[str, tuple[Headers, float]] = {
    "negative": ([("Retry-After", "-5")], TODAY),
    "nought": ([("Retry-After", "0")], TODAY),
    "a-year": ([("Retry-After", "31536000")], TODAY),
    "nan": ([("Retry-After", "NaN")], TODAY),
    "infinite": ([("Retry-After", "inf")], TODAY),
    "exponent": ([("Retry-After", "1e9")], TODAY),
    "words": ([("Retry-After", "soon")], TODAY),
    "twice": ([("Retry-After", "10"), ("Retry-After", "20")], TODAY),
    "date-of-the-past": ([("Retry-After", date(-3600)), ("Date", date(60))], TODAY + 60),
    "date-in-a-year": ([("Retry-After", date(31_536_000)), ("Date", date(60))], TODAY + 60),
    "date-that-is-none": ([("Retry-After", "Tue, 31 Feb 2026 25:61:61 GMT")], TODAY),
    "date-by-our-clock-at-1970-alone": ([("Retry-After", date(70))], 0.0),
    "date-by-our-clock-at-2100-alone": ([("Retry-After", date(70))], 4_102_444_800.0),
    "missing": ([], TODAY),
}


@pytest.mark.parametrize(("headers", "wall_now"), ABSURD.values(), ids=ABSURD)
def test_an_absurd_retry_after_counts_as_none(headers: Headers, wall_now: float, figure: Figure) -> None:
    stage = play(throttling(headers, wall_now, 5.0))
    assert 4.9 < silence(stage) < 6
    assert lapses(stage) == 0
    figure("one probe after {} s, 0 lapses", silence(stage))


def test_a_block_of_five_minutes_is_kept_to_the_second_and_everybody_comes_back(figure: Figure) -> None:
    stage = play(throttling([("Retry-After", "300")], TODAY, 300.0), 480.0, targets=42)
    changes = [event for event in stage.told(EligibilityChanged) if event.at > START + 60]
    lapsed = {event.target for event in changes if event.to_state is Eligibility.LAPSED}
    back = [event.at for event in changes if event.to_state is Eligibility.ELIGIBLE]
    again = next(sent.at for sent in stage.sent if sent.at > START + 300)
    assert 300 < silence(stage) < 301
    assert len(lapsed) == 42
    assert stage.tally.all_eligible
    figure("silent for {} s; all 42 eligible {} s after the first probe", silence(stage), max(back) - again)


# --- what is left of the quota ------------------------------------------------------------------

LOW: dict[str, Headers] = {
    "ratelimit": [("Ratelimit", '"default";r=12;t=60')],
    "ratelimit-of-several": [("Ratelimit", '"minute";r=12;t=60, "day";r=90000;t=60000')],
    "x-ratelimit": [
        ("X-RateLimit-Limit", "1200"),
        ("X-RateLimit-Remaining", "12"),
        ("X-RateLimit-Reset", "60"),
    ],
}


@pytest.mark.parametrize("headers", LOW.values(), ids=LOW)
def test_what_little_is_left_is_spread_until_the_reset(headers: Headers, figure: Figure) -> None:
    """Somebody else spends the quota too: twelve calls are left for a minute in which 24 were planned."""
    stage = play(lambda order, at: says(200, headers if at - START >= 60 else []), 600.0)
    moments = [moment for moment in stage.moments() if moment > 76]
    most = max(sum(at <= one < at + 60 for one in moments) for at in moments)
    assert most <= 12
    assert lapses(stage) == 0
    figure("{} requests in the worst minute instead of 24, 0 lapses", most)


def test_nothing_left_is_silence_until_the_reset(figure: Figure) -> None:
    empty = [("Ratelimit", '"default";r=0;t=20')]
    stage = play(lambda order, at: says(200, empty if 60 <= at - START < 75 else []))
    moments = stage.moments()
    first = next(moment for moment in moments if moment >= 60)
    pause = min(moment for moment in moments if moment > first) - first
    assert 20 <= pause < 21
    assert lapses(stage) == 0
    figure("silent for {} s, 0 lapses", pause)


def test_a_tighter_quota_that_replies_name_is_kept(figure: Figure) -> None:
    stage = play(lambda order, at: says(200, [("Ratelimit-Policy", '"burst";q=30;w=60')]), 1200.0)
    moments = stage.moments()
    most = max(sum(at <= one < at + 60 for one in moments) for at in moments)
    assert most <= 27
    assert lapses(stage) == 0
    figure(
        "{} requests in the worst minute of 27 allowed, at an interval of {} s", most, stage.group.interval
    )


UNHEEDED: dict[str, Headers] = {
    "a-larger-quota": [("Ratelimit-Policy", '"default";q=50000;w=300')],
    "negative": [("Ratelimit", '"default";r=-1;t=60')],
    "nan": [("Ratelimit", '"default";r=nan;t=60')],
    "a-reset-in-a-year": [("Ratelimit", '"default";r=0;t=31536000')],
    "no-reset": [("Ratelimit", '"default";r=0')],
    "said-twice": [("Ratelimit", '"default";r=0;r=9;t=60')],
    "a-policy-of-nothing": [("Ratelimit-Policy", '"default";q=0;w=60')],
    "words": [("Ratelimit", "plenty"), ("Ratelimit-Policy", "generous")],
    "x-negative": [("X-RateLimit-Remaining", "-3"), ("X-RateLimit-Reset", "60")],
    "x-twice": [
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Remaining", "5"),
        ("X-RateLimit-Reset", "60"),
    ],
    "x-reset-as-unix-time": [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1790000060")],
}


@pytest.mark.parametrize("headers", UNHEEDED.values(), ids=UNHEEDED)
def test_an_absurd_word_on_the_quota_changes_nothing(headers: Headers, figure: Figure) -> None:
    calm = play(lambda order, at: says(200, []))
    stage = play(lambda order, at: says(200, headers))
    assert stage.moments() == calm.moments()
    figure("the same {} requests in 240 s as without it", len(stage.sent))
