"""A real Prometheus scrapes a real daemon while its configuration, Cloudflare and the daemon are broken.

It needs `prometheus` and `promtool` on the path. Everything listens on loopback, on ports that are free.

    prometheus_live.py FOLDER     prints a line for each proof; exits with 1 at the first that fails
"""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

ROOT = Path(__file__).parents[2]
KEEPALIVE = ROOT / ".venv" / "bin" / "keepalive"
PROMETHEUS = ROOT / "deploy" / "prometheus"

WINDOW = 12.0
"""Seconds: short, so that a lapse does not take long; at risk is 4 s of it."""

SCRAPED_FOR = 30.0
"""Seconds of an undisturbed daemon, scraped every second."""

TOKEN = "emulated-token"  # noqa: S105 - the emulator's own, and no secret
SMALL = "[rate_groups.ops_user]\nrequests = 10\n"

CONFIG = """
[heartbeat]
window = "{window}s"
[cloudflare]
base_url = "{base_url}"
[credentials.prod]
api_token = "{token}"
[credentials.legacy]
api_token_file = "legacy.token"
rate_group = "ops_user"
[[targets]]
credential = "prod"
account_id = "0123456789abcdef0123456789abcdef"
scripts = ["api", "web"]
[[targets]]
credential = "legacy"
account_id = "0123456789abcdef0123456789abcdef"
scripts = ["cron"]
[state]
path = "{folder}/state.db"
[control]
socket = "{folder}/keepalive.sock"
[http]
listen = "127.0.0.1:{port}"
"""

EDITS = (
    ("KeepaliveReloadFailed", "an edit with a fault", ("[state]", "[heartbeet]\n[state]")),
    ("KeepaliveTargetDenied", "a script that is not there", ('"cron"', '"cron", "gone"')),
    ("KeepaliveTargetRefused", "a quota that cannot hold a target", ("[state]", f"{SMALL}[state]")),
)
"""The alert, why it fires, and the edit of the configuration that does it."""

VARIABLES = {
    "$__rate_interval": "15s",
    "$job": ".+",
    "$instance": ".*",
    "$credential": ".*",
}
"""What Grafana would put into the dashboard's queries; the longest name first."""

NOT_YET = ("keepalive_credential_expiry_timestamp_seconds",)
"""Known only once a token was looked at, a minute after the start, and only where it ends."""


class FailedError(Exception):
    """A promise that does not hold."""


