from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.outcome import Accepted, Fault, Headroom, Outcome, Throttled, Transient
from keepalive.core.target import Scope
from tests.core.stage import denied

faults = st.builds(Fault, st.sampled_from(["timeout", "http_503"]), st.text(max_size=5))


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted(Headroom(5, 30)),
        Throttled(Fault("throttled"), 5.0),
        denied(Scope.TARGET),
        Transient(Fault("x")),
    ],
)
def test_an_outcome_never_changes(outcome: Outcome) -> None:
    name = next(iter(outcome.__slots__))
    with pytest.raises(FrozenInstanceError):
        setattr(outcome, name, None)


@given(faults, faults)
def test_outcomes_are_values_that_compare_by_what_they_say(one: Fault, other: Fault) -> None:
    assert (Throttled(one) == Throttled(other)) == (one == other)
    assert len({Transient(one), Transient(other)}) == (1 if one == other else 2)


def test_a_passing_fault_is_the_origins_unless_something_narrower_is_said() -> None:
    passing = Transient(Fault("reset"))

    assert passing.scope is Scope.ORIGIN
    assert not passing.hung
