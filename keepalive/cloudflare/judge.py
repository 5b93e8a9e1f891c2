"""The judge: what a reply of Cloudflare's means for the target that asked. Pure, and never raises."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError, ValidatorFunctionWrapHandler
from pydantic.functional_validators import WrapValidator

from keepalive.cloudflare.quota import Fields, headroom, retry_after
from keepalive.core.outcome import Accepted, Denied, Fault, Outcome, Throttled, Transient
from keepalive.core.target import Scope

LONGEST_DETAIL = 200
"""Characters of a server's text that a fault may hold."""

_PERMISSION = (
    "check it at https://dash.cloudflare.com/profile/api-tokens; "
    "it needs Workers Observability Write on this account"
)
_MALFORMED = (
    "give the bare secret (no 'Bearer', quotes or line break) under the right scheme of this credential: "
    "api_token, or api_key with email, or user_service_key"
)
_SCRIPT = "deploy the Worker, or correct its name in targets.scripts (an environment's is NAME-ENV)"
_ACCOUNT = (
    "correct targets.account_id: 32 hexadecimal digits, on the account's overview page in the dashboard"
)
_PACE = (
    "something else spends this user's quota too (dashboard, CI, another keepalive): slow it down, "
    "or lower rate_groups.share"
)


class Cut(StrEnum):
    """Why a reply's body is not whole; the values are causes of faults."""

    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"


class _Meaning(NamedTuple):
    """A Cloudflare error code in words: a stable cause, and what a person should change and where."""

    cause: str
    hint: str


_CODES = {
    971: _Meaning("throttled", _PACE),
    6003: _Meaning("malformed_auth", _MALFORMED),
    6111: _Meaning("malformed_auth", _MALFORMED),
    7000: _Meaning("unknown_route", "check cloudflare.base_url: it ends in /client/v4"),
    7003: _Meaning("unknown_account", _ACCOUNT),
    9109: _Meaning(
        "unauthorized",
        f"the token is invalid, not for this account, or not allowed from this IP address: {_PERMISSION}",
    ),
    10000: _Meaning(
        "authentication",
        f"the credential is wrong, expired or revoked, or lacks a permission: {_PERMISSION}",
    ),
    10007: _Meaning("unknown_script", _SCRIPT),
    10090: _Meaning("unknown_script", _SCRIPT),
    10429: _Meaning("throttled", _PACE),
}
_STATUSES = {
    400: _Meaning("bad_request", "check the account id, the script's name and cloudflare.base_url"),
    401: _Meaning("authentication", f"the credential is not valid: {_PERMISSION}"),
    403: _Meaning("forbidden", f"the credential may not do this on this account: {_PERMISSION}"),
    404: _Meaning("not_found", "check the account id, the script's name and cloudflare.base_url"),
    429: _Meaning("throttled", _PACE),
}
_NOT_THE_API = "that is no reply of the API: check cloudflare.base_url and any proxy or firewall on the way"
_REDIRECT = "a redirect is never followed with credentials: set cloudflare.base_url to where the API is"
_CREDENTIAL_CODES = frozenset({6003, 6111})
_PASSING = frozenset({408, 409, 425})
_RAY = re.compile(r"[0-9A-Za-z-]{1,64}")


