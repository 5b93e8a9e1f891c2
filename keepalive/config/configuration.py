"""The configuration: what a user asks for, read from every source, checked, and explained."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, SecretStr

from keepalive.cloudflare.auth import Credential
from keepalive.config.duration import format_duration
from keepalive.config.positions import KeyPath
from keepalive.config.report import Report
from keepalive.config.secrets import NAME, Keyring, Mark, read_credentials
from keepalive.config.settings import RateGroupSettings, Settings
from keepalive.config.sources import read_sources
from keepalive.config.targets import read_targets
from keepalive.config.text import read_text
from keepalive.config.wording import did_you_mean, dotted, quote, shown
from keepalive.core.plan import GroupPlan, Plan, Policy, Quota
from keepalive.core.target import Target
from keepalive.errors import ConfigFault

_DURATIONS = ("window", "interval", "period")
_ORIGINS = {"file": "file", "env": "variable", "credential": "systemd credential"}


Value = str | float | bool | list[str]


class Setting(NamedTuple):
    """One effective value and where it comes from.

    Attributes:
        key: The dotted key.
        value: The value, durations as people write them; of a secret only that it is set, and from where.
        source: A file with its line, a variable, an option or `default`.
        secret: True where the value is not shown.
    """

    key: str
    value: Value
    source: str
    secret: bool


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration without faults.

    Attributes:
        settings: Every key's effective value.
        credentials: The secrets, by the credential's name.
        plan: What is to be held, by rate group; the targets in order of priority.
        warnings: What is allowed and yet unwise.
        path: The file that was read, or None.
        secret_files: Files whose change means new secrets, as they were before they were read.
        place: Says where the value of a key comes from.
        reread_secrets: Reads the credentials again, and nothing else; raises ConfigError as `load` does.
    """

    settings: Settings
    credentials: Mapping[str, Credential]
    plan: Plan
    warnings: tuple[ConfigFault, ...]
    path: Path | None
    secret_files: Mapping[Path, Mark]
    place: Callable[[KeyPath], str] = field(repr=False, compare=False)
    reread_secrets: Callable[[], Keyring] = field(repr=False, compare=False)

    def plan_with(self, leased: Iterable[Target]) -> Plan:
        """The plan with more targets behind its own: those that leases bring, in their order.

        One that the plan has already, or whose credential the configuration does not know, is left out.
        """
        wanted = dict.fromkeys(target for group in self.plan.values() for target in group.targets)
        added = {target: None for target in leased if target.credential in self.settings.credentials}
        return _plan(self.settings, tuple(wanted | added)) if added else self.plan

    def rate_group_of(self, credential: str) -> str:
        """The rate group of a credential that the configuration names."""
        return self.settings.credentials[credential].rate_group

    def explain(self) -> Iterator[Setting]:
        """Give every effective value and its source, secrets masked."""
        for path, value, secret in _leaves(self.settings, ()):
            yield Setting(dotted(path), value, self.place(path), secret)


def load(
    config: Path | None, overrides: Mapping[str, str], environ: Mapping[str, str], cwd: Path
) -> Configuration:
    """Read the configuration: command line, environment, file, defaults, the first of them that speaks.

    Args:
        config: The file that `--config` names, or None to look for one.
        overrides: Dotted keys and their texts from the command line, such as `{"log.level": "debug"}`.
        environ: The environment.
        cwd: The working directory, absolute.

    Raises:
        ConfigError: There are faults; all of them are in it, sorted by file and line.
    """
    sources = read_sources(config, overrides, environ, cwd)
    report = Report(sources)
    settings = report.validate()
    _check_window(settings, report)
    _check_interval(settings, report)
    _check_ca_file(settings, cwd, report)
    keyring = read_credentials(settings.credentials, environ, cwd, report)
    names = settings.credentials.keys() | report.spoilt_names("credentials")
    _check_rate_groups(settings, report)
    targets = read_targets(settings.targets, names, cwd, report)
    if sources.complete:
        _check_something_to_do(settings, names, report, found=sources.file is not None)
    if settings.targets and not targets and not report.faults:
        hint = "give at least one of its files a row: account_id,script"
        report.fault(("targets",), "nothing to keep alive: the files of the targets hold none", hint)
    report.conclude()

    def reread_secrets() -> Keyring:
        again = Report(sources)
        fresh = read_credentials(settings.credentials, environ, cwd, again)
        again.conclude()
        return fresh

    return Configuration(
        settings=settings,
        credentials=keyring.credentials,
        plan=_plan(settings, targets),
        warnings=tuple(report.warnings),
        path=sources.file,
        secret_files=keyring.files,
        place=report.source,
        reread_secrets=reread_secrets,
    )


