"""A live tail: how one is asked for, and whether the WebSocket that the reply names can be trusted.

The server is not: a `wsUrl` that leads elsewhere would make this machine knock at any door, and show
the session's key there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from keepalive.cloudflare.filters import filters_of
from keepalive.cloudflare.judge import printable
from keepalive.core.outcome import Accepted, Denied, Fault, Transient
from keepalive.core.target import Scope, Target
from keepalive.core.telemetry import Prepared, Wanted

LONGEST_URL = 4096
"""Characters of a `wsUrl`; those that were seen have some two hundred."""

CLOUDFLARE = "cloudflare.com"

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>[a-z0-9]([a-z0-9.-]{0,198}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(:(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>([/?][!-~]*)?)",
    re.ASCII | re.IGNORECASE,
)
_NOT_IN_REST = frozenset('#\\"<>')
_SCHEMES = {"wss": "wss", "https": "wss", "ws": "ws", "http": "ws"}
_PORTS = {"wss": 443, "ws": 80}
_FORM = "expected wss://HOST/PATH?QUERY; if this is Cloudflare's API, tell its support the cf-ray"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a WebSocket would be opened: a scheme (`wss` or `ws`), a host in lower case and a port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Name it as a URL does: without the port where that is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Doors:
    """The places where a live tail may be.

    - The API's own host, at the API's own port or, where the API speaks TLS, at 443 with TLS.
    - Any host below cloudflare.com at 443 with TLS, where the API is below it too and speaks TLS. Nowhere
      else is a neighbour trusted for its domain: without a list of public suffixes nobody can tell
      where a domain begins that one owner has (`co.uk`, `workers.dev`), and with one it is out of date.
    - What the user allows, at the port that is written there, else at the scheme's own.

    Without TLS only loopback, and only where the API itself is there.
    """

    def __init__(self, api: URL, further: tuple[str, ...] = ()) -> None:
        """Say what is allowed.

        Args:
            api: Where the API is.
            further: `HOST` or `HOST:PORT`, in lower case.
        """
        self._host = api.raw_host or ""
        self._port = api.port or 443
        self._secure = api.scheme == "https"
        self._further = frozenset(further)

    def refusal(self, place: Place) -> tuple[str, str] | None:
        """Say why a place is refused, and what to do about it; None where it is not."""
        if place.scheme == "ws" and not (_is_loopback(place.host) and _is_loopback(self._host)):
            return f"{place} is to be asked without TLS, which would show the session's key", _FORM
        named = {str(place), f"{place.host}:{place.port}"}
        if self._is_own(place) or self._is_cloudflares(place) or named & self._further:
            return None
        hint = f'if you trust it, allow it: live_tail_hosts = ["{place}"] under [cloudflare]'
        return f"{place} is neither the API's host nor one of cloudflare.live_tail_hosts", hint

    def _is_own(self, place: Place) -> bool:
        standard = self._secure and place.scheme == "wss" and place.port == 443
        return place.host == self._host and (place.port == self._port or standard)

    def _is_cloudflares(self, place: Place) -> bool:
        secure = self._secure and place.scheme == "wss" and place.port == 443
        return secure and _is_below(self._host) and _is_below(place.host)


def request(target: Target, wanted: Wanted) -> bytes:
    """Write the body that asks for a live tail."""
    script = {} if target.script_id is None else {"scriptId": target.script_id}
    return json.dumps(script | filters_of(wanted), separators=(",", ":")).encode()


def prepared(accepted: Accepted, body: bytes, doors: Doors) -> Prepared | Denied | Transient:
    """Read the body of an accepted request, and look where it leads.

    A place that is refused is a denial: asking again does not change it. None of the URL but its host
    is ever said, for the rest holds the session's key.
    """
    try:
        url = _Reply.model_validate_json(body).result.ws_url
    except ValidationError:
        fault = Fault("not_accepted", "a reply without a wsUrl", 200, cf_ray=accepted.cf_ray)
        return Transient(fault, Scope.TARGET)
    found = _checked(url, doors)
    if isinstance(found, Prepared):
        return found
    detail, hint = found
    words = printable(f"the wsUrl is refused: {detail}")
    fault = Fault("ws_url", words, 200, cf_ray=accepted.cf_ray, hint=hint)
    return Denied(fault, Scope.TARGET)


class _Session(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    ws_url: str = Field(alias="wsUrl", repr=False)


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)

    result: _Session


def _checked(url: str, doors: Doors) -> Prepared | tuple[str, str]:
    """Take a URL apart and put together what was checked, so that no other parser reads it otherwise."""
    if len(url) > LONGEST_URL:
        return f"it has {len(url)} characters", _FORM
    found = _URL.fullmatch(url)
    if found is None or _NOT_IN_REST & set(found["rest"]):
        return "it holds a user, a fragment or a character that does not belong there, or is no URL", _FORM
    scheme = _SCHEMES.get(found["scheme"].lower())
    if scheme is None:
        return "it is of another kind than wss://", _FORM
    host = found["host"].lower().strip("[]")
    place = Place(scheme, host, int(found["port"] or _PORTS[scheme]))
    if not 0 < place.port < 65_536:
        return "its port is out of range", _FORM
    if refused := doors.refusal(place):
        return refused
    rest = found["rest"] if found["rest"].startswith("/") else f"/{found['rest']}"
    return Prepared(f"{scheme}://{place}{rest}")


def _is_below(host: str) -> bool:
    return host == CLOUDFLARE or host.endswith(f".{CLOUDFLARE}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
