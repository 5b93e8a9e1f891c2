"""A reference: how a target is named at run time, `[ACCOUNT/]SCRIPT`."""

from __future__ import annotations

from keepalive.config.configuration import Configuration
from keepalive.config.targets import ACCOUNT_HINT, account_problem, script_problem
from keepalive.config.wording import did_you_mean, quote
from keepalive.core.target import Target
from keepalive.errors import TargetError


def resolve(text: str, credential: str | None, configuration: Configuration) -> Target:
    """Say which target is meant.

    Args:
        text: `ACCOUNT/SCRIPT`; `SCRIPT` alone where the configuration's targets have one account; `ACCOUNT/`
            is the whole account.
        credential: Who speaks for it; None where it can be told from the configuration.
        configuration: Knows the credentials, and the account where there is one.

    Raises:
        TargetError: Nothing is meant by it, or it is not clear what.
    """
    account, slash, script = text.rpartition("/")
    planned = [target for group in configuration.plan.values() for target in group.targets]
    if not slash:
        accounts = {target.account_id for target in planned}
        if len(accounts) != 1:
            known = "no account" if not accounts else f"{len(accounts)} accounts"
            raise TargetError(
                f"{quote(text)} names no account, and the configuration has {known}",
                "write ACCOUNT/SCRIPT",
            )
        (account,) = accounts
    if wrong := account_problem(account):
        raise TargetError(f"{quote(script or 'the whole account')}: {wrong}", ACCOUNT_HINT)
    if (script or not slash) and (problem := script_problem(script)):
        raise TargetError(*problem)
    return Target(_speaker(account, credential, planned, configuration), account, script or None)


def _speaker(
    account: str, credential: str | None, planned: list[Target], configuration: Configuration
) -> str:
    names = configuration.settings.credentials.keys()
    if credential is not None:
        if credential not in names:
            hint = did_you_mean(credential, names, f"known here: {', '.join(names)}")
            raise TargetError(f"there is no credential {quote(credential)}", hint)
        return credential
    speakers = {target.credential for target in planned if target.account_id == account} or set(names)
    if len(speakers) != 1:
        found = f"{len(speakers)} credentials may speak for the account {account}"
        raise TargetError(found, f"name one of them: {', '.join(sorted(speakers))}")
    return speakers.pop()
