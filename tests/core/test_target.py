from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.target import Scope, Target
from tests.core.stage import ACCOUNT

names = st.text(min_size=1, max_size=10)
targets = st.builds(Target, names, names, st.none() | names)


def test_its_label_is_what_a_person_writes_on_the_command_line() -> None:
    assert Target("prod", ACCOUNT, "api").label == f"{ACCOUNT}/api"
    assert Target("prod", ACCOUNT).label == f"{ACCOUNT}/"


@given(targets, targets)
def test_it_is_its_own_key(one: Target, other: Target) -> None:
    same = (one.credential, one.account_id, one.script_id) == (
        other.credential,
        other.account_id,
        other.script_id,
    )
    assert (one == other) == same
    assert len({one, other}) == (1 if same else 2)


@given(targets)
def test_each_scope_cuts_the_key_of_all_that_shares_a_fault(target: Target) -> None:
    assert target[: Scope.ORIGIN] == ()
    assert target[: Scope.CREDENTIAL] == (target.credential,)
    assert target[: Scope.ACCOUNT] == (target.credential, target.account_id)
    assert target[: Scope.TARGET] == target
