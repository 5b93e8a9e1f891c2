from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keepalive.cli.check import Standing, judge_answer
from keepalive.cloudflare.verification import TokenActive, TokenUnverifiable
from keepalive.core.outcome import Denied, Fault, Throttled, Transient
from keepalive.core.target import Scope
from keepalive.emulator import Credential, Emulator, User, World
from keepalive.emulator.world import TokenStatus
from tests.cli.conftest import Keepalive
from tests.support.configured import ACCOUNT_ID, PROD, TARGETS, Folder

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FAULT = Fault("authentication", "the token is expired", hint="renew it")

MEASURED = '[heartbeat]\nwindow = "44s"\nwindow_calibrated = true\n'


def fleet(count: int) -> str:
    scripts = ", ".join(f'"s{number}"' for number in range(count))
    return f'[[targets]]\naccount_id = "{ACCOUNT_ID}"\nscripts = [{scripts}]\n'


class TestOffline:
    def test_it_says_what_is_held_and_at_what_cost(self, keepalive: Keepalive, folder: Folder) -> None:
        folder.write("keepalive.toml", PROD + TARGETS)
        ran = keepalive("check", "--offline")
        assert ran.code == 0
        assert ran.err == ""
        for said in (
            "targets        2\n",
            f"  {ACCOUNT_ID}/api  (prod)\n",
            "window         45s, assumed: Cloudflare does not say; `keepalive calibrate` measures it\n",
            "holds 2 of 2 targets, each renewed every 15s",
            "plans 0.13 requests/s of 4.00/s (1,200 in 5m; 90% for keepalive)",
            "has room for 42 targets at 15s, 63 at 22.5s",
            "No request was sent",
            "only a heartbeat shows: `keepalive once`",
        ):
            assert said in ran.out

    def test_targets_that_the_quota_cannot_hold_are_named(self, keepalive: Keepalive, folder: Folder) -> None:
        folder.write("keepalive.toml", PROD + fleet(65))
        ran = keepalive("check", "--offline")
        assert ran.code == 1
        assert "holds 63 of 65 targets, each renewed every 22.5s" in ran.out
        assert (
            f"refuses 2: take some away, or use another user's credentials\n    {ACCOUNT_ID}/s63  (prod)"
            in ran.out
        )
        assert f"    {ACCOUNT_ID}/s64  (prod)\n" in ran.out

    def test_a_long_list_is_cut(self, keepalive: Keepalive, folder: Folder) -> None:
        folder.write("keepalive.toml", PROD + fleet(42))
        assert "  … and 32 more\n" in keepalive("check", "--offline").out

    def test_more_than_an_address_may_send_is_a_surplus(self, keepalive: Keepalive, folder: Folder) -> None:
        folder.write("keepalive.toml", PROD + fleet(40) + "[cloudflare]\nmax_requests_per_second = 2\n")
        ran = keepalive("check", "--offline")
        assert ran.code == 1
        assert "all groups plan 2.67 requests/s, above max_requests_per_second = 2" in ran.out

    def test_programs_get_one_object(self, keepalive: Keepalive, folder: Folder) -> None:
        folder.write("keepalive.toml", PROD + fleet(64))
        ran = keepalive("check", "--offline", "--json")
        report = json.loads(ran.out)
        assert ran.code == 1
        assert (report["schema"], report["window_seconds"], report["window_is_assumed"]) == (1, 45.0, True)
        (group,) = report["rate_groups"]
        assert (group["name"], group["interval_seconds"], len(group["targets"])) == ("default", 22.5, 63)
        assert group["refused"] == [{"credential": "prod", "account_id": ACCOUNT_ID, "script_id": "s63"}]
        assert report["credentials"] == []

    def test_a_window_that_was_measured_is_not_called_assumed(
        self, keepalive: Keepalive, folder: Folder
    ) -> None:
        folder.write("keepalive.toml", PROD + TARGETS + MEASURED)
        assert "window         44s, measured\n" in keepalive("check", "--offline").out
        assert json.loads(keepalive("check", "--offline", "--json").out)["window_is_assumed"] is False

    def test_a_socket_without_targets_is_fine(self, keepalive: Keepalive, folder: Folder) -> None:
        folder.write("keepalive.toml", PROD + '[control]\nsocket = "k.sock"\n')
        ran = keepalive("check", "--offline")
        assert ran.code == 0
        assert "targets        0\n" in ran.out


