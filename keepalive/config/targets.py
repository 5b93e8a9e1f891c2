"""The targets: every account and script to keep eligible, in order of priority."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from keepalive.config.fleet import Row, parse_fleet
from keepalive.config.positions import KeyPath
from keepalive.config.report import Report
from keepalive.config.settings import TargetSettings
from keepalive.config.text import read_text
from keepalive.config.wording import did_you_mean, quote, shown
from keepalive.core.target import Target
from keepalive.errors import ConfigFault

PLACEHOLDER = "0" * 32
"""The account id that `init` writes where it knows none."""

ACCOUNT_HINT = (
    "write the 32 lower-case hexadecimal digits that follow dash.cloudflare.com/ in the dashboard's address"
)
LONGEST_SCRIPT = 255

LARGEST_FLEET = 256 * 1024 * 1024
"""Bytes of a fleet file: some millions of targets, more than all the users of one address can hold."""

_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


def account_problem(text: str) -> str:
    """Say what is wrong with an account id, or "". The text is not shown: it may be a token gone astray."""
    if _ACCOUNT_ID.fullmatch(text):
        return ""
    if not text:
        return "the account id is empty"
    if len(text) != 32:
        return f"an account id has 32 characters, this has {len(text)}"
    if _ACCOUNT_ID.fullmatch(text.lower()):
        return "the account id has upper-case letters"
    return "the account id has characters other than 0-9 and a-f"


def script_problem(text: str) -> tuple[str, str] | None:
    """Say what is wrong with a script name, and what to write instead; None for a good one."""
    if not text:
        return "a script name is empty", "name the Worker, or write account_wide = true"
    if "/" in text:
        return f"{quote(text)} has a slash", "write the Worker's bare name; its account stands in account_id"
    if not text.isprintable():
        return f"{quote(text)} has a line break or a control character", "write the Worker's bare name"
    if text != text.strip():
        return f"{quote(text)} begins or ends with a blank", "take the blank away"
    if len(text) > LONGEST_SCRIPT:
        return f"a script name of {len(text)} characters", f"write at most {LONGEST_SCRIPT}"
    return None


class _Place(NamedTuple):
    """Where something about a target is written.

    Attributes:
        path: The key in the configuration.
        row: The line of a fleet file, or 0.
        file: The fleet file's name, or "".
    """

    path: KeyPath
    row: int = 0
    file: str = ""


def read_targets(
    settings: Sequence[TargetSettings], credentials: Iterable[str], cwd: Path, report: Report
) -> tuple[Target, ...]:
    """Read all targets, in order. What is wrong with one joins the report, and the others are still read.

    Args:
        settings: The `[[targets]]` tables.
        credentials: Names that targets may refer to, whether their secrets could be read or not.
        cwd: The working directory, which file names are shown against.
        report: Takes the faults.
    """
    roster = _Roster(sorted(credentials), cwd, report)
    for index, table in enumerate(settings):
        if table.file is None:
            roster.add_table(("targets", index), table)
        else:
            roster.add_file(("targets", index), table, Path(table.file))
    return tuple(roster.targets)


class _Roster:
    """Collects targets, and knows where each was first named."""

    def __init__(self, credentials: list[str], cwd: Path, report: Report) -> None:
        self.targets: dict[Target, _Place] = {}
        self._credentials, self._cwd, self._report = credentials, cwd, report

    def add_table(self, path: KeyPath, table: TargetSettings) -> None:
        """Add what one `[[targets]]` table lists."""
        spoilt = self._report.spoilt
        credential = self._credential(table.credential, path)
        account = self._account(table.account_id, path)
        if not (
            table.scripts or table.account_wide or spoilt(*path, "scripts") or spoilt(*path, "account_wide")
        ):
            self._report.fault(
                path, "neither scripts nor account_wide", 'write scripts = ["…"] or account_wide = true'
            )
        if table.account_wide:
            self._add(credential, account, None, _Place((*path, "account_wide")))
        for number, script in enumerate(table.scripts):
            place = _Place((*path, "scripts", number))
            if wrong := script_problem(script):
                self._fault(place, *wrong)
            else:
                self._add(credential, account, script, place)

    def _account(self, account: str | None, path: KeyPath) -> str | None:
        key = (*path, "account_id")
        if account is None:
            if not self._report.spoilt(*key):
                self._report.fault(path, "no account_id", ACCOUNT_HINT)
            return None
        if problem := account_problem(account):
            self._report.fault(key, problem, ACCOUNT_HINT)
            return None
        if account == PLACEHOLDER:
            self._report.warn(key, "zeros stand for your account", ACCOUNT_HINT)
        return account

    def add_file(self, path: KeyPath, table: TargetSettings, file: Path) -> None:
        """Add what a fleet file lists."""
        for key, value in (
            ("account_id", table.account_id),
            ("scripts", table.scripts),
            ("account_wide", table.account_wide),
        ):
            if value:
                hint = "leave it out: the file names accounts and scripts"
                self._report.fault((*path, key), f"{key} beside a file", hint)
        name = shown(file, self._cwd)
        try:
            text = read_text(file, LARGEST_FLEET)
        except ValueError as error:
            hint = "name a CSV file with the header account_id,script"
            self._report.fault((*path, "file"), f"the file {quote(name)} {error}", hint)
            return
        fleet = parse_fleet(text, name)
        self._report.faults.extend(fleet.faults)
        if not fleet.rows and not fleet.faults:
            self._report.warn(
                (*path, "file"), f"the file {quote(name)} lists no targets", "add some, or leave it out"
            )
        default = None
        if table.credential is not None or not fleet.names_credentials:
            default = self._credential(table.credential, path)
        for row in fleet.rows:
            self._add_row(
                row, default, fleet_names=fleet.names_credentials, place=_Place(path, row.line, name)
            )

    def _add_row(self, row: Row, default: str | None, *, fleet_names: bool, place: _Place) -> None:
        credential = default
        if row.credential or (fleet_names and default is None):
            credential = self._credential(row.credential or None, place)
        problem = account_problem(row.account_id)
        if problem:
            self._fault(place, problem, ACCOUNT_HINT, "account_id")
        wrong = script_problem(row.script) if row.script else None
        if wrong:
            self._fault(place, *wrong, "script")
        if not problem and not wrong:
            self._add(credential, row.account_id, row.script or None, place)

    def _add(self, credential: str | None, account: str | None, script: str | None, place: _Place) -> None:
        if credential is None or account is None:
            return
        target = Target(credential, account, script)
        first = self.targets.setdefault(target, place)
        if first is not place:
            self._fault(place, f"a target twice, first at {self._where(first)}", "list it once")

    def _credential(self, name: str | None, place: _Place | KeyPath) -> str | None:
        known = self._credentials
        at = place if isinstance(place, _Place) else _Place((*place, "credential"))
        if name in known:
            return name
        if name is not None:
            otherwise = f"write one of {', '.join(known)}" if known else f"add a table [credentials.{name}]"
            self._fault(
                at,
                f"there is no credential {quote(name)}",
                did_you_mean(name, known, otherwise),
                "credential",
            )
        elif len(known) == 1:
            return known[0]
        elif known and not self._report.spoilt(*at.path):
            self._fault(
                at,
                "names no credential, and there are several",
                f"write one of {', '.join(known)}",
                "credential",
            )
        return None

    def _fault(self, place: _Place, found: str, hint: str, column: str = "") -> None:
        if place.row:
            self._report.faults.append(ConfigFault(self._where(place), column, found, hint))
        else:
            self._report.fault(place.path, found, hint)

    def _where(self, place: _Place) -> str:
        if place.row:
            return f"{place.file}:{place.row}"
        return self._report.place(place.path)
