"""`keepalive init`: writes a commented configuration, and says what to do next."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from keepalive.cli.options import Options, working_directory
from keepalive.config.file import NAME
from keepalive.config.targets import ACCOUNT_HINT, account_problem
from keepalive.config.template import TOKEN_FILE, render, token_link
from keepalive.config.wrangler import Project, find_project
from keepalive.errors import ConfigError, ConfigFault, KeepaliveError


def init(
    options: Options,
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Write a commented configuration.

    It takes the account and the scripts from wrangler.toml or wrangler.jsonc where there is one, environments
    too. It writes ./keepalive.toml, or the file that --config names, and never a secret.

    Example: keepalive init --config ~/.config/keepalive/keepalive.toml
    """
    file = options.config or Path(NAME)
    project = find_project(working_directory(options.config))
    workers = project.workers if project else ()
    account = _account(project)
    write_new(file, render(workers, account), overwrite=force)
    accounts = {owner or account for owner, _ in workers} or {account}
    _say_what_next(
        file, project, accounts.pop() if len(accounts) == 1 else None, explicit=options.config is not None
    )


def _account(project: Project | None) -> str | None:
    """The account of the project, else the one that Cloudflare's tools use here, else None."""
    named = next((owner for owner, _ in project.workers if owner), None) if project else None
    account = named or os.environ.get("CLOUDFLARE_ACCOUNT_ID") or None
    if account and (problem := account_problem(account)):
        raise ConfigError((ConfigFault("$CLOUDFLARE_ACCOUNT_ID", "", problem, ACCOUNT_HINT),))
    return account


def write_new(file: Path, text: str, *, overwrite: bool) -> None:
    """Write a file that only its owner can read; it is there as a whole or not at all.

    Raises:
        KeepaliveError: It exists and may not be overwritten, or cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    except OSError as error:
        raise KeepaliveError(
            f"{file}: cannot be written ({error.strerror}); name another place with --config"
        ) from None
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            draft.replace(file)
        else:
            file.hardlink_to(draft)
    except FileExistsError:
        raise KeepaliveError(f"{file} exists already; --force overwrites it") from None
    except OSError as error:
        raise KeepaliveError(
            f"{file}: cannot be written ({error.strerror}); name another place with --config"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def _say_what_next(file: Path, project: Project | None, account: str | None, *, explicit: bool) -> None:
    token = file.parent / TOKEN_FILE
    named = f" --config {file}" if explicit else ""
    if project and project.workers:
        scripts = ", ".join(script for _, script in project.workers)
        typer.echo(f"Wrote {file}; the scripts are from {project.file.name}: {scripts}")
    else:
        typer.echo(f"Wrote {file}")
    if account is None:
        typer.echo("\nPut your account id into it: the zeros there only stand for one.")
    typer.echo(
        f"""
1. Create a token, as the user who opens the live tail:
   {token_link(account)}
   It needs Account > Workers Observability > Edit. Cloudflare's list of link keys does not name that one
   permission: if the form opens without it, pick it there.
2. Put the token, and nothing else, into {token}, readable only by you:
   (umask 077 && cat > {token})
3. keepalive check{named}
4. keepalive run{named}"""
    )
