"""A reply: what the emulated API says, before anything happens to it on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"


class Refusal(NamedTuple):
    """An error of the API: its status, Cloudflare's code and text, and what stands in the error chain."""

    status: int
    code: int
    message: str
    chain: tuple[tuple[int, str], ...] = ()


BAD_HEADERS = Refusal(400, 6003, "Invalid request headers", ((6111, "Invalid format for auth headers"),))
BAD_BODY = Refusal(400, 6003, "Invalid request body")
NO_ROUTE = Refusal(404, 7000, "No route for that URI")
BAD_ACCOUNT = Refusal(400, 7003, "Could not route, perhaps your object identifier is invalid?")
BAD_TOKEN = Refusal(401, 1000, "Invalid API Token")
UNKNOWN_CREDENTIAL = Refusal(401, 10000, "Authentication error")
NO_PERMISSION = Refusal(403, 10000, "Authentication error")
FOREIGN_ACCOUNT = Refusal(403, 9109, "Unauthorized to access requested resource")
NO_SCRIPT = Refusal(404, 10007, "This Worker does not exist on your account.")
USER_THROTTLED = Refusal(429, 10429, "Please wait and consider throttling your request speed")
ADDRESS_THROTTLED = Refusal(429, 971, "Please wait and consider throttling your request speed")
NOT_ACCEPTED = Refusal(200, 10001, "Unable to process this request")
BAD_SESSION = Refusal(403, 10000, "This live tail session is unknown or already claimed")

_OF_STATUS = {
    400: BAD_HEADERS,
    401: UNKNOWN_CREDENTIAL,
    403: NO_PERMISSION,
    404: NO_SCRIPT,
    429: USER_THROTTLED,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back.

    Attributes:
        status: The HTTP status.
        body: The whole body.
        content_type: JSON but for pages of the edge.
        code: Cloudflare's error code in the body, where there is one.
        retry_after: Emulated seconds for the header `Retry-After`, or None for no such header.
        location: Where a redirect points to.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    code: int | None = None
    retry_after: float | None = None
    location: str | None = None


def accepted(result: Json, message: str = "Successful request") -> Reply:
    """Wrap a result in the envelope of success."""
    return Reply(200, _envelope(success=True, errors=[], messages=[{"message": message}], result=result))


def refused(refusal: Refusal, retry_after: float | None = None) -> Reply:
    """Wrap a refusal in the envelope of failure."""
    error: dict[str, Json] = {"code": refusal.code, "message": refusal.message}
    if refusal.chain:
        error["error_chain"] = [{"code": code, "message": message} for code, message in refusal.chain]
    body = _envelope(success=False, errors=[error], messages=[], result=None)
    return Reply(refusal.status, body, code=refusal.code, retry_after=retry_after)


def failed(status: int, code: int | None = None, retry_after: float | None = None) -> Reply:
    """Answer any status in the envelope; with the usual code of that status unless `code` says another."""
    usual = _OF_STATUS.get(status, Refusal(status, status, "The service is unavailable"))
    return refused(usual._replace(code=code or usual.code), retry_after)


def page(status: int) -> Reply:
    """Answer with an HTML page, as a proxy or Cloudflare's edge does."""
    text = f"<!DOCTYPE html>\n<title>{status}</title>\n<h1>Error {status}</h1>\n"
    return Reply(status, text.encode(), content_type="text/html")


def redirect(location: str) -> Reply:
    """Point elsewhere, in the way that makes a careless client repeat its POST, credentials and all."""
    return Reply(307, b"", content_type="text/html", location=location)


def _envelope(*, success: bool, errors: Json, messages: Json, result: Json) -> bytes:
    envelope = {"success": success, "errors": errors, "messages": messages, "result": result}
    return json.dumps(envelope, separators=(",", ":")).encode()
