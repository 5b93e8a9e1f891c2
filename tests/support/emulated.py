"""Worlds, requests and comparisons for tests that speak to the emulator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import ClientSession

from keepalive.emulator import Arrival, Credential, Emulator, User, World
from keepalive.emulator.reply import Json

TOKEN = "emulated-token"
EMAIL = "ops@example.com"
API_KEY = "emulated-global-key"
SERVICE_KEY = "v1.0-emulated-service-key"
ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
OTHER_ACCOUNT_ID = "fedcba9876543210fedcba9876543210"

SCHEMES = {
    "api_token": {"Authorization": f"Bearer {TOKEN}"},
    "api_key": {"X-Auth-Email": EMAIL, "X-Auth-Key": API_KEY},
    "user_service_key": {"X-Auth-User-Service-Key": SERVICE_KEY},
}
"""The headers of each scheme that `three_schemes()` accepts."""

_AUTH_HEADERS = ("authorization", "x-auth-email", "x-auth-key", "x-auth-user-service-key")


def three_schemes() -> World:
    """Make a world whose one user (`user`) signs by any scheme; `dataclasses.replace` changes the rest."""
    credentials = (
        Credential.api_token(TOKEN),
        Credential.api_key(EMAIL, API_KEY),
        Credential.user_service_key(SERVICE_KEY),
    )
    return World(users=(User("user", credentials),), accounts={ACCOUNT_ID: frozenset({"api", "web"})})


class Essentials(NamedTuple):
    """What two clients must agree on to have sent the same request."""

    method: str
    path: str
    auth: dict[str, str]
    content_type: str | None
    body: Json


def essentials(arrival: Arrival) -> Essentials:
    """Reduce a recorded request to what matters, so that two clients can be compared with `==`."""
    return Essentials(
        method=arrival.method,
        path=arrival.path,
        auth={name: arrival.headers[name] for name in _AUTH_HEADERS if name in arrival.headers},
        content_type=arrival.headers.get("content-type"),
        body=json.loads(arrival.body) if arrival.body else None,
    )


class Answer(NamedTuple):
    """A reply that was read to its end."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def code(self) -> int:
        """Cloudflare's error code in the envelope."""
        code: int = json.loads(self.text)["errors"][0]["code"]
        return code


def telemetry_url(emulator: Emulator, call: str, account_id: str = ACCOUNT_ID) -> str:
    """Name a telemetry call: `live-tail/heartbeat`, `live-tail` or `query`."""
    return f"{emulator.base_url}/accounts/{account_id}/workers/observability/telemetry/{call}"


async def post(
    http: ClientSession,
    emulator: Emulator,
    call: str = "live-tail/heartbeat",
    body: Json = None,
    *,
    auth: Mapping[str, str] = SCHEMES["api_token"],
    account_id: str = ACCOUNT_ID,
) -> Answer:
    """Send one telemetry call with plain aiohttp and read the whole answer; redirects are not followed."""
    url = telemetry_url(emulator, call, account_id)
    data = json.dumps({} if body is None else body)
    async with http.post(
        url, data=data, headers={"Content-Type": "application/json", **auth}, allow_redirects=False
    ) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, await response.text())
