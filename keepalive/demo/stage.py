"""The stage: the users, accounts and scripts of the demo, as the emulator and as a configuration see them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from keepalive.config import Configuration, load
from keepalive.config.duration import format_duration
from keepalive.emulator import Credential, Place, Quota, User, World

SPEED = 5.0
"""Emulated seconds in a real one: the window of 45 s takes 9 s, the quota's five minutes take one."""

WINDOW = 45.0
INTERVAL = 15.0
NAIVE_INTERVAL = 25.0
"""Emulated seconds; the naive loop beats as hand-written scripts do."""

QUOTA = Quota()
NAIVE = "naive"
WHOLE_ACCOUNT = "(account)"

_EMAIL = "ops@example.com"
_SECRETS = {
    "PROD_TOKEN": "made-up-token-of-prod",
    "BILLING_KEY": "made-up-key-of-billing",
    "EDGE_SERVICE_KEY": "v1.0-made-up-key-of-edge",
}
NAIVE_TOKEN = "made-up-token-of-naive"  # noqa: S105 - made up: it opens nothing but the emulator


@dataclass(frozen=True, slots=True)
class Account:
    """An account with its scripts. The credential that speaks for it is a user and a rate group of its own.

    `scripts` is empty for the account as a whole.
    """

    credential: str
    account_id: str
    scripts: tuple[str, ...] = ()


ACCOUNTS = (
    Account("prod", "3f0c5a7d9e1b4682a0c4e6f8135792bd", ("api", "web", "auth", "images")),
    Account("billing", "b81d24f6907e4c53a1689bd0e2f47c35", ("invoices", "payments", "ledger", "mailer")),
    Account("edge", "70a9c3e5d1f24b868e02b4d6f8917a3c", ("router", "cache", "geo")),
    Account("edge", "c5e7092b4d6f48a1b3d5f7092e4c6a81"),
)
CREDENTIALS = tuple(dict.fromkeys(account.credential for account in ACCOUNTS))


def places(user: str) -> Iterator[Place]:
    """Everything that `user` has to keep eligible: all of the stage for the naive loop, else its own."""
    for account in ACCOUNTS:
        if user in (NAIVE, account.credential):
            for script in account.scripts or (None,):
                yield Place(user, account.account_id, script)


def world() -> World:
    """The stage as the emulator sees it."""
    credentials = {
        "prod": Credential.api_token(_SECRETS["PROD_TOKEN"]),
        "billing": Credential.api_key(_EMAIL, _SECRETS["BILLING_KEY"]),
        "edge": Credential.user_service_key(_SECRETS["EDGE_SERVICE_KEY"]),
        NAIVE: Credential.api_token(NAIVE_TOKEN),
    }
    return World(
        users=tuple(User(name, (credential,), QUOTA) for name, credential in credentials.items()),
        accounts={account.account_id: frozenset(account.scripts) for account in ACCOUNTS},
        window=WINDOW,
        events_per_second=0.0,
    )


def configuration(base_url: str, overrides: Mapping[str, str]) -> Configuration:
    """The stage as a configuration, read from a file like every other.

    Args:
        base_url: Where the emulator listens.
        overrides: Dotted keys and their texts, as from the command line.
    """
    with TemporaryDirectory(prefix="keepalive-demo-") as folder:
        file = Path(folder) / "keepalive.toml"
        file.write_text(_toml(base_url), encoding="utf-8")
        return load(file, overrides, _SECRETS, Path(folder))


def _toml(base_url: str) -> str:
    window, interval, period = (format_duration(one / SPEED) for one in (WINDOW, INTERVAL, QUOTA.period))
    groups = "\n".join(
        f'[rate_groups.{name}]\nrequests = {QUOTA.requests}\nperiod = "{period}"' for name in CREDENTIALS
    )
    targets = "\n".join(
        f'[[targets]]\ncredential = "{account.credential}"\naccount_id = "{account.account_id}"\n'
        + (f"scripts = {json.dumps(account.scripts)}" if account.scripts else "account_wide = true")
        for account in ACCOUNTS
    )
    return f"""
[heartbeat]
window = "{window}"
interval = "{interval}"
[cloudflare]
base_url = "{base_url}"
[credentials.prod]
api_token_env = "PROD_TOKEN"
rate_group = "prod"
[credentials.billing]
email = "{_EMAIL}"
api_key_env = "BILLING_KEY"
rate_group = "billing"
[credentials.edge]
user_service_key_env = "EDGE_SERVICE_KEY"
rate_group = "edge"
{groups}
{targets}
"""
