"""Authentication: which signature a request carries, by the three schemes of the API reference."""

from __future__ import annotations

import re
from collections.abc import Mapping

from keepalive.emulator.world import Scheme, Signature

_BEARER = re.compile(r"Bearer ([!-~]+)")
_KEY = re.compile(r"[!-~]+")


def read_signature(headers: Mapping[str, str]) -> Signature | None:
    """Read the signature of a request, or None where it is missing, malformed or not of one scheme only.

    What Cloudflare does with two schemes at once is not documented; here it is refused, because no
    client should do it.

    Args:
        headers: The request's headers, names in lower case.
    """
    bearer = headers.get("authorization")
    email, key = headers.get("x-auth-email"), headers.get("x-auth-key")
    service = headers.get("x-auth-user-service-key")
    schemes = [bearer is not None, email is not None or key is not None, service is not None]
    if sum(schemes) != 1:
        return None
    if bearer is not None:
        found = _BEARER.fullmatch(bearer)
        return Signature(Scheme.API_TOKEN, found[1]) if found else None
    if service is not None:
        return Signature(Scheme.USER_SERVICE_KEY, service) if _KEY.fullmatch(service) else None
    if email is None or key is None or "@" not in email or not _KEY.fullmatch(key):
        return None
    return Signature(Scheme.API_KEY, key, email)
