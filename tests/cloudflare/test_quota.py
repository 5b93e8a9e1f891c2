from email.utils import formatdate
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from keepalive.cloudflare.quota import LONGEST, headroom, merged, retry_after
from keepalive.core.outcome import Headroom

NOW = 1_800_000_000.0

names = st.sampled_from(
    ["ratelimit", "ratelimit-policy", "retry-after", "date", "x-ratelimit-remaining", "x-ratelimit-reset"]
)
scraps = st.lists(
    st.sampled_from(['"default"', ";", "r=", "t=", "q=", "w=", "50", "-1", ",", "1e9", "٣", " "])
)
values = st.one_of(st.text(), scraps.map("".join))


def test_ratelimit_with_its_policy_gives_what_is_left_and_how_big_the_quota_is() -> None:
    fields = {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"default";q=1200;w=300'}

    assert headroom(fields) == Headroom(remaining=50, reset_in=30, requests=1200, period=300)


def test_a_policy_alone_gives_the_size_of_the_tightest_quota() -> None:
    found = headroom({"ratelimit-policy": '"default";q=1200;w=300, "burst";q=100;w=60, "odd";q=0;w=9'})

    assert found == Headroom(requests=100, period=60)


@pytest.mark.parametrize("policy", ['"a";q=-5;w=60', '"a";q=10;w=31536000', '"a";q=many;w=60', '"a"', ""])
def test_an_absurd_policy_is_not_obeyed(policy: str) -> None:
    assert headroom({"ratelimit-policy": policy}) is None


def test_a_policy_of_another_name_says_nothing_of_this_limit() -> None:
    fields = {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"burst";q=100;w=60'}

    assert headroom(fields) == Headroom(remaining=50, reset_in=30)


def test_the_tightest_of_several_policies_counts() -> None:
    limits = '"default";r=900;t=200, "burst";r=3;t=30, "day";r=70000;t=80000'
    policies = '"default";q=1200;w=300, "burst";q=100;w=60'

    found = headroom({"ratelimit": limits, "ratelimit-policy": policies})

    assert found == Headroom(remaining=3, reset_in=30, requests=100, period=60)


def test_of_two_empty_quotas_the_one_that_resets_later_is_the_tightest() -> None:
    assert headroom({"ratelimit": '"a";r=0;t=5,"b";r=0;t=250'}) == Headroom(remaining=0, reset_in=250)


def test_repeated_ratelimit_headers_are_one_list() -> None:
    headers = CIMultiDict([("Ratelimit", '"a";r=90;t=10'), ("RateLimit", '"b";r=1;t=10')])

    assert headroom(merged(headers)) == Headroom(remaining=1, reset_in=10)


def test_the_older_spelling_is_read_too() -> None:
    fields = {"x-ratelimit-limit": "1200", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "60"}

    assert headroom(fields) == Headroom(remaining=7, reset_in=60, requests=1200)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ratelimit": '"default";r=-1;t=30'},
        {"ratelimit": '"default";r=5;t=0'},
        {"ratelimit": '"default";r=5;t=86401'},
        {"ratelimit": '"default";r=5;r=6;t=30'},
        {"ratelimit": '"default";r=nan;t=30'},
        {"ratelimit": '"default";r=5'},
        {"x-ratelimit-remaining": "5"},
        {"x-ratelimit-remaining": "5", "x-ratelimit-reset": "1800000300"},
        {"x-ratelimit-remaining": "5, 6", "x-ratelimit-reset": "30"},
    ],
)
def test_absurd_limits_are_not_obeyed(fields: dict[str, str]) -> None:
    assert headroom(fields) is None


@pytest.mark.parametrize(("value", "seconds"), [("1", 1.0), ("30", 30.0), (" 2.5 ", 2.5), ("86400", LONGEST)])
def test_retry_after_in_seconds(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}, wall_now=NOW) == seconds


def test_retry_after_as_a_date_counts_from_the_wall_clock() -> None:
    fields = {"retry-after": formatdate(NOW + 90, usegmt=True)}

    assert retry_after(fields, wall_now=NOW) == 90


def test_the_servers_own_date_goes_before_a_wrong_clock_of_ours() -> None:
    fields = {"retry-after": formatdate(NOW + 90, usegmt=True), "date": formatdate(NOW, usegmt=True)}

    assert retry_after(fields, wall_now=NOW + 3600) == 90


@pytest.mark.parametrize(
    "value",
    [
        *("", "0", "-5", "soon", "inf", "nan", "1e3", "86401", "5, 10", "٣", "Wed, 32 Oct 2026 07:28:00 GMT"),
        formatdate(NOW - 1, usegmt=True),
        formatdate(NOW + 90_000, usegmt=True),
    ],
)
def test_an_absurd_retry_after_is_not_obeyed(value: str) -> None:
    assert retry_after({"retry-after": value}, wall_now=NOW) is None


@given(st.dictionaries(names, values))
def test_any_header_text_gives_a_sane_headroom_or_none(fields: dict[str, str]) -> None:
    found = headroom(merged(CIMultiDict(fields)))

    if found is None:
        return
    if found.remaining is None:
        assert found.requests is not None
        assert found.period is not None
        assert found.requests >= 1
        assert 0 < found.period <= LONGEST
    else:
        assert found.remaining >= 0
        assert 0 < found.reset_in <= LONGEST


@given(st.dictionaries(names, values), st.floats(0, 1e10))
def test_any_header_text_gives_a_sane_silence_or_none(fields: dict[str, str], wall_now: float) -> None:
    found = retry_after(merged(CIMultiDict(fields)), wall_now=wall_now)

    assert found is None or (isfinite(found) and 0 < found <= LONGEST)


@given(st.integers(1, 86_400))
def test_every_honest_silence_is_obeyed_in_both_spellings(seconds: float) -> None:
    dated = {"retry-after": formatdate(NOW + seconds, usegmt=True)}

    assert retry_after({"retry-after": str(seconds)}, wall_now=NOW) == seconds
    assert retry_after(dated, wall_now=NOW) == seconds
