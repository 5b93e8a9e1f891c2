"""An exchange: what signs a request, and what came back for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from aiohttp import ClientPayloadError, ClientResponse
from multidict import CIMultiDict

from keepalive.cloudflare.auth import Credential
from keepalive.cloudflare.judge import Cut, judge
from keepalive.cloudflare.quota import Fields
from keepalive.core.outcome import Outcome
from keepalive.errors import ConfigError, ConfigFault

SHORTEST_SECRET = 6
"""Bytes from which a secret is looked for in replies; a shorter one would be found in any of them."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A credential made ready: its own headers of a request, and what of them must never be quoted."""

    headers: CIMultiDict[str] = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, name: str, credential: Credential) -> Signature:
        """Make a credential ready.

        Raises:
            ConfigError: The secret holds a character that no header can carry.
        """
        signed = credential.headers()
        if not all(value.isascii() and value.isprintable() for value in signed.values()):
            found, hint = (
                "a secret with a character that no HTTP header can carry",
                "look for a line break or quotes",
            )
            raise ConfigError((ConfigFault(f"credentials.{name}", "", found, hint),))
        secrets = (value.removeprefix("Bearer ").encode() for value in signed.values())
        return cls(CIMultiDict(signed), tuple(each for each in secrets if len(each) >= SHORTEST_SECRET))


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, before anybody judged it.

    Attributes:
        status: The status.
        fields: The headers.
        body: The body as it came, or what came of it. It may quote a secret; what is made of it by
            `judged` does not.
        cut: Why the body is not whole, or None.
        signature: What signed the request.
    """

    status: int
    fields: Fields
    body: bytes = field(repr=False)
    cut: Cut | None
    signature: Signature = field(repr=False)

    def judged(self, wall_now: float) -> Outcome:
        """Say what it means, without a secret that the server quotes.

        Args:
            wall_now: Seconds since 1970, for a `Retry-After` that is a date.
        """
        body = self.body
        for secret in self.signature.secrets:
            body = body.replace(secret, b"[secret]")
        return judge(self.status, self.fields, body, cut=self.cut, wall_now=wall_now)

    def with_body(self, body: bytes) -> Reply:
        """The same reply with another body."""
        return replace(self, body=body)


async def read_body(answer: ClientResponse, largest: int) -> tuple[bytes, Cut | None]:
    """Read a body, but no more than `largest` bytes of it."""
    body = bytearray()
    try:
        while not answer.content.at_eof():
            body += await answer.content.readany()
            if len(body) > largest:
                answer.close()
                return b"", Cut.TOO_LARGE
    except ClientPayloadError:
        return b"", Cut.TRUNCATED
    return bytes(body), None
