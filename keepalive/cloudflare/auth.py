"""A credential: one set of auth headers, by one of the three schemes of Cloudflare's API reference."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token, the preferred scheme: `Authorization: Bearer …`."""

    token: SecretStr

    def headers(self) -> dict[str, str]:
        """The headers that sign a request. They hold the secret: never log them."""
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The legacy global API key with its e-mail address: `X-Auth-Email` and `X-Auth-Key`."""

    email: SecretStr
    key: SecretStr

    def headers(self) -> dict[str, str]:
        """The headers that sign a request. They hold the secret: never log them."""
        return {"X-Auth-Email": self.email.get_secret_value(), "X-Auth-Key": self.key.get_secret_value()}


@dataclass(frozen=True, slots=True)
class UserServiceKey:
    """A user service key: `X-Auth-User-Service-Key`."""

    key: SecretStr

    def headers(self) -> dict[str, str]:
        """The headers that sign a request. They hold the secret: never log them."""
        return {"X-Auth-User-Service-Key": self.key.get_secret_value()}


Credential = ApiToken | ApiKey | UserServiceKey
