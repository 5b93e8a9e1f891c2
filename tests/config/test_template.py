from __future__ import annotations

import re
import tomllib
from urllib.parse import parse_qs, urlsplit

from keepalive.config.duration import parse_duration
from keepalive.config.layers import known_keys
from keepalive.config.settings import Settings
from keepalive.config.template import TOKEN_FILE, render, token_link
from keepalive.core.plan import Quota
from keepalive.core.target import Target
from tests.support.configured import ACCOUNT_ID, Folder

OTHER = "fedcba9876543210fedcba9876543210"


def test_it_loads_once_the_token_is_there(folder: Folder) -> None:
    folder.write(TOKEN_FILE, "token\n")
    read = folder.read(render([(None, "api"), (OTHER, 'we "b"')], ACCOUNT_ID))
    assert read.warnings == ()
    assert read.plan["default"].targets == (
        Target("default", ACCOUNT_ID, "api"),
        Target("default", OTHER, 'we "b"'),
    )


def test_without_scripts_the_whole_account_is_meant(folder: Folder) -> None:
    folder.write(TOKEN_FILE, "token\n")
    assert folder.read(render([], ACCOUNT_ID)).plan["default"].targets == (Target("default", ACCOUNT_ID),)


def test_without_an_account_it_loads_and_says_that_it_needs_one(folder: Folder) -> None:
    folder.write(TOKEN_FILE, "token\n")
    (warning,) = folder.read(render([], None)).warnings
    assert warning.key == "targets[0].account_id"


def test_what_is_commented_out_is_the_truth(folder: Folder) -> None:
    text = render([], ACCOUNT_ID)
    document = tomllib.loads(re.sub(r"^# (?=\w+ = |\[rate_groups)", "", text, flags=re.MULTILINE))
    defaults = Settings()
    assert parse_duration(document["heartbeat"]["window"]) == defaults.heartbeat.window
    assert parse_duration(document["heartbeat"]["interval"]) == defaults.heartbeat.interval
    assert document["heartbeat"]["jitter"] == defaults.heartbeat.jitter
    assert document["log"] == {"format": defaults.log.format, "level": defaults.log.level}
    quota = document["rate_groups"]["default"]
    assert quota == {"requests": Quota().requests, "period": "5m", "share": Quota().share}
    assert parse_duration(quota["period"]) == Quota().period
    for section in ("heartbeat", "log", "state", "http", "control"):
        assert set(document[section]) == set(known_keys((section,)))


def test_the_link_fills_in_the_permission_for_the_users_own_token() -> None:
    link = urlsplit(token_link(ACCOUNT_ID))
    assert (link.scheme, link.netloc, link.path) == ("https", "dash.cloudflare.com", "/profile/api-tokens")
    assert parse_qs(link.query) == {
        "permissionGroupKeys": ['[{"key":"workers_observability","type":"edit"}]'],
        "accountId": [ACCOUNT_ID],
        "zoneId": ["all"],
        "name": ["keepalive"],
    }
    assert "accountId=%2A&" in token_link(None)
