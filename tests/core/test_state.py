from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged
from keepalive.core.group import RateGroup
from keepalive.core.outcome import Fault
from keepalive.core.stamp import UNWRITTEN, Stamp
from keepalive.core.state import GroupState, Refusal
from keepalive.core.tally import Tally
from keepalive.core.target import Target
from tests.core.stage import Stage, fleet, planned

HOME = Target("prod", "0" * 32, "api")
STATE = GroupState(
    renewed=((HOME, 90.0),),
    calls=((20.0, 3), (90.0, 4)),
    silent_until=130.0,
    throttles=2,
    refusals=(Refusal(("prod",), Fault("authentication"), opened_at=40.0),),
)
SAVED = Stamp("one", 100.0)


@given(st.floats(0, 1e9))
def test_within_one_boot_moments_stay_what_they_are(later: float) -> None:
    at_least, at_most = Stamp("one", 100.0 + later).elapsed(SAVED)

    assert at_least == at_most == pytest.approx(later, abs=1e-6)
    assert STATE.carried_over(SAVED, Stamp("one", 100.0 + later)) is STATE


@given(st.floats(0, 1e9))
def test_after_another_boot_calls_keep_their_age_and_no_renewal_is_believed(now: float) -> None:
    state = STATE.carried_over(SAVED, Stamp("two", now))

    assert state.renewed == ()
    assert sum(count for _, count in state.calls) == 7
    assert [now - at for at, _ in state.calls] == pytest.approx([80.0 - UNWRITTEN, 0.0], abs=1e-6)
    assert state.silent_until == pytest.approx(now + 30.0)
    assert state.throttles == 2
    assert [refusal.key for refusal in state.refusals] == [("prod",)]
    assert all(refusal.opened_at <= now for refusal in state.refusals)


def test_a_boot_without_a_name_is_like_no_other() -> None:
    assert Stamp("", 200.0).elapsed(Stamp("", 100.0)) == (0.0, inf)


def test_a_clock_that_is_behind_is_that_of_another_boot() -> None:
    assert Stamp("one", 99.0).elapsed(SAVED) == (0.0, inf)


def test_an_empty_state_stays_empty() -> None:
    assert GroupState().carried_over(SAVED, Stamp("two", 5.0)) == GroupState()


@pytest.mark.parametrize("count", [30, 42, 63])
def test_a_reboot_lapses_nobody_however_large_the_group_is(count: int) -> None:
    before = Stage(planned(fleet(count)))
    before.play(900)
    state = before.group.save(before.now)

    after = Stage(before.group.plan)
    after.now = uptime = 30.0
    after.group, after.tally, after.events = RateGroup("default"), Tally(), []
    after.group.apply(before.group.plan, uptime)
    after.group.restore(state.carried_over(Stamp("one", before.now), Stamp("two", uptime)), uptime)
    after.play(900)

    assert len(after.sent) > 300
    assert not [event for event in after.told(EligibilityChanged) if event.to_state is Eligibility.LAPSED]
