"""The metrics: the page that Prometheus scrapes, of what was counted and of what is at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from keepalive.core.group import RateGroup
from keepalive.sinks.counts import Counts
from keepalive.sinks.families import Reading
from keepalive.sinks.line import WallAt

FRESH_SECONDS = 1.0
"""Seconds for which a page is given again: many who ask cost no more than one."""

_OPENMETRICS = "application/openmetrics-text"


@dataclass(frozen=True, slots=True)
class Sources:
    """Who is asked for a page, besides the counts. Each answers at once.

    Attributes:
        credentials: Names of the credentials that the configuration has.
        groups: The rate groups.
        connections_opened: Connections to Cloudflare that were begun since the start.
        dropped: By the name of a sink, how many events it has lost.
    """

    credentials: Callable[[], Collection[str]]
    groups: Callable[[], Mapping[str, RateGroup]]
    connections_opened: Callable[[], int]
    dropped: Mapping[str, Callable[[], int]]


class _Page(NamedTuple):
    """A page of the moment `at`; its body may still be in the making."""

    at: float
    body: asyncio.Future[bytes]


@dataclass(frozen=True, slots=True)
class _Both:
    """What was read of the daemon, and what the system says of its process."""

    reading: Reading
    process: Collector

    def collect(self) -> Iterator[Metric]:
        yield from self.reading.collect()
        yield from self.process.collect()


class Metrics:
    """Makes the page. The loop only copies numbers for it; the rest is done in a thread."""

    def __init__(
        self, counts: Counts, sources: Sources, *, now: Callable[[], float], wall_at: WallAt
    ) -> None:
        """Make it ready.

        Args:
            counts: The sink that counts.
            sources: Who is asked besides.
            now: The engine's clock.
            wall_at: Turns a moment of it into seconds since 1970.
        """
        self._counts = counts
        self._sources = sources
        self._now = now
        self._wall_at = wall_at
        self._pages: dict[str, _Page] = {}
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type; at most `FRESH_SECONDS` old when this is called.

        Args:
            accept: The header of that name: OpenMetrics where it speaks of that, else Prometheus text.
        """
        encode, content_type = _format(accept)
        page, now = self._pages.get(content_type), self._now()
        if page is None or (page.body.done() and now - page.at >= FRESH_SECONDS):
            contents = _Both(self._read(now), self._process)
            body = asyncio.get_running_loop().run_in_executor(None, encode, contents)
            page = self._pages[content_type] = _Page(now, body)
        # Shielded: a scraper that goes away must not take the page from the others who wait for it.
        return await asyncio.shield(page.body), content_type

    def _read(self, now: float) -> Reading:
        sources = self._sources
        in_force, groups = frozenset(sources.credentials()), tuple(sources.groups().values())
        return Reading(
            now=now,
            wall_now=self._wall_at(now),
            in_force=in_force,
            credentials=self._counts.reading(in_force, now),
            duration=self._counts.duration.reading(),
            lateness=self._counts.lateness.reading(),
            reloaded=self._counts.reloaded,
            groups=[group.standing(now) for group in groups],
            holders=groups,
            connections_opened=sources.connections_opened(),
            dropped={name: dropped() for name, dropped in sources.dropped.items()},
        )


def _format(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Two, whatever is asked: a page for each version that a header can name would be one for each client."""
    if any(each.partition(";")[0].strip() == _OPENMETRICS for each in accept.split(",")):
        return openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4