class TestOnline:
    TEXT = f"""
[credentials.good]
api_token = "good-token"
[credentials.soon]
api_token = "soon-token"
[credentials.bad]
api_token = "bad-token"
[credentials.old]
email = "ops@example.com"
api_key = "global-key"
[[targets]]
credential = "good"
account_id = "{ACCOUNT_ID}"
account_wide = true
"""

    def world(self) -> World:
        soon = (datetime.now(UTC) + timedelta(days=3)).isoformat(timespec="seconds")
        credentials = (
            Credential.api_token("good-token"),
            replace(Credential.api_token("soon-token"), expires_on=soon),
            replace(Credential.api_token("bad-token"), status=TokenStatus.EXPIRED),
            Credential.api_key("ops@example.com", "global-key"),
        )
        return World(users=(User("user", credentials),), accounts={ACCOUNT_ID: frozenset()})

    async def test_each_credential_is_asked_about(self, keepalive: Keepalive, folder: Folder) -> None:
        async with Emulator(self.world()) as emulator:
            folder.write("keepalive.toml", self.TEXT + f'[cloudflare]\nbase_url = "{emulator.base_url}"\n')
            ran = await asyncio.to_thread(keepalive, "check", "--json")
            paths = [request.path for request in emulator.requests]
        assert ran.code == 1
        standings = {one["name"]: one["standing"] for one in json.loads(ran.out)["credentials"]}
        assert standings == {"good": "active", "soon": "expiring", "bad": "rejected", "old": "unverified"}
        assert all(path.endswith("/tokens/verify") for path in paths)
        assert not any(f"{name}-token" in ran.out + ran.err for name in standings)

    async def test_a_good_token_is_said_to_be_one(self, keepalive: Keepalive, folder: Folder) -> None:
        async with Emulator(self.world()) as emulator:
            text = PROD.replace("token-of-prod", "good-token") + TARGETS
            folder.write("keepalive.toml", text + f'[cloudflare]\nbase_url = "{emulator.base_url}"\n')
            ran = await asyncio.to_thread(keepalive, "check")
        assert ran.code == 0
        assert "credential     prod: the token is active and does not expire\n" in ran.out
        assert "No daemon answers, so the quota is not shared" in ran.out

    def test_a_server_that_is_not_there_rejects_nobody(self, keepalive: Keepalive, folder: Folder) -> None:
        text = PROD + TARGETS + '[cloudflare]\nbase_url = "http://127.0.0.1:9"\n'
        folder.write("keepalive.toml", text)
        ran = keepalive("check")
        assert ran.code == 0
        assert "prod: Cloudflare could not be asked (" in ran.out


@pytest.mark.parametrize(
    ("answer", "standing"),
    [
        (TokenActive(None), Standing.ACTIVE),
        (TokenActive(NOW + timedelta(days=31)), Standing.ACTIVE),
        (TokenActive(NOW + timedelta(days=29)), Standing.EXPIRING),
        (TokenActive(NOW - timedelta(days=1)), Standing.EXPIRING),
        (TokenUnverifiable("a global key has no such call"), Standing.UNVERIFIED),
        (Denied(FAULT, Scope.CREDENTIAL), Standing.REJECTED),
        (Throttled(FAULT, 30), Standing.UNVERIFIED),
        (Transient(FAULT), Standing.UNVERIFIED),
    ],
)
def test_only_a_refusal_is_a_rejection(
    answer: TokenActive | TokenUnverifiable | Denied | Throttled | Transient, standing: Standing
) -> None:
    assert judge_answer("p", answer, NOW).standing is standing


def test_a_rejection_says_why_and_what_to_do() -> None:
    detail = judge_answer("p", Denied(FAULT, Scope.CREDENTIAL), NOW).detail
    assert detail == "rejected (authentication; the token is expired; renew it)"
