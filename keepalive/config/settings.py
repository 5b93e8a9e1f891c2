"""The settings: every key of the configuration, with its type, unit, default and reason.

Types are strict: `jitter = true` or `requests = "1200"` is a fault. What is said here holds for one value;
what has to fit together is checked in `configuration`, so that one fault never hides another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from keepalive.config.duration import HINT, parse_duration
from keepalive.config.wording import WrongValueError, kind, quote
from keepalive.core.plan import Policy, Quota

_POLICY, _QUOTA = Policy(), Quota()

CLOUDFLARE = "https://api.cloudflare.com/client/v4"

SECRETS = ("api_token", "api_key", "user_service_key")
"""One per scheme of Cloudflare's reference."""

FORMS = ("", "_file", "_env", "_credential")
"""How a secret can be given: the value itself, or where it is."""

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_LISTEN = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+):(\d{1,5})", re.ASCII | re.IGNORECASE)
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)


def _duration(value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        found = quote(value) if isinstance(value, str | int | float) else kind(value)
        raise WrongValueError(f"{found} {error}", HINT) from None


def _at_least_a_second(seconds: float) -> float:
    if seconds < 1:
        raise WrongValueError(
            f"{seconds:g} s is too short for a window", 'write at least "1s"; 45s is assumed by default'
        )
    return seconds


def _at_least_a_tick(seconds: float) -> float:
    if seconds < 0.1:
        raise WrongValueError(
            f"{seconds:g} s is too short for an interval", 'write at least "100ms"; 15s is the default'
        )
    return seconds


def _at_least_a_second_of_quota(seconds: float) -> float:
    if seconds < 1:
        raise WrongValueError(
            f"{seconds:g} s is too short for a quota", 'write at least "1s"; Cloudflare counts in "5m"'
        )
    return seconds


def is_loopback(host: str) -> bool:
    """Say whether a host, as it stands in a URL, can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _base_url(text: str) -> str:
    hint = f'write "{CLOUDFLARE}", or leave it out'
    try:
        url = URL(text)
        host = url.host
        _ = url.port
    except ValueError:
        raise WrongValueError(f"{quote(text)} is not a URL", hint) from None
    if (
        not text.isprintable()
        or any(mark in text for mark in " \\")
        or url.scheme not in ("https", "http")
        or not host
    ):
        raise WrongValueError(f"{quote(text)} is not an https:// URL", hint)
    if url.user is not None or url.password is not None:
        raise WrongValueError(
            "the URL holds a user name or a password", "leave them out: [credentials] sign the requests"
        )
    if url.query_string or url.fragment:
        raise WrongValueError(f"{quote(text)} has a query or a fragment", hint)
    if url.scheme == "http" and not is_loopback(host):
        raise WrongValueError(
            f"http:// to {quote(host)} would send the credentials in the clear",
            "write https://; http:// is accepted on loopback only",
        )
    return text.rstrip("/")


def _live_tail_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise WrongValueError(
            f"{quote(text)} is not a host name", 'write a bare name such as "tail.example.com"'
        )
    return text.lower()


def _listen(text: str) -> str:
    found = _LISTEN.fullmatch(text)
    if text and (found is None or int(found[2]) > 65_535):
        raise WrongValueError(
            f"{quote(text)} is not an address and a port", 'write "127.0.0.1:9786", or "" for off'
        )
    return text


def _mode(text: str) -> str:
    if not _MODE.fullmatch(text):
        raise WrongValueError(
            f"{quote(text)} is not a file mode", 'write three or four octal digits in quotes: "0600"'
        )
    return text


Duration = Annotated[float, BeforeValidator(_duration)]
"""Seconds; written as `"15s"` or as a number."""


class Section(BaseModel):
    """One table of the file: frozen, strict, and without unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class HeartbeatSettings(Section):
    """How targets are kept eligible."""

    window: Annotated[Duration, AfterValidator(_at_least_a_second)] = _POLICY.window
    """Seconds that an accepted heartbeat is assumed to last; Cloudflare does not say, clients suggest 45."""

    window_calibrated: bool = False
    """True where that window was measured (`keepalive calibrate`), so that nothing calls it assumed."""

    interval: Annotated[Duration, AfterValidator(_at_least_a_tick)] = Field(
        default_factory=lambda section: float(section["window"]) / 3
    )
    """Seconds between heartbeats, at most half the window; a third of it lets two beats be lost."""

    jitter: float = Field(default=_POLICY.jitter, ge=0, le=0.5)
    """Part of the interval by which a beat may come early, so that targets do not march in step."""


class CloudflareSettings(Section):
    """Where the API is, and what it bears."""

    base_url: Annotated[str, AfterValidator(_base_url)] = CLOUDFLARE
    """The API's address, without a slash at the end; plain http, on loopback only, would show the token."""

    ca_file: str = ""
    """A CA bundle in PEM form for a proxy that inspects TLS; "" trusts the system's."""

    live_tail_hosts: tuple[Annotated[str, AfterValidator(_live_tail_host)], ...] = Field(
        default=(), strict=False
    )
    """Hosts besides Cloudflare's own that a `wsUrl` may name; anything else is not trusted."""

    max_requests_per_second: float = Field(default=200.0, ge=0.1, le=1_000_000)
    """Requests per second over all rate groups: Cloudflare's limit for one address, whoever the user is."""


class CredentialSettings(Section):
    """One set of auth headers. Each secret is given in exactly one form."""

    api_token: SecretStr | None = None
    """An API token, literally. A file is better: the configuration can then be shown to others."""
    api_token_file: str | None = None
    """The file that holds it."""
    api_token_env: str | None = None
    """The environment variable that holds it."""
    api_token_credential: str | None = None
    """The systemd credential that holds it."""

    email: SecretStr | None = None
    """The address that belongs to a global API key; never logged."""
    api_key: SecretStr | None = None
    """A global API key (legacy), literally."""
    api_key_file: str | None = None
    """The file that holds it."""
    api_key_env: str | None = None
    """The environment variable that holds it."""
    api_key_credential: str | None = None
    """The systemd credential that holds it."""

    user_service_key: SecretStr | None = None
    """A user service key, literally."""
    user_service_key_file: str | None = None
    """The file that holds it."""
    user_service_key_env: str | None = None
    """The environment variable that holds it."""
    user_service_key_credential: str | None = None
    """The systemd credential that holds it."""

    rate_group: str = "default"
    """Whose quota it uses: credentials of one Cloudflare user share one group."""


class RateGroupSettings(Section):
    """The quota of one Cloudflare user or account-owned token."""

    requests: int = Field(default=_QUOTA.requests, ge=1, le=1_000_000_000)
    """Requests that Cloudflare allows per period; 1,200 unless a plan has more."""

    period: Annotated[Duration, AfterValidator(_at_least_a_second_of_quota)] = _QUOTA.period
    """Seconds that the quota spans; five minutes with Cloudflare."""

    share: float = Field(default=_QUOTA.share, gt=0, le=1)
    """Part of the quota that keepalive may use; the rest is for humans and CI."""


class TargetSettings(Section):
    """Some targets of one account, or a file of them."""

    credential: str | None = None
    """The credential that speaks for them; may be left out when there is one."""

    account_id: str | None = None
    """The account's 32 lower-case hexadecimal digits."""

    scripts: tuple[str, ...] = Field(default=(), strict=False)
    """Names of Worker scripts."""

    account_wide: bool = False
    """True for the account as a whole (the heartbeat then names no script)."""

    file: str | None = None
    """A CSV file with the header `account_id,script[,credential]`; an empty script is account-wide."""


class LogSettings(Section):
    """What is written to stderr."""

    format: Literal["auto", "json", "console"] = "auto"
    """auto is console on a terminal, else json."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written; debug has a line per attempt."""


class StateSettings(Section):
    """What survives a restart."""

    path: str = ""
    """The state file; "" keeps none, and a restart then renews everybody at once."""


class HttpSettings(Section):
    """Probes and metrics over TCP."""

    listen: Annotated[str, AfterValidator(_listen)] = ""
    """Address and port; "" opens none."""


class ControlSettings(Section):
    """The socket that `status`, `reload` and leases speak to."""

    socket: str = ""
    """Path of the Unix socket; "" opens none."""

    mode: Annotated[str, AfterValidator(_mode)] = "0600"
    """File mode of the socket: whoever may open it may rule the daemon."""


class Settings(BaseSettings):
    """The whole configuration, validated key by key."""

    model_config = SettingsConfigDict(frozen=True, strict=True, extra="forbid")

    heartbeat: HeartbeatSettings = HeartbeatSettings()
    cloudflare: CloudflareSettings = CloudflareSettings()
    credentials: Mapping[str, CredentialSettings] = Field(default_factory=dict)
    rate_groups: Mapping[str, RateGroupSettings] = Field(default_factory=dict)
    targets: tuple[TargetSettings, ...] = Field(default=(), strict=False)
    log: LogSettings = LogSettings()
    state: StateSettings = StateSettings()
    http: HttpSettings = HttpSettings()
    control: ControlSettings = ControlSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what the caller hands over, and none of the stock sources."""
        # They ignore unknown variables and a missing file, and stop at the first fault.
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
