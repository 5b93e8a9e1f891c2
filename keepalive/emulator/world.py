"""The world that the emulator plays: users with their credentials, accounts with their scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

from keepalive.emulator.quota import PER_ADDRESS, PER_USER, Quota

TOKEN = "emulated-token"  # noqa: S105 - made up: it opens nothing but this emulator
ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
SCRIPTS = ("api", "web")


class Scheme(StrEnum):
    """The three ways to sign a request."""

    API_TOKEN = "api_token"  # noqa: S105 - the name of a scheme
    API_KEY = "api_key"
    USER_SERVICE_KEY = "user_service_key"


class TokenStatus(StrEnum):
    """What token verification says of a token; only an active one opens anything."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"


class Signature(NamedTuple):
    """What a request is signed with. It holds the secret: never print it."""

    scheme: Scheme
    secret: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential of a user.

    Attributes:
        signature: What a request must carry.
        may_write: Whether it has the permission Workers Observability Write.
        accounts: The accounts it is allowed for, or None for every one.
        status: What token verification says of it.
        expires_on: The date that token verification names, in ISO 8601, or None.
    """

    signature: Signature = field(repr=False)
    may_write: bool = True
    accounts: frozenset[str] | None = None
    status: TokenStatus = TokenStatus.ACTIVE
    expires_on: str | None = None

    @classmethod
    def api_token(cls, token: str) -> Self:
        """Make a credential for `Authorization: Bearer <token>`."""
        return cls(Signature(Scheme.API_TOKEN, token))

    @classmethod
    def api_key(cls, email: str, key: str) -> Self:
        """Make a credential for `X-Auth-Email` and `X-Auth-Key`."""
        return cls(Signature(Scheme.API_KEY, key, email))

    @classmethod
    def user_service_key(cls, key: str) -> Self:
        """Make a credential for `X-Auth-User-Service-Key`."""
        return cls(Signature(Scheme.USER_SERVICE_KEY, key))


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with one quota over all credentials.

    An account-owned token has a quota of its own: it is a user of its own here.

    Attributes:
        name: How faults, records and tallies call this user.
        credentials: Everything that signs for this user.
        quota: What all those credentials may send together.
        owner: The account that owns these tokens, or None for tokens of a person.
    """

    name: str
    credentials: tuple[Credential, ...]
    quota: Quota = PER_USER
    owner: str | None = None


class Holder(NamedTuple):
    """A credential that was recognised, with its user."""

    user: User
    credential: Credential


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is so before the first request arrives.

    Attributes:
        users: Who may call.
        accounts: The script names of each account, by account id.
        window: Emulated seconds that one accepted heartbeat lasts.
        per_address: The limit of one address, over all users.
        events_per_second: How many events each script logs in a second of real time; 0 logs none.
        indexing_lag: Emulated seconds until an event can be queried.
    """

    users: tuple[User, ...]
    accounts: Mapping[str, frozenset[str]]
    window: float = 45.0
    per_address: Quota = PER_ADDRESS
    events_per_second: float = 1.0
    indexing_lag: float = 5.0

    @classmethod
    def simple(
        cls,
        *,
        token: str = TOKEN,
        account_id: str = ACCOUNT_ID,
        scripts: Iterable[str] = SCRIPTS,
        quota: Quota = PER_USER,
        window: float = 45.0,
    ) -> Self:
        """Make a world of one user (called `user`) with one API token, and one account."""
        return cls(
            users=(User("user", (Credential.api_token(token),), quota),),
            accounts={account_id: frozenset(scripts)},
            window=window,
        )

    def holder(self, signature: Signature) -> Holder | None:
        """Say whose signature this is, or None if nobody's."""
        for user in self.users:
            for credential in user.credentials:
                if credential.signature == signature:
                    return Holder(user, credential)
        return None
