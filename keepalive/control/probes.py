"""The probes: how the daemon is, for those who scrape and restart it. Nothing here changes anything."""

from __future__ import annotations

from aiohttp import web

from keepalive.control.health import Verdict
from keepalive.control.parts import Parts
from keepalive.control.reply import Reply, reply


class Probes:
    """`/healthz`, `/readyz` and `/metrics`."""

    def __init__(self, parts: Parts) -> None:
        self._probe = parts.probe
        self._metrics = parts.metrics

    def routes(self) -> list[web.RouteDef]:
        """Who answers what."""
        answers = {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._scrape}
        return [
            route
            for path, answer in answers.items()
            for route in (web.get(path, answer, allow_head=False), web.head(path, answer))
        ]

    async def _health(self, _request: web.Request) -> Reply:
        return _judged("healthy", self._probe.health())

    async def _readiness(self, _request: web.Request) -> Reply:
        return _judged("ready", self._probe.readiness())

    async def _scrape(self, request: web.Request) -> Reply:
        page, content_type = await self._metrics.render(request.headers.get("Accept", ""))
        return Reply(page, content_type=content_type)


def _judged(name: str, verdict: Verdict) -> Reply:
    return reply({name: verdict.ok, "reason": verdict.reason}, status=200 if verdict.ok else 503)