def _or_nothing(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """Read errors where they have the known shape; `success` alone decides, so odd ones are no fault."""
    try:
        return validate(value)
    except ValidationError:
        return ()


class _Error(BaseModel):
    model_config = ConfigDict(frozen=True)

    code: int | None = None
    message: str = ""


class _Verdict(BaseModel):
    """What decides of a reply; nearly all of them hold no more that matters."""

    model_config = ConfigDict(frozen=True)

    success: StrictBool


class _Envelope(_Verdict):
    """What every reply of the API is wrapped in."""

    errors: Annotated[tuple[_Error, ...], WrapValidator(_or_nothing)] = ()


def judge(status: int, fields: Fields, body: bytes, *, cut: Cut | None = None, wall_now: float) -> Outcome:
    """Say how an attempt ended.

    Args:
        status: The reply's status.
        fields: Its headers, as `quota.merged` gives them.
        body: Its body, or what came of it.
        cut: Why the body is not whole, or None.
        wall_now: Seconds since 1970, for a `Retry-After` that is a date.
    """
    if 200 <= status < 300 and not cut and _succeeded(body):
        return Accepted(headroom(fields), _ray(fields))
    envelope = None if cut else _open(body)
    fault = _fault(status, fields, envelope, _seen(body, envelope, cut))
    if status == 429:
        return Throttled(fault, retry_after(fields, wall_now=wall_now))
    if 400 <= status < 500 and status not in _PASSING:
        return Denied(fault, _scope(status, fault.error_code))
    if 200 <= status < 300:
        cause = cut or ("not_accepted" if envelope else "not_json")
        fault = replace(fault, cause=cause, hint=fault.hint if envelope else _NOT_THE_API)
    elif 300 <= status < 400:
        fault = replace(fault, cause="redirect", hint=_REDIRECT)
    scope = Scope.TARGET if status < 500 else Scope.ORIGIN
    return Transient(fault, scope, headroom=headroom(fields))


def printable(text: str, length: int = LONGEST_DETAIL) -> str:
    """Make a stranger's text one line of at most `length` printable characters."""
    words = " ".join(text[: 4 * length].split())
    plain = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words)
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def _succeeded(body: bytes) -> bool:
    try:
        return _Verdict.model_validate_json(body).success
    except ValidationError:
        return False


def _open(body: bytes) -> _Envelope | None:
    """Read the envelope; other JSON is an envelope without success, and what is no JSON is None.

    The parser bounds nesting and the length of numbers by itself.
    """
    try:
        return _Envelope.model_validate_json(body)
    except ValidationError as fault:
        no_json = any(each["type"] == "json_invalid" for each in fault.errors(include_input=False))
        return None if no_json else _Envelope(success=False)


def _scope(status: int, code: int | None) -> Scope:
    """How far a refusal reaches."""
    if status == 401 or (status == 400 and code in _CREDENTIAL_CODES):
        return Scope.CREDENTIAL
    return Scope.ACCOUNT if status == 403 or code == 7003 else Scope.TARGET


def _fault(status: int, fields: Fields, envelope: _Envelope | None, seen: str) -> Fault:
    """Put the words for a reply together: the first error with a known code speaks, else the first."""
    errors = envelope.errors if envelope else ()
    error = next((each for each in errors if each.code in _CODES), errors[0] if errors else _Error())
    meaning = _STATUSES.get(status, _Meaning(f"http_{status}", ""))
    if error.code in _CODES and status < 500:
        meaning = _CODES[error.code]
    elif envelope is None and 400 <= status < 429:
        meaning = _Meaning(meaning.cause, _NOT_THE_API)
    return Fault(
        cause=meaning.cause,
        detail=printable(error.message) or seen,
        http_status=status,
        error_code=error.code if error.code is not None and abs(error.code) < 10**9 else None,
        cf_ray=_ray(fields),
        hint=meaning.hint,
    )


def _seen(body: bytes, envelope: _Envelope | None, cut: Cut | None) -> str:
    """Name what came instead of an error message, without quoting it."""
    if cut is Cut.TOO_LARGE:
        return "a body too large to read"
    if cut is Cut.TRUNCATED:
        return "a body that ended too early"
    if envelope:
        return "JSON without success and without an error"
    start = body[:512].lstrip().lower()
    if not start:
        return "an empty body"
    return "an HTML page" if start.startswith(b"<") else "a body that is no JSON"


def _ray(fields: Fields) -> str | None:
    """The `cf-ray`, where it looks like one."""
    ray = fields.get("cf-ray", "").strip()
    return ray if _RAY.fullmatch(ray) else None
