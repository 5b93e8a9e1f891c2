from __future__ import annotations

import json
from pathlib import Path

from tests.system.commands import ACCOUNT_ID, OTHER_ACCOUNT_ID, keepalive, write_config
from tests.system.strict import Heartbeat, strict_server

CREDENTIALS = """
[credentials.token]
api_token = "token-of-somebody"
[credentials.key]
email = "ops@example.com"
api_key = "global-key-of-somebody"
[credentials.service]
user_service_key = "v1.0-service-key-of-somebody"
"""

AUTH = {
    "token": frozenset({("Authorization", "Bearer token-of-somebody")}),
    "key": frozenset({("X-Auth-Email", "ops@example.com"), ("X-Auth-Key", "global-key-of-somebody")}),
    "service": frozenset({("X-Auth-User-Service-Key", "v1.0-service-key-of-somebody")}),
}

DUE = {
    Heartbeat(account, auth, body)
    for auth in AUTH.values()
    for account, bodies in (
        (ACCOUNT_ID, (b'{"scriptId":"api"}', b'{"scriptId":"my_web-2"}')),
        (OTHER_ACCOUNT_ID, (b"{}",)),
    )
    for body in bodies
}


def configuration(base_url: str) -> str:
    targets = (
        f'[[targets]]\ncredential = "{name}"\naccount_id = "{ACCOUNT_ID}"\nscripts = ["api", "my_web-2"]\n'
        f'[[targets]]\ncredential = "{name}"\naccount_id = "{OTHER_ACCOUNT_ID}"\naccount_wide = true\n'
        for name in AUTH
    )
    return f'[cloudflare]\nbase_url = "{base_url}"\n{CREDENTIALS}{"".join(targets)}'


async def test_every_request_of_every_scheme_is_exactly_the_references(tmp_path: Path) -> None:
    async with strict_server(DUE) as server:
        config = write_config(tmp_path, configuration(server.base_url))
        ran = await keepalive(tmp_path, "once", "--config", str(config))
    assert server.complaints == []
    assert server.due == set()
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1].startswith("9 of 9 targets are eligible.")


async def test_the_environment_alone_sends_the_same(tmp_path: Path) -> None:
    due = {Heartbeat(ACCOUNT_ID, AUTH["token"], b"{}")}
    async with strict_server(due) as server:
        environ = {
            "CLOUDFLARE_API_TOKEN": "token-of-somebody",
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID,
            "CLOUDFLARE_BASE_URL": server.base_url,
        }
        ran = await keepalive(tmp_path, "once", "--json", environ=environ)
    assert (server.complaints, server.due) == ([], set())
    report = json.loads(ran.out)
    assert (ran.code, report["schema"], report["eligible"], report["total"]) == (0, 1, 1, 1)


async def test_a_request_that_is_refused_makes_it_exit_1_and_say_why(tmp_path: Path) -> None:
    async with strict_server(()) as server:
        text = configuration(server.base_url) + "[heartbeat]\nwindow = 2\n"
        config = write_config(tmp_path, text)
        ran = await keepalive(tmp_path, "once", "--config", str(config))
    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith("0 of 9 targets are eligible.")
    assert "6003" in ran.out


async def test_a_network_that_is_gone_is_told_long_before_the_end(tmp_path: Path) -> None:
    text = configuration("http://127.0.0.1:9/client/v4") + "[heartbeat]\nwindow = 2\n"
    ran = await keepalive(tmp_path, "once", "--json", "--config", str(write_config(tmp_path, text)))
    assert (ran.code, json.loads(ran.out)["eligible"]) == (1, 0)
    assert (
        ran.err == "keepalive: cannot connect to 127.0.0.1:9: connection refused; trying on, Ctrl-C ends it\n"
    )
