"""The aim of a command: the targets that its arguments name, and the configuration that speaks for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keepalive.cli.options import Options
from keepalive.core.target import Target

if TYPE_CHECKING:
    from keepalive.config import Configuration


def aim(
    options: Options, references: Sequence[str], credential: str | None = None
) -> tuple[Configuration, tuple[Target, ...]]:
    """Read the configuration, and say which targets are meant.

    The account of a reference stands in for a missing `$CLOUDFLARE_ACCOUNT_ID`: with a token in the
    environment `ACCOUNT/SCRIPT` says everything.

    Args:
        options: Where the configuration is.
        references: `[ACCOUNT/]SCRIPT`, as on the command line.
        credential: Who speaks for them; None where the configuration leaves no choice.

    Raises:
        ConfigError: The configuration has faults.
        TargetError: A reference names no target, or it is not clear which.
    """
    from keepalive.config.reference import resolve  # noqa: PLC0415 - `--help` must not wait for pydantic
    from keepalive.config.targets import account_problem  # noqa: PLC0415

    environ = dict(os.environ)
    account = next((reference.rpartition("/")[0] for reference in references if "/" in reference), "")
    if not environ.get("CLOUDFLARE_ACCOUNT_ID") and not account_problem(account):
        environ["CLOUDFLARE_ACCOUNT_ID"] = account
    configuration = options.read(environ)
    named = (resolve(reference, credential, configuration) for reference in references)
    return configuration, tuple(dict.fromkeys(named))
