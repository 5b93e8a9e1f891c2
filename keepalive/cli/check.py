"""`keepalive check`: what the configuration means, and whether its tokens are good."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from keepalive.cli.loop import run_loop
from keepalive.cli.options import Options, warn
from keepalive.cli.window import about_window
from keepalive.cloudflare.client import CloudflareClient
from keepalive.cloudflare.verification import SOON, TokenActive, TokenUnverifiable
from keepalive.config import Configuration
from keepalive.config.duration import format_duration
from keepalive.control.quota import Lender
from keepalive.core.outcome import Accepted, Denied, Outcome
from keepalive.core.plan import PLANNED_SHARE, Admission, GroupPlan, admit
from keepalive.core.target import Target

SHOWN = 10
"""Targets that are printed; the JSON has all."""

_TIMEOUT = 5.0


class Standing(StrEnum):
    """How a credential stands."""

    ACTIVE = "active"
    EXPIRING = "expiring"
    REJECTED = "rejected"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class CredentialCheck:
    """What became of the question whether a credential is good; `detail` is for people."""

    name: str
    standing: Standing
    detail: str
    expires_on: datetime | None = None


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """What a rate group can hold."""

    plan: GroupPlan
    admission: Admission

    @property
    def planned(self) -> float:
        """Requests per second, without retries."""
        return len(self.admission.admitted) / self.admission.interval

    def room(self, interval: float) -> int:
        """How many targets the quota can hold at an interval."""
        return int(self.plan.quota.rate * PLANNED_SHARE * interval + 1e-9)


def check(
    options: Options,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Send no request at all.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Say what the configuration means and whether its tokens are good; send no heartbeat.

    Exits 1 for a rejected credential, or for targets that the quota cannot hold.

    Example: keepalive check --offline --config keepalive.toml
    """
    configuration = options.read()
    groups = [GroupCheck(plan, admit(plan)) for plan in configuration.plan.values()]
    lender = None if offline else Lender(options.access())
    credentials = run_loop(_verify(configuration, datetime.now(UTC), lender)) if lender else []
    warn(configuration)
    limit = configuration.settings.cloudflare.max_requests_per_second
    overload = sum(group.planned for group in groups) > limit
    if as_json:
        typer.echo(_json(configuration, groups, credentials, lender))
    else:
        for line in (
            *_about_targets(configuration),
            *_about_groups(groups, limit),
            *_about_credentials(credentials, lender),
        ):
            typer.echo(line)
    rejected = any(one.standing is Standing.REJECTED for one in credentials)
    if rejected or overload or any(group.admission.refused for group in groups):
        raise typer.Exit(1)


async def _verify(configuration: Configuration, now: datetime, lender: Lender) -> list[CredentialCheck]:
    """Ask Cloudflare about every credential, all at the same time, once the running daemon has let them."""
    accounts = {
        t.credential: t.account_id for plan in configuration.plan.values() for t in reversed(plan.targets)
    }
    fallback = next(iter(accounts.values()), None)
    cloudflare = configuration.settings.cloudflare
    client = CloudflareClient(
        configuration.credentials, base_url=cloudflare.base_url, ca_file=cloudflare.ca_file or None
    )

    async def ask(name: str) -> CredentialCheck:
        account = accounts.get(name, fallback)
        if account is None:
            return CredentialCheck(name, Standing.UNVERIFIED, "no target names an account to ask about")
        leave = partial(lender.leave, configuration.settings.credentials[name].rate_group)
        return judge_answer(name, await client.verify(name, account, timeout=_TIMEOUT, leave=leave), now)

    async with client:
        return list(await asyncio.gather(*(ask(name) for name in configuration.credentials)))


def judge_answer(
    name: str, answer: TokenActive | TokenUnverifiable | Outcome, now: datetime
) -> CredentialCheck:
    """Say how a credential stands after Cloudflare's answer. Only a refusal is one; silence is not."""
    if isinstance(answer, TokenActive):
        return _judge_end(name, answer.expires_on, now)
    if isinstance(answer, TokenUnverifiable):
        return CredentialCheck(name, Standing.UNVERIFIED, answer.reason)
    if isinstance(answer, Accepted):
        return CredentialCheck(name, Standing.ACTIVE, "accepted")
    fault = answer.fault
    said = "; ".join(part for part in (fault.cause, fault.detail, fault.hint) if part)
    if isinstance(answer, Denied):
        return CredentialCheck(name, Standing.REJECTED, f"rejected ({said})")
    return CredentialCheck(name, Standing.UNVERIFIED, f"Cloudflare could not be asked ({said})")