def main() -> None:
    """Play all of it."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with ExitStack() as stack:
            play(folder, stack)
    except FailedError as failed:
        sys.exit(f"prometheus: {failed}")


def play(folder: Path, stack: ExitStack) -> None:
    """A daemon in peace, then what breaks, in the order in which one can still see the next."""
    port, own = free_port(), free_port()
    cloudflare, base_url = stack.enter_context(emulator(folder))
    config = folder / "keepalive.toml"
    config.write_text(
        CONFIG.format(token=TOKEN, window=WINDOW, base_url=base_url, folder=folder, port=port),
        encoding="utf-8",
    )
    token = folder / "legacy.token"
    token.write_text(TOKEN, encoding="utf-8")
    config.chmod(0o600)
    token.chmod(0o600)
    daemon = stack.enter_context(started(folder, "daemon", KEEPALIVE, "run", "--config", config))
    wait(20, "the daemon answers /readyz with 200", lambda: get(port, "/readyz")[0] == 200)
    arrange(folder, port)
    stack.enter_context(
        started(
            folder,
            "prometheus",
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        )
    )
    wait(20, "Prometheus is ready", lambda: get(own, "/-/ready")[0] == 200)
    engine = Engine(own)
    wait(20, "the daemon is scraped", lambda: engine.numbers("up") == [1])

    time.sleep(SCRAPED_FOR)
    in_peace(engine, port)

    def reloaded(old: str = "", new: str = "") -> None:
        config.write_text(good.replace(old, new), encoding="utf-8")
        daemon.send_signal(signal.SIGHUP)

    good = config.read_text(encoding="utf-8")
    for alert, why, edit in EDITS:
        reloaded(*edit)
        engine.fires(alert, why)
        reloaded()
        engine.rests(alert, "it is mended")
    token.write_text("revoked-token", encoding="utf-8")
    engine.fires("KeepaliveCredentialDenied", "a token that was revoked")
    require(
        not engine.firing("KeepaliveTargetDenied"), "KeepaliveTargetDenied fires for what is the credential's"
    )
    token.write_text(TOKEN, encoding="utf-8")
    engine.rests("KeepaliveCredentialDenied", "a good token lies in its place, without a reload")

    cloudflare.terminate()
    for alert in (
        "KeepaliveDeadlineNear",
        "KeepaliveOriginDown",
        "KeepaliveTargetLapsed",
        "KeepaliveTargetGap",
    ):
        engine.fires(alert, "Cloudflare is gone")
    reloaded('"cron"', '"cron", "web"')
    engine.fires("KeepaliveTargetPending", "a target is added while Cloudflare is gone")
    daemon.kill()
    engine.fires("KeepaliveGone", "the daemon was killed")


def in_peace(engine: Engine, port: int) -> None:
    """What must hold while nothing is broken."""
    status, page = get(port, "/metrics")
    require(status == 200, f"/metrics answers {status}")
    said = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    require(said.returncode == 0, f"promtool check metrics: {(said.stdout + said.stderr).decode()}")
    proved(f"promtool check metrics has nothing to say about {len(page.splitlines())} lines of /metrics")

    [target] = engine.ask("/api/v1/targets")["activeTargets"]
    require(target["health"] == "up" and not target["lastError"], f"the scrape fails: {target['lastError']}")
    scrapes = engine.value("count_over_time(up[5m])")
    require(scrapes >= SCRAPED_FOR - 3, f"only {scrapes:.0f} scrapes in {SCRAPED_FOR:.0f} s")
    require(engine.value("min_over_time(up[5m])") == 1, "a scrape failed")
    took = engine.value("max_over_time(scrape_duration_seconds[5m])")
    samples = engine.value("scrape_samples_scraped")
    proved(f"{scrapes:.0f} scrapes of {samples:.0f} samples, none failed, {took * 1000:.0f} ms at most")

    records = [expr for _, expr in rules("record", "rules.yaml")]
    panels = list(dashboard())
    for what, exprs in (("recording rules", records), ("queries of the dashboard", panels)):
        empty = [
            expr for expr in exprs if not engine.numbers(expr) and not any(name in expr for name in NOT_YET)
        ]
        require(not empty, f"no data for {empty}")
        proved(
            f"{len(exprs)} {what} are evaluated and have data (but for tokens that were not looked at yet)"
        )
    recorded = [name for name, _ in rules("record", "rules.yaml") if not engine.numbers(name)]
    require(not recorded, f"Prometheus recorded nothing for {recorded}")

    alerts = list(rules("alert", "alerts.yaml"))
    loud = [name for name, expr in alerts if engine.numbers(expr)]
    require(not loud, f"{loud} in a daemon that is well")
    require(
        not engine.ask("/api/v1/alerts")["alerts"], "an alert is pending or fires in a daemon that is well"
    )
    sick = [
        f"{rule['name']}: {rule['lastError']}"
        for group in engine.ask("/api/v1/rules")["groups"]
        for rule in group["rules"]
        if rule["health"] != "ok"
    ]
    require(not sick, f"Prometheus cannot evaluate {sick}")
    proved(f"{len(alerts)} alerts are evaluated, and all are quiet")


class Engine:
    """A Prometheus that runs."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its API."""
        status, body = get(self._port, f"{path}?{urlencode(query)}")
        answer = json.loads(body)
        require(status == 200, f"{path} {query}: {answer.get('error')}")
        return answer["data"]

    def numbers(self, expr: str) -> list[float]:
        """What an expression gives now, without what is no number."""
        data = self.ask("/api/v1/query", query=expr)
        samples = (
            [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
        )
        return [number for _, text in samples if not math.isnan(number := float(text))]

    def value(self, expr: str) -> float:
        """The only number that an expression gives, for the daemon's job."""
        [number] = self.numbers(expr)
        return number

    def firing(self, alert: str) -> bool:
        """Whether an alert fires."""
        return bool(self.numbers(f'ALERTS{{alertname="{alert}",alertstate="firing"}}'))

    def fires(self, alert: str, why: str) -> None:
        """Wait until an alert fires."""
        took = wait(WINDOW + 20, f"{alert} fires", lambda: self.firing(alert))
        proved(f"{why}: {alert} fires ({took:.0f} s)")

    def rests(self, alert: str, why: str) -> None:
        """Wait until an alert fires no more."""
        took = wait(20, f"{alert} rests", lambda: not self.firing(alert))
        proved(f"{why}: {alert} rests ({took:.0f} s)")


# --- what runs ---------------------------------------------------------------------------------


@contextmanager
def started(folder: Path, name: str, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block; what it says goes to a file."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, env=environment())
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def emulator(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A local Cloudflare, and the base URL of its API."""
    scripts = [part for script in ("api", "web", "cron") for part in ("--script", script)]
    command = ("emulator", "--json", "--window", f"{WINDOW}s", *scripts)
    with started(folder, "emulator", KEEPALIVE, *command) as process:
        said = folder / "emulator.log"
        wait(20, "the emulator says where it listens", lambda: said.read_bytes().endswith(b"}\n"))
        yield process, json.loads(said.read_text(encoding="utf-8").splitlines()[0])["base_url"]


def environment() -> dict[str, str]:
    """Ours, without what would configure a daemon."""
    return {
        key: value for key, value in os.environ.items() if not key.startswith(("KEEPALIVE_", "CLOUDFLARE_"))
    }


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# --- what stands in the files ------------------------------------------------------------------


def arrange(folder: Path, port: int) -> None:
    """Copy the configuration and the rules, with every duration of waiting cut to fit a second's scrape."""
    for name in ("rules.yaml", "alerts.yaml"):
        text = (PROMETHEUS / name).read_text(encoding="utf-8")
        hurried = re.sub(
            r"^(\s+for:) .*", r"\1 2s", text.replace("interval: 15s", "interval: 1s"), flags=re.MULTILINE
        )
        (folder / name).write_text(hurried, encoding="utf-8")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [job] = config["scrape_configs"]
    job["scrape_timeout"] = "1s"
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def rules(kind: str, name: str) -> Iterator[tuple[str, str]]:
    """The names and expressions of a file's rules: `record` or `alert`."""
    for group in yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule[kind], rule["expr"]


def dashboard() -> Iterator[str]:
    """The queries of the panels, with Grafana's variables filled in."""
    board = json.loads((ROOT / "deploy" / "grafana" / "keepalive.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield filled(target["expr"], VARIABLES)


def filled(expr: str, variables: Mapping[str, str]) -> str:
    """An expression with the variables replaced."""
    for name, value in variables.items():
        expr = expr.replace(name, value)
    return expr


# --- small things ------------------------------------------------------------------------------


def get(port: int, path: str) -> tuple[int, bytes]:
    """The status and body of an answer; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def wait(seconds: float, what: str, holds: Callable[[], bool]) -> float:
    """Wait until something holds, at most so long, and say how long it took."""
    began = time.monotonic()
    while not holds():
        require(time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - began


def require(holds: bool, message: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Fail with a message where something does not hold."""
    if not holds:
        raise FailedError(message)


def proved(what: str) -> None:
    """Print one line of proof."""
    print(f"prometheus: {what}", flush=True)


if __name__ == "__main__":
    main()
