"""A daemon that answers by the book and does nothing: what commands ask, over a real Unix socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer, ThreadingUnixStreamServer
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
STATES = ("pending", "eligible", "at_risk", "lapsed", "denied", "refused")


class Asked(NamedTuple):
    """A question that came."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: bytes


class Answer(NamedTuple):
    """What is answered: an object, or bytes that are sent as they are."""

    status: int
    body: Json | bytes


@dataclass
class Script:
    """What a daemon answers, by method and path; it may be changed between questions."""

    answers: dict[tuple[str, str], Answer | Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def holds(self, *targets: Json, groups: tuple[Json, ...] = (), **status: Any) -> None:
        """Answer as a daemon that holds these."""
        counts = {state: sum(one["state"] == state for one in targets) for state in STATES}
        whole = overview(targets={"total": len(targets), **counts}, **status)
        self.answers["GET", "/v1/status"] = Answer(200, whole)
        self.answers["GET", "/v1/targets"] = lambda asked: Answer(200, _page(asked, targets, "targets"))
        self.answers["GET", "/v1/rate_groups"] = lambda asked: Answer(
            200, _page(asked, groups, "rate_groups")
        )


def _page(asked: Asked, items: tuple[Json, ...], key: str) -> Json:
    wanted = asked.query.get("state")
    found = [one for one in items if wanted is None or one["state"] in wanted]
    start, limit = int(asked.query.get("after", ["0"])[0]), int(asked.query["limit"][0])
    assert 1 <= limit <= 1000
    end = start + limit
    return {"schema": 1, key: found[start:end], "next": str(end) if end < len(found) else None}


@contextmanager
def answering(address: Path | tuple[str, int], script: Script) -> Iterator[tuple[str, int] | str]:
    """Listen at a Unix socket or a TCP port for as long as this is entered, and give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(self.command, parts.path, parse_qs(parts.query), body)
            script.asked.append(asked)
            known = script.answers.get(
                asked[:2], Answer(404, {"schema": 1, "error": "no such page", "hint": ""})
            )
            answer = known(asked) if callable(known) else known
            if isinstance(answer.body, bytes):
                self.wfile.write(answer.body)
                return
            text = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = do  # noqa: N815 - as http.server wants them

        def log_message(self, *_: object) -> None:
            pass

    server = (
        ThreadingUnixStreamServer(str(address), Handler)
        if isinstance(address, Path)
        else ThreadingTCPServer(address, Handler)
    )
    server.daemon_threads = True
    server.block_on_close = False
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address  # type: ignore[misc]  # what typeshed calls Any
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if isinstance(address, Path):
            address.unlink()


def overview(**changes: Any) -> Json:
    """`GET /v1/status`."""
    return {
        "schema": 1,
        "version": "1.0.0",
        "pid": 4711,
        "started_at": "2026-01-31T12:00:00.000Z",
        "uptime_seconds": 11_525.0,
        "config": "/etc/keepalive/keepalive.toml",
        "healthy": True,
        "ready": True,
        "reason": "every configured target is eligible",
        "draining": False,
        "window_seconds": 45.0,
        "window_calibrated": False,
        "targets": {"total": 0, **dict.fromkeys(STATES, 0)},
        "eligible_ratio": 1.0,
        "heartbeats": 100,
        "attempts": 101,
        "in_flight": 0,
        "rate_groups": 1,
        "leases": 0,
        "budget_used": 0.708,
        "nearest_deadline": None,
        **changes,
    }


def target(script: str | None = "api", state: str = "eligible", **changes: Any) -> Json:
    """One target of `GET /v1/targets`."""
    account = changes.get("account_id", "0123456789abcdef0123456789abcdef")
    return {
        "target": f"{account}/{script or ''}",
        "account_id": account,
        "script_id": script,
        "credential": "prod",
        "rate_group": "default",
        "state": state,
        "eligible_until": "2026-01-31T12:00:45.000Z",
        "eligible_for_seconds": 38.25,
        "renewed_at": "2026-01-31T12:00:00.000Z",
        "next_beat_in_seconds": 8.5,
        "failures": 0,
        "leases": [],
        "fault": None,
        **changes,
    }


def rate_group(**changes: Any) -> Json:
    """One rate group of `GET /v1/rate_groups`."""
    return {
        "rate_group": "default",
        "targets": 1,
        "refused": 0,
        "interval_seconds": 15.0,
        "nominal_interval_seconds": 15.0,
        "requests": 1200,
        "period_seconds": 300.0,
        "share": 0.9,
        "allowed": 1080,
        "spent": 765,
        "remaining": 315,
        "silent_until": None,
        "throttles": 0,
        "breakers": [],
        **changes,
    }
