"""The quota as a reply's headers tell it: how much is left, and how long to be silent.

A header is a stranger's word. What is negative, no number, longer than a day or said twice in two ways
is not obeyed: it counts as not said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy, istr

from keepalive.core.outcome import Headroom

Fields = Mapping[str, str]
"""A reply's headers that mean something here: names in lower case, repeated ones joined as `merged` does."""

_HEARD = {
    name: istr(name)
    for name in (
        "cf-ray",
        "date",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    )
}
"""The names as they are looked up: each beat asks for all of them."""

LONGEST = 86_400.0
"""Seconds; no honest reply asks for more than a day."""

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")


class _Item(NamedTuple):
    """One member of a structured list: `"default";r=50;t=30`."""

    name: str
    numbers: Mapping[str, float]


def merged(headers: CIMultiDictProxy[str] | CIMultiDict[str]) -> dict[str, str]:
    """Take those headers that mean something here, and join repeated ones by a comma (RFC 9110, 5.3).

    A list stays a list that way, and a number that was said twice is no number any more.
    """
    return {name: ", ".join(headers.getall(key)) for name, key in _HEARD.items() if key in headers}


def headroom(fields: Fields) -> Headroom | None:
    """Read what is left of the quota; of several policies the tightest counts.

    Two spellings are known: `Ratelimit` with `Ratelimit-Policy`, and `X-RateLimit-Limit`, `-Remaining`
    and `-Reset` (seconds).
    """
    policies = _items(fields["ratelimit-policy"]) if "ratelimit-policy" in fields else []
    if (limits := fields.get("ratelimit")) is not None:
        return _tightest(_items(limits), policies)
    if (left := fields.get("x-ratelimit-remaining")) is not None:
        remaining, reset_in = _number(left), _seconds(fields.get("x-ratelimit-reset", ""))
        requests = _number(fields.get("x-ratelimit-limit", ""))
        if remaining is not None and reset_in is not None:
            return Headroom(int(remaining), reset_in, int(requests) if requests else None)
    return _slowest(policies)


def retry_after(fields: Fields, *, wall_now: float) -> float | None:
    """Read how long a 429 asks for silence.

    Args:
        fields: The reply's headers.
        wall_now: Seconds since 1970, for a `Retry-After` that is a date. The reply's own `Date` goes
            before it: a wrong clock on this side must not shorten the silence.

    Returns:
        Seconds, above 0 and at most a day, or None where the reply names no such time.
    """
    value = fields.get("retry-after", "").strip()
    if (at := _http_date(value)) is None:
        return _seconds(value)
    asked_at = _http_date(fields.get("date", "").strip())
    wait = at - (wall_now if asked_at is None else asked_at)
    return wait if 0 < wait <= LONGEST else None


def _tightest(limits: list[_Item], policies: list[_Item]) -> Headroom | None:
    """Pair each limit with the policy of its name, and pick the one that leaves the slowest pace."""
    sizes = {policy.name: policy.numbers for policy in policies}
    pairs = [
        (limit.numbers["r"], limit.numbers["t"], sizes.get(limit.name, {}))
        for limit in limits
        if "r" in limit.numbers and "t" in limit.numbers
    ]
    if not pairs:
        return None
    remaining, reset_in, size = min(pairs, key=lambda pair: (pair[0] / pair[1], -pair[1]))
    return Headroom(int(remaining), reset_in, int(size.get("q", 0)) or None, size.get("w"))


def _slowest(policies: list[_Item]) -> Headroom | None:
    """Pick the policy that allows the slowest pace, where the reply does not say what is left of any."""
    sizes = [
        (int(policy.numbers["q"]), policy.numbers["w"])
        for policy in policies
        if policy.numbers.get("q", 0) >= 1 and "w" in policy.numbers
    ]
    if not sizes:
        return None
    requests, period = min(sizes, key=lambda size: size[0] / size[1])
    return Headroom(requests=requests, period=period)


def _items(value: str) -> list[_Item]:
    """Split a structured list; an item with a parameter that is absurd or said twice is left out."""
    items = []
    for member in value.split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        words = dict(_pair(parameter) for parameter in parameters)
        numbers = {
            key: number
            for key, word in words.items()
            if (number := _seconds(word) if key in ("t", "w") else _number(word)) is not None
        }
        if len(words) == len(parameters):
            items.append(_Item(name, numbers))
    return items


def _pair(parameter: str) -> tuple[str, str]:
    key, _, word = parameter.partition("=")
    return key.strip(), word.strip()


def _number(word: str) -> float | None:
    """A number of at least 0, or None."""
    return float(word) if _NUMBER.fullmatch(word.strip()) else None


def _seconds(word: str) -> float | None:
    """A duration above 0 and of at most a day, or None."""
    number = _number(word)
    return number if number is not None and 0 < number <= LONGEST else None


def _http_date(value: str) -> float | None:
    """A date as HTTP writes it (RFC 9110, 5.6.7) in seconds since 1970, or None."""
    if not _HTTP_DATE.fullmatch(value):
        return None
    try:
        return parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
