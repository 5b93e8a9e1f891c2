from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Event

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from keepalive._version import __version__
from keepalive.core.eligibility import Eligibility
from keepalive.core.events import CredentialVerified
from keepalive.core.group import RateGroup
from keepalive.core.hold import Hold
from keepalive.core.plan import Quota
from keepalive.core.target import Scope
from keepalive.sinks.counts import Counts
from keepalive.sinks.metrics import FRESH_SECONDS, Metrics, Sources
from tests.core.stage import RESET, START, Stage, always, denied, fleet, hanging, planned, throttled

EPOCH = 1_800_000_000.0
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"

FAMILIES = {
    "keepalive_targets": "gauge",
    "keepalive_heartbeats": "counter",
    "keepalive_attempts": "counter",
    "keepalive_attempt_duration_seconds": "histogram",
    "keepalive_beat_lateness_seconds": "histogram",
    "keepalive_eligible_target_seconds": "counter",
    "keepalive_lapsed_target_seconds": "counter",
    "keepalive_nearest_deadline_timestamp_seconds": "gauge",
    "keepalive_budget_allowed_requests": "gauge",
    "keepalive_budget_remaining_requests": "gauge",
    "keepalive_throttled_until_timestamp_seconds": "gauge",
    "keepalive_breaker_open": "gauge",
    "keepalive_connections_opened": "counter",
    "keepalive_events_dropped": "counter",
    "keepalive_config_last_reload_successful": "gauge",
    "keepalive_credential_expiry_timestamp_seconds": "gauge",
}
"""Every metric of ours with its type, but for the one of the build."""


@dataclass
class Daemon:
    """A rate group played in virtual time, and the metrics of it."""

    stage: Stage
    in_force: tuple[str, ...] = ("prod",)
    counts: Counts = field(default_factory=Counts)
    asked: int = 0

    def __post_init__(self) -> None:
        sources = Sources(
            credentials=lambda: self.in_force,
            groups=self._groups,
            connections_opened=lambda: 7,
            dropped={"log": lambda: 3},
        )
        self._told = 0
        self.metrics = Metrics(
            self.counts, sources, now=lambda: self.stage.now, wall_at=lambda moment: EPOCH + moment
        )

    def _groups(self) -> Mapping[str, RateGroup]:
        self.asked += 1
        return {self.stage.group.name: self.stage.group}

    def play(self, seconds: float) -> None:
        self.stage.play(seconds)
        for event in self.stage.events[self._told :]:
            self.counts(event)
        self._told = len(self.stage.events)

    async def scrape(self) -> Page:
        body, content_type = await self.metrics.render()
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        return Page(parse_text(body.decode()))


class SlowGroup(RateGroup):
    """Has so many holds that whoever asks for them waits until it is free."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.free = Event()

    def holds(self) -> list[Hold]:
        self.free.wait(timeout=10)
        return super().holds()


class Page:
    """What a scraper makes of a page."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = {family.name: family for family in families}

    def by(self, name: str, label: str) -> dict[str, float]:
        """The samples of a gauge or a counter by one of their labels."""
        family = self.families[name]
        samples = (sample for sample in family.samples if not sample.name.endswith("_created"))
        return {sample.labels[label]: sample.value for sample in samples}

    def value(self, name: str) -> float:
        [sample] = self.families[name].samples
        return sample.value


def ours(page: Page) -> dict[str, str]:
    return {name: family.type for name, family in page.families.items() if name.startswith("keepalive_")}


async def test_every_metric_has_its_name_and_type_as_text() -> None:
    page = await Daemon(Stage(planned(fleet(2)))).scrape()

    assert ours(page) == FAMILIES | {"keepalive_build_info": "gauge"}
    assert all(family.documentation for family in page.families.values())


async def test_every_metric_has_its_name_and_type_as_openmetrics() -> None:
    daemon = Daemon(Stage(planned(fleet(2))))
    daemon.play(60)
    body, content_type = await daemon.metrics.render(OPENMETRICS)
    page = Page(parse_openmetrics(body.decode()))  # type: ignore[no-untyped-call] # of the library

    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert ours(page) == FAMILIES | {"keepalive_build": "info"}
    assert page.by("keepalive_targets", "state")["eligible"] == 2


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html",
        "text/plain;version=0.0.4",
        "text/plain;version=1.0.0;escaping=values",
        "\0,;=,",
    ],
)
async def test_whoever_does_not_speak_openmetrics_gets_text(accept: str) -> None:
    _, content_type = await Daemon(Stage(planned(fleet(1)))).metrics.render(accept)

    assert content_type == "text/plain; version=0.0.4; charset=utf-8"


