from __future__ import annotations

from keepalive.cloudflare.auth import ApiKey, ApiToken, UserServiceKey
from keepalive.core.plan import admit
from keepalive.demo import stage
from keepalive.emulator import Place

URL = "http://127.0.0.1:1/client/v4"


def test_the_configuration_has_twelve_targets_in_three_rate_groups_and_one_scheme_each() -> None:
    configuration = stage.configuration(URL, {})
    assert {name: len(group.targets) for name, group in configuration.plan.items()} == {
        "prod": 4,
        "billing": 4,
        "edge": 4,
    }
    schemes = [type(configuration.credentials[name]) for name in ("prod", "billing", "edge")]
    assert schemes == [ApiToken, ApiKey, UserServiceKey]
    assert configuration.warnings == ()


def test_everything_that_takes_time_is_as_much_faster_as_the_emulator() -> None:
    for group in stage.configuration(URL, {}).plan.values():
        assert group.policy.window * stage.SPEED == 45
        assert group.policy.interval * stage.SPEED == 15
        assert group.quota.period * stage.SPEED == 300
        assert admit(group).refused == ()


def test_what_the_command_line_says_wins() -> None:
    assert stage.configuration(URL, {"log.level": "error"}).settings.log.level == "error"


def test_the_plan_is_what_the_emulator_measures_for_keepalive() -> None:
    planned = {
        Place(target.credential, target.account_id, target.script_id)
        for group in stage.configuration(URL, {}).plan.values()
        for target in group.targets
    }
    assert planned == {place for user in stage.CREDENTIALS for place in stage.places(user)}


def test_the_naive_loop_has_the_same_targets_as_a_user_of_its_own() -> None:
    own = [place._replace(user=stage.NAIVE) for user in stage.CREDENTIALS for place in stage.places(user)]
    assert [*stage.places(stage.NAIVE)] == own
    assert stage.NAIVE in {user.name for user in stage.world().users}
