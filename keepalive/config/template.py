"""The template: the commented configuration that `init` writes, and the link that makes its token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from keepalive.config.targets import PLACEHOLDER

TOKEN_FILE = "keepalive.token"  # noqa: S105 - a file's name
TOKEN_FORM = "https://dash.cloudflare.com/profile/api-tokens"  # noqa: S105 - a page's address
PERMISSION_KEY = "workers_observability"
"""Public tools use this key, but the table of keys in Cloudflare's documentation does not list it."""

_HEAD = """\
# keepalive: which Cloudflare live-tail sessions to hold open.
# Every key stands here with its default; `keepalive check` reads it all and says what it means.
# Durations are "15s", "500ms", "5m", "1h30m" or a number of seconds.

[heartbeat]
# window = "45s"      # how long one accepted heartbeat is assumed to last; Cloudflare does not say
# window_calibrated = false   # true once `keepalive calibrate` has measured it; it prints both lines
# interval = "15s"    # default: a third of the window, so that two heartbeats may be lost
# jitter = 0.1        # a heartbeat may come this part of the interval early

[credentials.default]
# A token of the user who opens the live tail, with the permission Account > Workers Observability > Edit.
# The file is relative to this one. Keep it out of git.
api_token_file = "{token_file}"
# Or, instead: api_token_env = "NAME", or api_token_credential = "NAME" under systemd.

# [rate_groups.default]
# requests = 1200     # Cloudflare's quota for one user ...
# period = "5m"       # ... in this time
# share = 0.9         # how much of it keepalive may use; the rest is for humans and CI
"""

_TARGETS = """
# The order of the targets is their priority when the quota cannot hold all.
"""

_TAIL = """
# [[targets]]
# file = "targets.csv"   # many of them: account_id,script[,credential]; an empty script is the whole account

[log]
# format = "auto"     # auto, json, console
# level = "info"      # debug, info, warning, error

[state]
# path = ""           # default: $STATE_DIRECTORY/state.db, else the XDG state folder; "" keeps none

[http]
# listen = ""         # "127.0.0.1:9786" serves probes and metrics; "" is off

[control]
# socket = ""         # default: keepalive.sock in $RUNTIME_DIRECTORY or $XDG_RUNTIME_DIR
# mode = "0600"
"""


def render(workers: Sequence[tuple[str | None, str]], account: str | None) -> str:
    """Write a configuration without any secret.

    Args:
        workers: Account ids (or None) and script names, checked; without any, the whole account is meant.
        account: The account of those that name none, or None where it is not known.
    """
    fallback = account or PLACEHOLDER
    by_account: dict[str, list[str]] = {}
    for owner, script in workers:
        by_account.setdefault(owner or fallback, []).append(script)
    text = _HEAD.format(token_file=TOKEN_FILE) + _TARGETS
    for owner, scripts in (by_account or {fallback: []}).items():
        remark = "   # put your account id here" if owner == PLACEHOLDER else ""
        text += f'[[targets]]\naccount_id = "{owner}"{remark}\n'
        if scripts:
            text += f"scripts = {json.dumps(scripts, ensure_ascii=False)}\n"
        else:
            text += 'account_wide = true      # or by name: scripts = ["api", "web"]\n'
    return text + _TAIL


def token_link(account: str | None) -> str:
    """The link that opens Cloudflare's form for a token, with the permission filled in.

    It is the form for a user's token, not for an account's: a heartbeat speaks for the user who watches. Its
    parameters: https://developers.cloudflare.com/fundamentals/api/how-to/account-owned-token-template/.
    """
    permissions = json.dumps([{"key": PERMISSION_KEY, "type": "edit"}], separators=(",", ":"))
    query = {
        "permissionGroupKeys": permissions,
        "accountId": account or "*",
        "zoneId": "all",
        "name": "keepalive",
    }
    return f"{TOKEN_FORM}?{urlencode(query)}"