async def test_everything_that_can_be_counted_is_there_with_zero_from_the_first_scrape() -> None:
    daemon = Daemon(Stage(planned(())), in_force=("prod", "legacy"))
    page = await daemon.scrape()

    targets = page.families["keepalive_targets"].samples
    assert {(one.labels["credential"], one.labels["state"], one.value) for one in targets} == {
        (name, state.value, 0.0) for name in ("prod", "legacy") for state in Eligibility
    }
    for name, outcomes in (
        ("keepalive_heartbeats", {"accepted", "failed"}),
        ("keepalive_attempts", {"accepted", "throttled", "denied", "transient"}),
    ):
        samples = [one for one in page.families[name].samples if one.labels["credential"] == "legacy"]
        assert {one.labels["outcome"]: one.value for one in samples} == dict.fromkeys(outcomes, 0.0)
    for name in ("keepalive_eligible_target_seconds", "keepalive_lapsed_target_seconds"):
        assert page.by(name, "credential") == {"prod": 0.0, "legacy": 0.0}
    assert page.by("keepalive_breaker_open", "kind") == {
        "origin": 0.0,
        "credential": 0.0,
        "account": 0.0,
        "target": 0.0,
    }
    assert page.by("keepalive_nearest_deadline_timestamp_seconds", "credential") == {}
    assert page.by("keepalive_credential_expiry_timestamp_seconds", "credential") == {}
    assert page.by("keepalive_budget_remaining_requests", "rate_group") == {}


async def test_what_is_only_asked_for_is_passed_on() -> None:
    page = await Daemon(Stage(planned(fleet(1)))).scrape()

    assert page.value("keepalive_connections_opened") == 7
    assert page.by("keepalive_events_dropped", "sink") == {"log": 3}
    assert page.value("keepalive_config_last_reload_successful") == 1
    assert page.by("keepalive_build_info", "version") == {__version__: 1.0}


async def test_the_process_is_described_too() -> None:
    page = await Daemon(Stage(planned(fleet(1)))).scrape()

    assert page.value("process_resident_memory_bytes") > 1e6
    assert page.value("process_start_time_seconds") > 1e9
    assert "python_gc_collections" in page.families


