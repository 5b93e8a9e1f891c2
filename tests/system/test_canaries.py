"""Secrets are planted everywhere they may stand, and looked for everywhere they may not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.daemon import started, until
from tests.system.commands import ACCOUNT_ID, keepalive, python, write_config

CANARIES = {
    "token": "canary-token-4fd1c0",
    "email": "canary-person@example.com",
    "key": "canary-global-key-77ab",
    "service": "v1.0-canary-service-key-91",
}


class EchoingServer:
    """Refuses everything and quotes the request's own headers, as a careless proxy does.

    Attributes:
        base_url: Where it listens.
        quoted: The secrets that it has sent back so far, by the name of their canary.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.quoted: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        """Refuse in the way of each scheme: a failing server, an unknown key, a missing permission."""
        seen = {name: value for name, value in request.headers.items() if "auth" in name.lower()}
        if "Authorization" in seen and request.path.endswith("heartbeat"):
            status = 500
        else:
            status = 401 if "X-Auth-Key" in seen else 403
        text = json.dumps(seen)
        self.quoted.update(name for name, canary in CANARIES.items() if canary in text)
        body = {"success": False, "errors": [{"code": 10000, "message": f"refused {text}"}]}
        return web.json_response(body, status=status, headers={"cf-ray": "1-EMU"})


@asynccontextmanager
async def echoing_server() -> AsyncIterator[EchoingServer]:
    server, app = EchoingServer(), web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        server.base_url = f"http://{host}:{port}/client/v4"
        yield server
    finally:
        await runner.cleanup()


def plant(folder: Path, base_url: str) -> Path:
    """Write a configuration with every scheme; one secret in a file, one in the environment, two plain."""
    secret = folder / "token"
    secret.touch(0o600)
    secret.write_text(CANARIES["token"] + "\n", encoding="utf-8")
    targets = (
        f'[[targets]]\ncredential = "{name}"\naccount_id = "{ACCOUNT_ID}"\nscripts = ["api"]\n'
        for name in ("token", "key", "service")
    )
    return write_config(
        folder,
        f"""
[heartbeat]
window = "2s"
[cloudflare]
base_url = "{base_url}"
[rate_groups.default]
requests = 100_000
[credentials.token]
api_token_file = "token"
[credentials.key]
email = "{CANARIES["email"]}"
api_key_env = "PLANTED_KEY"
[credentials.service]
user_service_key = "{CANARIES["service"]}"
{"".join(targets)}
[state]
path = "{folder / "state" / "state.db"}"
""",
    )


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


def assert_clean(*texts: str) -> None:
    for name, canary in CANARIES.items():
        for text in texts:
            assert canary not in text, f"the {name} got out"


@pytest.mark.parametrize(
    "command",
    [
        ("once", "--log-level", "debug"),
        ("once", "--json"),
        ("check",),
        ("check", "--json"),
        ("config", "show"),
        ("config", "show", "--json"),
    ],
)
async def test_no_command_shows_a_secret(tmp_path: Path, command: tuple[str, ...]) -> None:
    async with echoing_server() as server:
        config = plant(tmp_path, server.base_url)
        ran = await keepalive(
            tmp_path, *command, "--config", str(config), environ={"PLANTED_KEY": CANARIES["key"]}
        )
    assert command[0] != "once" or server.quoted == CANARIES.keys()
    assert ran.out
    assert "Traceback" not in ran.err
    assert_clean(ran.out, ran.err)


async def test_a_daemon_at_debug_level_shows_no_secret(tmp_path: Path) -> None:
    async with echoing_server() as server:
        config = plant(tmp_path, server.base_url)
        environ = {"PLANTED_KEY": CANARIES["key"]}
        async with started(config, "--log-level", "debug", environ=environ) as daemon:
            await until(lambda: server.quoted == CANARIES.keys())
            await until(lambda: bool(daemon.lines("credential.denied")))
            argv = command_line(daemon.pid)
            code, _ = await daemon.stop()
        log = daemon.log
    state = [
        file.read_bytes().decode(errors="replace")
        for file in (tmp_path / "state").rglob("*")
        if file.is_file()
    ]
    assert code == 0
    assert "refused" in log  # it quotes the server's words, but not the secrets in them
    assert_clean(log, argv, *state)


@pytest.mark.parametrize("broken", ["interval = 99", "intervall = 5", "window = true"])
async def test_a_report_of_faults_shows_no_secret(tmp_path: Path, broken: str) -> None:
    config = plant(tmp_path, "http://127.0.0.1:9/client/v4")
    text = config.read_text(encoding="utf-8").replace('window = "2s"', broken)
    config.write_text(text.replace("user_service_key =", "user_service_kex ="), encoding="utf-8")
    ran = await keepalive(tmp_path, "run", "--config", str(config), environ={"PLANTED_KEY": CANARIES["key"]})
    assert ran.code == 78
    assert_clean(ran.out, ran.err)


async def test_a_traceback_shows_no_secret(tmp_path: Path) -> None:
    """Even a bug, here a stand-in that raises, prints no local variables."""
    config = plant(tmp_path, "http://127.0.0.1:9/client/v4")
    program = tmp_path / "broken.py"
    program.write_text(
        "import sys\n"
        "import keepalive.app\n"
        "from keepalive.cli import main\n"
        "async def once(configuration, *rest, **more):\n"
        "    secrets = [each.headers() for each in configuration.credentials.values()]\n"
        "    raise RuntimeError('a bug')\n"
        "keepalive.app.once = once\n"
        f"sys.argv = ['keepalive', 'once', '--config', {str(config)!r}]\n"
        "main()\n",
        encoding="utf-8",
    )
    ran = await python(tmp_path, str(program), environ={"PLANTED_KEY": CANARIES["key"]})
    assert ran.code == 70
    assert "RuntimeError: a bug" in ran.err
    assert_clean(ran.out, ran.err)