def _check_window(settings: Settings, report: Report) -> None:
    path = ("heartbeat", "window")
    if settings.heartbeat.window_calibrated and not report.spoilt(*path) and report.source(path) == "default":
        hint = 'write the measured one beside it, such as window = "44s"; `keepalive calibrate` prints both'
        report.fault(("heartbeat", "window_calibrated"), "there is no window that was calibrated", hint)


def _check_interval(settings: Settings, report: Report) -> None:
    window, interval = settings.heartbeat.window, settings.heartbeat.interval
    if (
        report.spoilt("heartbeat", "window")
        or report.spoilt("heartbeat", "interval")
        or interval <= window / 2
    ):
        return
    found = f"{format_duration(interval)} is over half the window of {format_duration(window)}"
    hint = f'write at most "{format_duration(window / 2)}": one lost heartbeat must not lapse a target'
    report.fault(("heartbeat", "interval"), found, hint)


def _check_ca_file(settings: Settings, cwd: Path, report: Report) -> None:
    if not settings.cloudflare.ca_file:
        return
    file = Path(settings.cloudflare.ca_file)
    try:
        if file.is_fifo():
            raise ValueError("is a pipe, which can be read only once")  # noqa: TRY301 - told like the others
        read_text(file)
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with suppress(ssl.SSLError):
            trust.load_verify_locations(cafile=file)
        if not trust.cert_store_stats()["x509"]:
            raise ValueError("holds no certificate that can be read")  # noqa: TRY301
    except ValueError as error:
        hint = 'name a file with CA certificates in PEM form, or write "" for the system\'s'
        report.fault(("cloudflare", "ca_file"), f"the file {quote(shown(file, cwd))} {error}", hint)


def _check_rate_groups(settings: Settings, report: Report) -> None:
    used = {"default", *(table.rate_group for table in settings.credentials.values())}
    for name, table in settings.credentials.items():
        if not NAME.fullmatch(table.rate_group):
            hint = "name it with lower-case letters, digits and underscores"
            found = f"{quote(table.rate_group)} is not a name for a rate group"
            report.fault(("credentials", name, "rate_group"), found, hint)
    for name in settings.rate_groups:
        if name not in used and not report.spoilt_below("credentials"):
            report.warn(
                ("rate_groups", name),
                "no credential uses it",
                did_you_mean(name, used, "set rate_group there"),
            )


def _check_something_to_do(settings: Settings, names: set[str], report: Report, *, found: bool) -> None:
    if not settings.targets and not report.spoilt("targets"):
        # A socket by default is no intent: only who asks for one expects leases to bring the targets.
        if settings.control.socket and not report.source(("control", "socket")).startswith("default"):
            return
        if not found and not names and not report.spoilt("credentials"):
            hint = "`keepalive init` writes a file, or set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID"
            report.fault(
                (), "nothing to keep alive: there is no configuration, no file and no variables", hint
            )
            return
        hint = "add [[targets]] to a file (`keepalive init` writes one), or set CLOUDFLARE_ACCOUNT_ID"
        report.fault(("targets",), "nothing to keep alive: no targets, and no [control] socket", hint)
    if not names and not report.spoilt("credentials"):
        hint = "add [credentials.NAME] with api_token_file to a file, or set CLOUDFLARE_API_TOKEN"
        report.fault(("credentials",), "no credential to speak with", hint)


def _plan(settings: Settings, targets: tuple[Target, ...]) -> Plan:
    beat = settings.heartbeat
    policy = Policy(beat.window, beat.interval, beat.jitter)
    groups: dict[str, list[Target]] = {}
    for target in targets:
        groups.setdefault(settings.credentials[target.credential].rate_group, []).append(target)
    return {
        name: GroupPlan(name, tuple(members), policy, _quota(settings.rate_groups.get(name)))
        for name, members in groups.items()
    }


def _quota(table: RateGroupSettings | None) -> Quota:
    return Quota(table.requests, table.period, table.share) if table else Quota()


def _leaves(table: BaseModel, path: KeyPath) -> Iterator[tuple[KeyPath, Value, bool]]:
    for key, value in table:
        here = (*path, key)
        if isinstance(value, BaseModel):
            yield from _leaves(value, here)
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                yield from _leaves(inner, (*here, name))
        elif key == "targets":
            for index, inner in enumerate(value):
                yield from _leaves(inner, (*here, index))
        elif isinstance(value, SecretStr):
            yield here, "set", True
        elif value is not None:
            origin = _ORIGINS.get(key.rpartition("_")[2]) if path[:1] == ("credentials",) else None
            yield (here, f"set, from {origin} {value}", True) if origin else (here, _plain(key, value), False)


def _plain(key: str, value: Value | tuple[str, ...]) -> Value:
    if isinstance(value, tuple):
        return list(value)
    return format_duration(value) if key in _DURATIONS and isinstance(value, float) else value