async def test_a_healthy_daemon_counts_its_beats_and_their_time() -> None:
    daemon = Daemon(Stage(planned(fleet(3))))
    daemon.play(60)
    page = await daemon.scrape()

    sent = len(daemon.stage.sent)
    assert page.by("keepalive_targets", "state")["eligible"] == 3
    assert page.by("keepalive_heartbeats", "outcome") == {"accepted": sent, "failed": 0}
    assert page.by("keepalive_attempts", "outcome")["accepted"] == sent
    buckets = {
        sample.labels["le"]: sample.value
        for sample in page.families["keepalive_attempt_duration_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert (buckets["0.05"], buckets["0.25"], buckets["+Inf"]) == (0, sent, sent)
    [seconds] = page.by("keepalive_eligible_target_seconds", "credential").values()
    assert seconds == pytest.approx(3 * 60, abs=1)


async def test_attempts_that_hang_count_with_their_time_and_lapses_as_failed() -> None:
    daemon = Daemon(Stage(planned(fleet(2))))
    daemon.play(30)
    daemon.stage.answer = hanging
    daemon.play(90)
    page = await daemon.scrape()

    failures = page.by("keepalive_attempts", "outcome")["transient"]
    assert failures > 10
    [total] = [
        sample.value
        for sample in page.families["keepalive_attempt_duration_seconds"].samples
        if sample.name.endswith("_sum")
    ]
    assert total > 5 * failures
    assert page.by("keepalive_heartbeats", "outcome")["failed"] == 2
    assert page.by("keepalive_lapsed_target_seconds", "credential")["prod"] > 60
    assert page.by("keepalive_breaker_open", "kind")["origin"] == 1


async def test_the_nearest_deadline_is_that_of_the_lease_that_runs_out_next() -> None:
    daemon = Daemon(Stage(planned(fleet(5))))
    daemon.play(100)
    page = await daemon.scrape()

    group = daemon.stage.group
    standings = [group.standing_of(target, daemon.stage.now) for target in fleet(5)]
    nearest = min(each.eligible_until for each in standings if each and each.eligible_until)
    assert nearest > daemon.stage.now
    assert page.by("keepalive_nearest_deadline_timestamp_seconds", "credential") == {
        "prod": pytest.approx(EPOCH + nearest, abs=0.001)
    }


async def test_a_credential_whose_leases_have_all_run_out_has_no_deadline() -> None:
    daemon = Daemon(Stage(planned(fleet(2))))
    daemon.play(30)
    daemon.stage.answer = always(RESET)
    daemon.play(90)
    page = await daemon.scrape()

    assert page.by("keepalive_targets", "state")["lapsed"] == 2
    assert page.by("keepalive_nearest_deadline_timestamp_seconds", "credential") == {}


async def test_the_budget_says_what_is_left_of_the_share() -> None:
    daemon = Daemon(Stage(planned(fleet(3), quota=Quota(requests=100))))
    daemon.play(60)
    page = await daemon.scrape()

    assert page.by("keepalive_budget_allowed_requests", "rate_group") == {"default": 90}
    assert page.by("keepalive_budget_remaining_requests", "rate_group") == {
        "default": 90 - len(daemon.stage.sent)
    }


async def test_a_silence_is_told_until_it_is_over() -> None:
    daemon = Daemon(Stage(planned(fleet(2)), always(throttled(30))))
    daemon.play(1)
    silent_until = daemon.stage.group.budget.silent_until
    until = (await daemon.scrape()).by("keepalive_throttled_until_timestamp_seconds", "rate_group")
    assert until == {"default": pytest.approx(EPOCH + silent_until, abs=0.001)}

    daemon.stage.now = silent_until
    until = (await daemon.scrape()).by("keepalive_throttled_until_timestamp_seconds", "rate_group")
    assert until == {"default": 0.0}


@pytest.mark.parametrize("scope", [Scope.CREDENTIAL, Scope.ACCOUNT, Scope.TARGET])
async def test_breakers_are_counted_by_how_far_they_reach(scope: Scope) -> None:
    daemon = Daemon(Stage(planned(fleet(2)), always(denied(scope))))
    daemon.play(120)
    page = await daemon.scrape()

    open_ones = {kind for kind, count in page.by("keepalive_breaker_open", "kind").items() if count}
    assert open_ones == {scope.name.lower()}
    assert page.by("keepalive_targets", "state")["denied"] == 2
    assert page.by("keepalive_heartbeats", "outcome")["failed"] == 2


async def test_a_token_that_ends_is_told_as_unix_time() -> None:
    daemon = Daemon(Stage(planned(fleet(1))))
    daemon.counts(CredentialVerified(at=START, credential="prod", expires_on=START + 86400))
    page = await daemon.scrape()

    assert page.by("keepalive_credential_expiry_timestamp_seconds", "credential") == {
        "prod": EPOCH + START + 86400
    }


async def test_a_credential_that_left_keeps_its_counters_and_loses_its_gauges() -> None:
    daemon = Daemon(Stage(planned(fleet(2))))
    daemon.counts(CredentialVerified(at=START, credential="prod", expires_on=START + 86400))
    daemon.play(30)
    daemon.in_force = ("other",)
    assert "prod" in (await daemon.scrape()).by("keepalive_targets", "credential")  # its targets are held yet

    daemon.stage.group.apply(planned(()), daemon.stage.now)
    daemon.play(10)
    page = await daemon.scrape()

    assert set(page.by("keepalive_targets", "credential")) == {"other"}
    assert page.by("keepalive_credential_expiry_timestamp_seconds", "credential") == {}
    assert page.by("keepalive_attempts", "credential").keys() == {"prod", "other"}


async def test_a_group_that_left_is_shown_for_as_long_as_what_it_sent_counts() -> None:
    daemon = Daemon(Stage(planned(fleet(2))))
    daemon.play(30)
    daemon.stage.group.apply(planned(()), daemon.stage.now)
    daemon.play(200)
    assert "default" in (await daemon.scrape()).by("keepalive_budget_remaining_requests", "rate_group")

    daemon.play(200)
    assert (await daemon.scrape()).by("keepalive_budget_remaining_requests", "rate_group") == {}


async def test_many_who_ask_at_once_share_one_page() -> None:
    daemon = Daemon(Stage(planned(fleet(1))))

    pages = await asyncio.gather(*(daemon.metrics.render() for _ in range(20)))

    assert len(set(pages)) == 1
    assert daemon.asked == 1


async def test_a_page_is_given_again_for_a_second_and_then_made_anew() -> None:
    daemon = Daemon(Stage(planned(fleet(1))))
    first = await daemon.metrics.render()
    daemon.play(FRESH_SECONDS - 0.01)
    assert await daemon.metrics.render() == first
    assert daemon.asked == 1

    daemon.play(0.02)
    assert await daemon.metrics.render() != first
    assert daemon.asked == 2


async def test_a_page_that_takes_long_is_not_begun_a_second_time() -> None:
    daemon = Daemon(Stage(planned(fleet(1))))
    group = daemon.stage.group = SlowGroup("default")
    first = asyncio.create_task(daemon.metrics.render())
    await asyncio.sleep(0)
    daemon.stage.now += 10 * FRESH_SECONDS
    second = asyncio.create_task(daemon.metrics.render())
    await asyncio.sleep(0)

    group.free.set()

    assert await first == await second
    assert daemon.asked == 1


async def test_a_scraper_that_goes_away_takes_nothing_from_the_others() -> None:
    daemon = Daemon(Stage(planned(fleet(1))))
    gone = asyncio.create_task(daemon.metrics.render())
    await asyncio.sleep(0)
    gone.cancel()

    body, _ = await daemon.metrics.render()

    assert b"keepalive_targets" in body
    assert gone.cancelled()
    assert daemon.asked == 1