def _judge_end(name: str, ends: datetime | None, now: datetime) -> CredentialCheck:
    if ends is None:
        return CredentialCheck(name, Standing.ACTIVE, "the token is active and does not expire")
    if ends - now < SOON:
        detail = f"the token expires on {ends:%Y-%m-%d}; make the next one in time"
        return CredentialCheck(name, Standing.EXPIRING, detail, ends)
    return CredentialCheck(name, Standing.ACTIVE, f"the token is active until {ends:%Y-%m-%d}", ends)


def _about_targets(configuration: Configuration) -> Iterable[str]:
    targets = [target for plan in configuration.plan.values() for target in plan.targets]
    heartbeat = configuration.settings.heartbeat
    yield f"configuration  {configuration.path or 'the environment'}"
    yield f"targets        {len(targets):,}"
    for target in targets[:SHOWN]:
        yield f"  {_name(target)}"
    if len(targets) > SHOWN:
        yield f"  … and {len(targets) - SHOWN:,} more"
    yield f"window         {about_window(heartbeat.window, calibrated=heartbeat.window_calibrated)}"


def _about_groups(groups: list[GroupCheck], limit: float) -> Iterable[str]:
    for group in groups:
        plan, admission = group.plan, group.admission
        policy, quota = plan.policy, plan.quota
        yield f"rate group     {plan.name}"
        yield (
            f"  holds {len(admission.admitted):,} of {len(plan.targets):,} targets, each renewed every "
            f"{format_duration(admission.interval)}"
        )
        yield (
            f"  plans {group.planned:.2f} requests/s of {quota.requests / quota.period:.2f}/s "
            f"({quota.requests:,} in {format_duration(quota.period)}; {quota.share:.0%} for keepalive)"
        )
        yield (
            f"  has room for {group.room(policy.interval):,} targets at {format_duration(policy.interval)}, "
            f"{group.room(policy.longest_interval):,} at {format_duration(policy.longest_interval)}"
        )
        if admission.refused:
            yield f"  refuses {len(admission.refused):,}: take some away, or use another user's credentials"
            for target in admission.refused:
                yield f"    {_name(target)}"
    planned = sum(group.planned for group in groups)
    if planned > limit:
        yield (
            f"all groups plan {planned:.2f} requests/s, above max_requests_per_second = {limit:g}: "
            "no address may send so many; spread the targets over several machines"
        )


def _about_credentials(credentials: list[CredentialCheck], lender: Lender | None) -> Iterable[str]:
    for one in credentials:
        yield f"credential     {one.name}: {one.detail}"
    if lender and lender.sent:
        yield str(lender)
    else:
        yield "No request was sent, so nothing is said about the credentials."
    yield "Whether they may renew a live tail, only a heartbeat shows: `keepalive once` sends one per target."


def _name(target: Target) -> str:
    return (
        f"{target.label}  ({target.credential})"
        if target.script_id
        else f"{target.label}  ({target.credential}, whole account)"
    )


def _json(
    configuration: Configuration,
    groups: list[GroupCheck],
    credentials: list[CredentialCheck],
    lender: Lender | None,
) -> str:
    report = {
        "schema": 1,
        "file": str(configuration.path) if configuration.path else None,
        "window_seconds": configuration.settings.heartbeat.window,
        "window_is_assumed": not configuration.settings.heartbeat.window_calibrated,
        "rate_groups": [
            {
                "name": group.plan.name,
                "interval_seconds": round(group.admission.interval, 3),
                "planned_requests_per_second": round(group.planned, 3),
                "quota": {
                    "requests": group.plan.quota.requests,
                    "period_seconds": group.plan.quota.period,
                    "share": group.plan.quota.share,
                },
                "room": group.room(group.plan.policy.interval),
                "room_when_stretched": group.room(group.plan.policy.longest_interval),
                "targets": [target._asdict() for target in group.admission.admitted],
                "refused": [target._asdict() for target in group.admission.refused],
            }
            for group in groups
        ],
        "credentials": [
            {
                "name": one.name,
                "standing": one.standing,
                "detail": one.detail,
                "expires_on": one.expires_on and one.expires_on.isoformat(),
            }
            for one in credentials
        ],
        "quota_shared": lender is not None and lender.shares,
        "warnings": [str(warning) for warning in configuration.warnings],
    }
    return json.dumps(report, ensure_ascii=False, indent=2)
