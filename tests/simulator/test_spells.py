from __future__ import annotations

import pytest

from keepalive.core.target import Target
from keepalive.simulator.spells import Crash, Loss, Outage, Slow, Spell, Suspend

API = Target("prod", "0" * 32, "api")
WEB = Target("legacy", "1" * 32, "web")


@pytest.mark.parametrize(
    ("spell", "touched"),
    [
        (Slow(seconds=1.0), True),
        (Slow(seconds=1.0, groups=frozenset({"default"})), True),
        (Slow(seconds=1.0, groups=frozenset({"other"})), False),
        (Slow(seconds=1.0, credentials=frozenset({"legacy"})), False),
        (Slow(seconds=1.0, targets=frozenset({API}), groups=frozenset({"default"})), True),
        (Slow(seconds=1.0, targets=frozenset({WEB})), False),
    ],
)
def test_a_spell_touches_those_who_meet_all_that_it_names(spell: Slow, *, touched: bool) -> None:
    assert spell.touches("default", API) is touched


def test_a_spell_ends_before_its_end() -> None:
    spell = Outage(start=10.0, length=5.0)
    assert spell.end == 15.0
    assert spell.overlaps(0.0, 10.0)
    assert spell.overlaps(14.9, 20.0)
    assert not spell.overlaps(15.0, 20.0)
    assert not spell.overlaps(0.0, 9.9)


@pytest.mark.parametrize(
    ("spell", "cause"),
    [(Outage(loss=Loss.REFUSED), "outage.refused"), (Suspend(), "suspend"), (Crash(), "crash")],
)
def test_a_lapse_can_blame_a_spell_by_a_stable_word(spell: Spell, cause: str) -> None:
    assert spell.cause == cause
