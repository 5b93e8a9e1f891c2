"""The network breaks between keepalive and Cloudflare: the kernel's own faults, on real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.daemon import until
from benchmarks.fleet import Fleet
from keepalive.emulator import Fault, FaultKind
from tests.faults.conftest import Figure
from tests.faults.proxy import Mode
from tests.faults.stage import Stage, playing

pytestmark = pytest.mark.looptime

OUTAGE = 26.0
"""Seconds for which a fault lasts: as long as nobody may lapse of it."""


async def endure(stage: Stage, mode: Mode, figure: Figure) -> None:
    """Play a fault for 26 s, and see everybody renewed in time."""
    await stage.proxy.switch(mode)
    await asyncio.sleep(OUTAGE)
    await stage.heal()
    figure("everybody renewed {} s after it ended", await stage.renewed())
    assert stage.lapses == 0
    assert not stage.log.became("lapsed")


async def test_refused_connections_are_retried_until_somebody_listens(tmp_path: Path, figure: Figure) -> None:
    async with playing(tmp_path) as stage:
        await endure(stage, Mode.REFUSE, figure)
    assert stage.log.causes() <= {"connect", "reset"}
    assert "connection refused" in stage.log.words("detail")


async def test_a_handshake_that_is_never_answered_costs_one_timeout(tmp_path: Path, figure: Figure) -> None:
    async with playing(tmp_path) as stage:
        await endure(stage, Mode.DEAF, figure)
    assert stage.log.causes() == {"timeout"}


async def test_a_connection_that_is_reset_as_it_is_accepted_is_opened_again(
    tmp_path: Path, figure: Figure
) -> None:
    async with playing(tmp_path) as stage:
        await endure(stage, Mode.SLAM, figure)
        assert stage.proxy.struck > len(stage.scripts) / 2
    assert stage.log.causes() == {"reset"}


async def test_a_request_that_is_reset_before_it_arrived_is_sent_again(
    tmp_path: Path, figure: Figure
) -> None:
    async with playing(tmp_path) as stage:
        before = len(stage.arrivals)
        await stage.proxy.switch(Mode.RESET_BEFORE)
        await asyncio.sleep(OUTAGE)
        assert len(stage.arrivals) == before
        await stage.heal()
        figure("everybody renewed {} s after it ended", await stage.renewed())
        assert stage.lapses == 0
    assert stage.log.causes() == {"reset"}


async def test_a_request_that_is_reset_after_it_arrived_is_sent_again_and_its_lease_not_believed(
    tmp_path: Path, figure: Figure
) -> None:
    """Cloudflare has renewed, but nobody told: keepalive must not count on it."""
    async with playing(tmp_path) as stage:
        accepted = len(stage.log.named("heartbeat.accepted"))
        before = len(stage.arrivals)
        await stage.proxy.switch(Mode.RESET_AFTER)
        await asyncio.sleep(OUTAGE)
        assert len(stage.log.named("heartbeat.accepted")) == accepted
        figure("{} requests had arrived without an answer", len(stage.arrivals) - before)
        await stage.heal()
        await stage.renewed()
        assert stage.lapses == 0
    assert stage.log.causes() == {"reset"}


async def test_a_black_hole_costs_each_attempt_its_timeout_and_lapses_nobody(
    tmp_path: Path, figure: Figure
) -> None:
    async with playing(tmp_path) as stage:
        await endure(stage, Mode.BLACK_HOLE, figure)
        latencies = [float(str(line["latency_ms"])) for line in stage.log.named("attempt.failed")]
    assert stage.log.causes() == {"timeout"}
    assert max(latencies) < 5100


async def test_connections_that_die_without_a_word_are_given_up_after_one_timeout(
    tmp_path: Path, figure: Figure
) -> None:
    """A NAT or firewall has forgotten them; new ones would work."""
    async with playing(tmp_path) as stage:
        await asyncio.sleep(7.5)
        stage.proxy.silence_open()
        await stage.heal()
        figure("everybody renewed {} s after it", await stage.renewed())
        assert stage.lapses == 0
    assert stage.log.causes() == {"timeout"}


async def test_an_idle_connection_that_the_server_ends_costs_no_attempt(
    tmp_path: Path, figure: Figure
) -> None:
    async with playing(tmp_path) as stage:
        await asyncio.sleep(4.5)
        before = stage.proxy.connections
        stage.proxy.end_open()
        await stage.heal()
        await stage.renewed()
        figure("{} failed attempts", len(stage.log.named("attempt.failed")))
        assert stage.proxy.connections > before
    assert not stage.log.named("attempt.failed")


async def test_a_server_that_restarts_resets_everybody_and_lapses_nobody(
    tmp_path: Path, figure: Figure
) -> None:
    async with playing(tmp_path) as stage:
        for _ in range(4):
            await asyncio.sleep(4)
            stage.emulator.drop_connections()
        await stage.heal()
        figure("everybody renewed {} s after the last restart", await stage.renewed())
        assert stage.lapses == 0


async def test_an_answer_that_drips_is_given_up_at_the_timeout(tmp_path: Path, figure: Figure) -> None:
    async with playing(tmp_path) as stage:
        await endure(stage, Mode.DRIP, figure)
    assert stage.log.causes() == {"timeout"}


async def test_an_answer_that_is_cut_short_is_not_believed(tmp_path: Path, figure: Figure) -> None:
    async with playing(tmp_path) as stage:
        accepted = len(stage.log.named("heartbeat.accepted"))
        await stage.proxy.switch(Mode.CUT)
        await asyncio.sleep(OUTAGE)
        assert len(stage.log.named("heartbeat.accepted")) == accepted
        await stage.heal()
        figure("everybody renewed {} s after it ended", await stage.renewed())
        assert stage.lapses == 0
    assert stage.log.causes() <= {"reset", "truncated"}


async def test_a_slow_server_is_waited_for_and_not_hedged(tmp_path: Path, figure: Figure) -> None:
    async with playing(tmp_path) as stage:
        stage.proxy.latency = 4.0
        before = len(stage.arrivals)
        await asyncio.sleep(60)
        sent = len(stage.arrivals) - before
        figure("{} requests in a minute", sent)
        assert stage.lapses == 0
    assert not stage.log.named("attempt.failed")
    assert sent <= 4.5 * len(stage.scripts)


@pytest.mark.parametrize("mode", [Mode.RESET_BEFORE, Mode.RESET_AFTER, Mode.BLACK_HOLE], ids=lambda m: m.name)
async def test_a_third_of_all_requests_lost_lapses_nobody(tmp_path: Path, figure: Figure, mode: Mode) -> None:
    async with playing(tmp_path) as stage:
        await stage.proxy.switch(mode, share=0.3)
        await asyncio.sleep(600)
        figure("{} requests lost", stage.proxy.struck)
        await stage.heal()
        await stage.renewed()
        assert stage.proxy.struck > 0
        assert stage.lapses == 0


async def test_a_network_that_flaps_lapses_nobody(tmp_path: Path, figure: Figure) -> None:
    """Up and down by turns, four times: neither spell is long enough to learn from."""
    async with playing(tmp_path) as stage:
        for _ in range(4):
            await stage.proxy.switch(Mode.REFUSE)
            await asyncio.sleep(5)
            await stage.heal()
            await asyncio.sleep(3)
        figure("{} failed attempts", len(stage.log.named("attempt.failed")))
        await stage.renewed()
        assert stage.lapses == 0


async def test_an_outage_longer_than_the_lease_is_told_exactly_and_ends_when_it_ends(
    tmp_path: Path, figure: Figure
) -> None:
    async with playing(tmp_path) as stage:
        renewed_at = {each.script_id: each.at for each in stage.arrivals}
        await stage.proxy.switch(Mode.REFUSE)
        await until(lambda: len(stage.log.became("lapsed")) == len(stage.scripts), timeout=90)
        await stage.heal()
        figure("everybody renewed {} s after it ended", await stage.renewed())
        tallies = stage.emulator.tallies()
        back = stage.log.became("eligible")[-len(stage.scripts) :]
    told = {str(line["script_id"]): line for line in stage.log.became("lapsed")}
    assert set(told) == set(renewed_at) == set(stage.scripts)
    assert all(line["cause"] == "connect" for line in told.values())
    assert all(tally.lapses == 1 for tally in tallies.values())
    assert {line["from_state"] for line in back} == {"lapsed"}


async def test_one_target_that_always_hangs_costs_the_others_nothing(tmp_path: Path, figure: Figure) -> None:
    async with playing(tmp_path) as stage:
        ill = stage.scripts[0]
        stage.emulator.faults.add(Fault(kind=FaultKind.HANG, script=ill))
        await asyncio.sleep(55)
        healthy = [tally for place, tally in stage.emulator.tallies().items() if place.script_id != ill]
        figure("{} lapses among the others", sum(tally.lapses for tally in healthy))
        assert all(tally.lapses == 0 for tally in healthy)
        assert {line["script_id"] for line in stage.log.became("lapsed")} == {ill}
        stage.emulator.faults.clear()
        await stage.heal()
        await stage.renewed()


async def test_a_server_that_is_dead_at_the_start_is_tried_until_it_lives(
    tmp_path: Path, figure: Figure
) -> None:
    async with playing(tmp_path, after=Mode.REFUSE) as stage:
        await asyncio.sleep(OUTAGE)
        assert not stage.arrivals
        assert len(stage.log.named("attempt.failed")) > 0
        await stage.heal()
        figure("everybody eligible {} s after it lives", await stage.renewed())


async def test_a_crowd_that_comes_back_after_an_outage_does_not_storm(tmp_path: Path, figure: Figure) -> None:
    fleet = Fleet(targets=40, users=1)
    async with playing(tmp_path, fleet) as stage:
        await stage.proxy.switch(Mode.REFUSE)
        await asyncio.sleep(OUTAGE)
        await stage.heal()
        await stage.renewed()
        back = sorted(each.at for each in stage.arrivals if each.at >= stage.healed_at)
        crowd = max(sum(1 for at in back if 0 <= at - start < 1) for start in back)
        figure("at most {} requests in a second", crowd)
        assert stage.lapses == 0
        assert crowd <= len(stage.scripts)
