from __future__ import annotations

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.demo.script import FIRST_AT, REST, ROUND, script
from keepalive.demo.stage import INTERVAL, WINDOW
from keepalive.emulator import FaultKind

SEEDS = st.integers(0, 2**32)


def test_a_round_has_a_reset_a_503_an_outage_a_hang_and_a_429_that_names_a_time() -> None:
    assert [spell.fault.kind for spell in ROUND] == [
        FaultKind.RESET,
        FaultKind.STATUS,
        FaultKind.OUTAGE,
        FaultKind.HANG,
        FaultKind.STATUS,
    ]
    assert ROUND[1].fault.status == 503
    assert (ROUND[4].fault.status, ROUND[4].fault.retry_after) == (429, 10)


def test_the_first_round_is_the_same_with_every_seed() -> None:
    assert [*islice(script(1), 5)] == [*islice(script(2), 5)]
    assert next(script(1)).begins == FIRST_AT


def test_one_seed_gives_one_script_and_another_seed_another() -> None:
    assert [*islice(script(1), 20)] == [*islice(script(1), 20)]
    assert [*islice(script(1), 20)] != [*islice(script(2), 20)]


@given(SEEDS)
def test_no_spell_begins_before_the_last_one_and_its_silence_have_rested_an_interval(seed: int) -> None:
    for before, after in pairwise(islice(script(seed), 30)):
        assert after.begins >= before.ends + (before.fault.retry_after or 0) + REST - 1e-6
    assert REST >= INTERVAL


@given(SEEDS)
def test_every_round_plays_the_same_spells_for_as_long(seed: int) -> None:
    for number, spell in enumerate(islice(script(seed), 15)):
        template = ROUND[number % len(ROUND)]
        assert spell.name == template.name
        assert spell.fault.kind is template.fault.kind
        assert spell.ends - spell.begins == pytest.approx(template.ends)


def test_whoever_was_renewed_an_interval_ago_can_outlive_every_spell() -> None:
    for spell in ROUND:
        assert INTERVAL + spell.ends + (spell.fault.retry_after or 0) < WINDOW
