"""Secrets: read from where the configuration says they are, trimmed, and never shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from keepalive.cloudflare.auth import ApiKey, ApiToken, Credential, UserServiceKey
from keepalive.config.environment import first_directory
from keepalive.config.report import Report
from keepalive.config.settings import FORMS, SECRETS, CredentialSettings
from keepalive.config.text import read_text
from keepalive.config.wording import WrongValueError, quote, shown

NAME = re.compile(r"[a-z0-9_]+", re.ASCII)
"""What a credential or a rate group may be called: names end up in variables and metrics."""

LARGEST = 64 * 1024
"""Bytes of a file that holds a secret; Cloudflare's have about forty."""

_CARRIED = re.compile(r"[!-~]+", re.ASCII)
"""What an HTTP header can carry of a secret: visible ASCII, no blanks."""


Mark = tuple[int, ...]
"""What tells one version of a file from the next; empty where there is none to look at."""


def mark(path: Path) -> Mark:
    """Look which version of a file is there; another owner or mode is another version."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # the latter for what is no name of a file
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


@dataclass(slots=True)
class Keyring:
    """The credentials that could be read, and the files whose change means new ones, as they were before."""

    credentials: dict[str, Credential] = field(default_factory=dict)
    files: dict[Path, Mark] = field(default_factory=dict)


def read_credentials(
    settings: Mapping[str, CredentialSettings], environ: Mapping[str, str], cwd: Path, report: Report
) -> Keyring:
    """Read every credential. What is wrong with one joins the report, and the others are still read."""
    reader = _Reader(environ, cwd, report)
    for name, table in settings.items():
        if not NAME.fullmatch(name):
            hint = "name it with lower-case letters, digits and underscores"
            report.fault(("credentials", name), f"{quote(name)} is not a name for a credential", hint)
        if (credential := reader.credential(name, table)) is not None:
            reader.keyring.credentials[name] = credential
    return reader.keyring


class _Reader:
    """Reads credentials, one after the other."""

    def __init__(self, environ: Mapping[str, str], cwd: Path, report: Report) -> None:
        self.keyring = Keyring()
        self._environ, self._cwd, self._report = environ, cwd, report

    def credential(self, name: str, table: CredentialSettings) -> Credential | None:
        """Read one credential, or None where the report now says what is wrong with it."""
        keys = given_forms(table)
        schemes = {scheme_of(key): key for key in keys}
        if len(keys) != 1:
            self._count(name, list(schemes), keys)
            return None
        ((scheme, key),) = schemes.items()
        email = self._email(name, table, scheme, key)
        try:
            secret = self._read(key, getattr(table, key))
        except WrongValueError as wrong:
            self._report.fault(("credentials", name, key), wrong.found, wrong.hint)
            return None
        if scheme == "api_token":
            return ApiToken(secret)
        if scheme == "user_service_key":
            return UserServiceKey(secret)
        return ApiKey(email, secret) if email else None

    def _count(self, name: str, schemes: list[str], keys: list[str]) -> None:
        """Say that there is not exactly one secret; silent where a misspelt key is the reason."""
        if len(schemes) > 1:
            found, hint = f"two schemes at once, {' and '.join(schemes)}", "keep one of them"
        elif keys:
            found, hint = f"one secret in several forms, {' and '.join(keys)}", "keep one of them"
        elif self._report.spoilt_below("credentials", name):
            return
        else:
            found = "no secret"
            hint = f"give one of {', '.join(SECRETS)}, or its form with _file, _env or _credential"
        self._report.fault(("credentials", name, *keys[:1]), found, hint)

    def _email(self, name: str, table: CredentialSettings, scheme: str, key: str) -> SecretStr | None:
        if scheme != "api_key":
            if table.email is not None:
                found = f"an e-mail address beside {scheme}"
                self._report.fault(
                    ("credentials", name, "email"), found, "leave it out: only api_key needs one"
                )
            return None
        if table.email is None:
            if not self._report.spoilt("credentials", name, "email"):
                hint = "add `email`, or set CLOUDFLARE_EMAIL beside CLOUDFLARE_API_KEY"
                self._report.fault(("credentials", name, key), "an api_key without its e-mail address", hint)
            return None
        try:
            return _clean(table.email.get_secret_value(), "e-mail address")
        except WrongValueError as wrong:
            self._report.fault(("credentials", name, "email"), wrong.found, wrong.hint)
            return None

    def _read(self, key: str, value: SecretStr | str) -> SecretStr:
        if isinstance(value, SecretStr):
            return _clean(value.get_secret_value())
        if key.endswith("_file"):
            return self._read_file(Path(value))
        if key.endswith("_env"):
            if value not in self._environ:
                raise WrongValueError(f"the variable {quote(value)} is not set", "set it, or name another")
            return _clean(self._environ[value])
        directory = first_directory(self._environ, "CREDENTIALS_DIRECTORY")
        if directory is None:
            hint = "add LoadCredential= to the systemd unit, or use the form with _file"
            raise WrongValueError("systemd gave no credentials: $CREDENTIALS_DIRECTORY is not set", hint)
        if not value or "/" in value or value in (".", ".."):
            raise WrongValueError(f"{quote(value)} is not the name of a credential", "write its bare name")
        return self._read_file(directory / value)

    def _read_file(self, path: Path) -> SecretStr:
        self.keyring.files.setdefault(path, mark(path))
        try:
            return _clean(read_text(path, LARGEST))
        except WrongValueError as wrong:
            raise WrongValueError(f"in {quote(shown(path, self._cwd))}, {wrong.found}", wrong.hint) from None
        except ValueError as error:
            hint = "write the secret, and nothing else, into a file with mode 0600"
            if "~" in path.parts:
                hint = "write the whole path: ~ stands for no home here"
            raise WrongValueError(f"the file {quote(shown(path, self._cwd))} {error}", hint) from None


def given_forms(table: CredentialSettings) -> list[str]:
    """The keys of a credential that give a secret, in whatever form."""
    forms = [f"{secret}{form}" for secret in SECRETS for form in FORMS]
    return [key for key in forms if getattr(table, key) is not None]


def scheme_of(key: str) -> str:
    """The secret that a key such as `api_token_file` gives: `api_token`."""
    return next(secret for secret in SECRETS if key.startswith(secret))


def _clean(text: str, what: str = "secret") -> SecretStr:
    trimmed = text.strip()
    if not trimmed:
        raise WrongValueError(f"the {what} is empty", f"put the {what} there, and nothing else")
    if not _CARRIED.fullmatch(trimmed):
        found = f"the {what} holds a blank, a line break or a character that no header can carry"
        raise WrongValueError(found, f"put the bare {what} there, without a name before it")
    return SecretStr(trimmed)
