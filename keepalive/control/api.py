"""The API: what commands ask of a running daemon, and have it do. `docs/openapi.json` describes it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from math import inf
from typing import TypeVar

from aiohttp import web

from keepalive.control.pages import BREATH, read_page
from keepalive.control.parts import Parts
from keepalive.control.question import (
    FILTER_PARAMETERS,
    Filter,
    Paging,
    Wish,
    check_parameters,
    read_body,
    read_limit,
)
from keepalive.control.reply import Reply, encode, listing, reply
from keepalive.control.views import Object, Viewpoint
from keepalive.core.events import ConfigRejected
from keepalive.core.group import RateGroup
from keepalive.core.lease import Lease
from keepalive.core.target import Target
from keepalive.errors import LeaseError, RequestError, TargetError

T = TypeVar("T")

LONGEST_WAIT = 300.0
"""Seconds after which a command asks again for a call, however long the quota is spent."""


class Api:
    """Everything below `/v1`.

    Long lists are read one at a time: side by side their turns would add up to late beats.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._scheduler = parts.scheduler
        self._leases = parts.leases
        self._turn = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Who answers what."""
        return [
            web.get("/v1/status", self._status, allow_head=False),
            web.get("/v1/targets", self._list_targets, allow_head=False),
            web.get("/v1/rate_groups", self._list_groups, allow_head=False),
            web.get("/v1/rate_groups/{name}", self._group, allow_head=False),
            web.post("/v1/rate_groups/{name}/calls", self._call),
            web.get("/v1/transitions", self._transitions, allow_head=False),
            web.post("/v1/reload", self._reload),
            web.get("/v1/leases", self._list_leases, allow_head=False),
            web.get("/v1/leases/{id}", self._lease, allow_head=False),
            web.put("/v1/leases/{id}", self._put_lease),
            web.delete("/v1/leases/{id}", self._release),
        ]

    def _viewpoint(self) -> Viewpoint:
        clock = self._parts.clock
        return Viewpoint(clock.now(), clock.wall_at)

    # --- the daemon ----------------------------------------------------------------------------

    async def _status(self, request: web.Request) -> Reply:
        check_parameters(request.query)
        nearest = await self._nearest_deadline()
        view, scheduler, about = self._viewpoint(), self._scheduler, self._parts.about
        health, readiness = self._parts.probe.health(), self._parts.probe.readiness()
        tally, heartbeat = scheduler.tally, self._parts.heartbeat()
        standings = [group.standing(view.now) for group in self._groups()]
        return reply(
            {
                "version": about.version,
                "pid": os.getpid(),
                "started_at": view.moment(about.started_at),
                "uptime_seconds": round(view.now - about.started_at, 3),
                "config": about.config,
                "healthy": health.ok,
                "ready": readiness.ok,
                "reason": readiness.reason if health.ok else health.reason,
                "draining": scheduler.draining,
                "window_seconds": heartbeat.window,
                "window_calibrated": heartbeat.window_calibrated,
                "targets": {"total": tally.targets, **{state.value: n for state, n in tally.counts.items()}},
                "eligible_ratio": round(tally.ratio(view.now), 6),
                "heartbeats": tally.heartbeats,
                "attempts": tally.attempts,
                "in_flight": scheduler.in_flight,
                "rate_groups": len(standings),
                "leases": len(self._leases),
                "budget_used": round(min(1.0, max((each.used for each in standings), default=0.0)), 4),
                "nearest_deadline": view.moment(nearest),
            }
        )

    async def _nearest_deadline(self) -> float | None:
        """When the first of those who are eligible now would lapse."""
        nearest = inf
        async with self._turn:
            for group in self._groups():
                holds, window, now = group.holds(), group.plan.policy.window, self._parts.clock.now()
                for start in range(0, len(holds), 10 * BREATH):
                    for hold in holds[start : start + 10 * BREATH]:
                        if hold.renewed_at is not None and now < hold.renewed_at + window < nearest:
                            nearest = hold.renewed_at + window
                    await asyncio.sleep(0)
        return None if nearest == inf else nearest

    async def _reload(self, request: web.Request) -> Reply:
        check_parameters(request.query)
        self._refuse_in_drain()
        event = await self._parts.reload.again()
        if isinstance(event, ConfigRejected):
            return reply({"reloaded": False, "faults": list(event.faults)}, status=422)
        told = asdict(event)
        del told["at"]
        return reply({"reloaded": True, **told})

    async def _transitions(self, request: web.Request) -> Reply:
        limit = read_limit(request.query, only=True)
        lines = await asyncio.to_thread(self._parts.history.lines, limit)
        return reply({"transitions": lines})

    # --- targets -------------------------------------------------------------------------------

    async def _list_targets(self, request: web.Request) -> Reply:
        paging = Paging.read(request.query, *FILTER_PARAMETERS)
        wanted = Filter.read(request.query)

        def read(target: Target) -> bytes | None:
            return self._target(target, wanted) if wanted.names(target) else None

        async with self._turn:
            groups = self._groups()
            if wanted.rate_group is not None:
                groups = [group for group in groups if group.name == wanted.rate_group]
            targets = [target for group in groups for target in group.plan.targets]
            page = await read_page(targets, paging.after, paging.limit, name=_itself, read=read)
        return listing("targets", page.items, page.following)

    def _target(self, target: Target, wanted: Filter | None = None) -> bytes | None:
        """A target as JSON; None where it is gone, or in no wanted state."""
        view, group = self._viewpoint(), self._scheduler.group_of(target)
        standing = group.standing_of(target, view.now) if group else None
        if group is None or standing is None or (wanted and not wanted.wants(standing.state)):
            return None
        return encode(view.target(standing, group.name, self._leases.holders(target)))

    # --- rate groups ---------------------------------------------------------------------------

    def _groups(self) -> list[RateGroup]:
        """Those that hold somebody, and those of before a reload whose calls still count."""
        now, groups = self._parts.clock.now(), self._scheduler.groups.values()
        return [group for group in groups if group.plan.targets or group.budget.ledger.count(now)]

    async def _list_groups(self, request: web.Request) -> Reply:
        paging = Paging.read(request.query)
        view = self._viewpoint()
        async with self._turn:
            page = await read_page(
                self._groups(),
                paging.after,
                paging.limit,
                name=lambda group: (group.name,),
                read=lambda group: encode(view.group(group.standing(view.now))),
            )
        return listing("rate_groups", page.items, page.following)

    def _group_named(self, request: web.Request) -> RateGroup:
        name = request.match_info["name"]
        if (group := self._scheduler.groups.get(name)) is None:
            raise RequestError(404, "there is no such rate group", "GET /v1/rate_groups names all")
        return group

    async def _group(self, request: web.Request) -> Reply:
        check_parameters(request.query)
        view = self._viewpoint()
        return reply(view.group(self._group_named(request).standing(view.now)))

    async def _call(self, request: web.Request) -> Reply:
        check_parameters(request.query)
        group = self._group_named(request)
        if not (wait := self._scheduler.lend(group.name)):
            return reply({"granted": True})
        silent = group.budget.silent_until > self._parts.clock.now()
        reason = "it is silent after a 429" if silent else "its quota is kept for the heartbeats"
        answer: Object = {
            "granted": False,
            "retry_after_seconds": round(min(wait, LONGEST_WAIT), 3),
            "reason": f"rate group {group.name}: {reason}",
        }
        return reply(answer)

    # --- leases --------------------------------------------------------------------------------

    async def _list_leases(self, request: web.Request) -> Reply:
        paging = Paging.read(request.query)
        async with self._turn:
            page = await read_page(
                tuple(self._leases),
                paging.after,
                paging.limit,
                name=lambda lease: (lease.name,),
                read=_itself,
                weight=lambda lease: len(lease.targets),
            )
            items = [b"".join(await self._written(lease)) for lease in page.items]
        return listing("leases", items, page.following)

    async def _lease(self, request: web.Request) -> Reply:
        check_parameters(request.query)
        return await self._shown(request.match_info["id"])

    async def _shown(self, name: str, status: int = 200) -> Reply:
        if (lease := self._leases.get(name)) is None:
            raise _no_lease()
        async with self._turn:
            opening, *rest = await self._written(lease)
        return Reply(b'{"schema":1,' + opening[1:], *rest, b"\n", status=status)

    async def _written(self, lease: Lease) -> list[bytes]:
        """A lease as JSON, in pieces: of a thousand targets it is longer than a breath."""
        view = self._viewpoint()
        ends = {"ends_at": view.moment(lease.ends_at), "ends_in_seconds": view.ahead(lease.ends_at)}
        pieces = [b'{"lease":' + encode(lease.name) + b',"targets":[']
        for start in range(0, len(lease.targets), BREATH):
            found = (self._target(target) for target in lease.targets[start : start + BREATH])
            pieces.append((b"," if start else b"") + b",".join(filter(None, found)))
            await asyncio.sleep(0)
        return [*pieces, b"]," + encode(ends)[1:]]

    async def _put_lease(self, request: web.Request) -> Reply:
        check_parameters(request.query)
        wish = Wish.read(await read_body(request))
        self._refuse_in_drain()
        name = request.match_info["id"]
        try:
            new = await self._leases.put(name, wish.targets, wish.credential, wish.ttl)
        except LeaseError as error:
            raise RequestError(409 if error.crowded else 400, error.found, error.hint) from None
        except TargetError as error:
            raise RequestError(400, error.found, error.hint) from None
        return await self._shown(name, 201 if new else 200)

    async def _release(self, request: web.Request) -> Reply:
        check_parameters(request.query)
        if not await self._leases.release(request.match_info["id"]):
            raise _no_lease()
        return Reply(status=204)

    def _refuse_in_drain(self) -> None:
        if self._scheduler.draining:
            raise RequestError(503, "keepalive is stopping", "ask the next one")


def _no_lease() -> RequestError:
    return RequestError(404, "there is no such lease", "ask for it anew; one that nobody renews in time ends")


def _itself(entry: T) -> T:
    return entry
