from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from keepalive.emulator import Fault, FaultKind, Faults, Route, read_faults
from keepalive.emulator.call import Whence
from keepalive.errors import ConfigError

BEAT = Whence(Route.HEARTBEAT, "user", "a" * 32, "api")
RESET = FaultKind.RESET


def test_the_first_fault_that_strikes_is_played() -> None:
    never, always, later = (
        Fault(kind=RESET, probability=0),
        Fault(kind=FaultKind.HANG),
        Fault(kind=RESET),
    )
    assert Faults([never, always, later]).request(0, BEAT) is always


def test_the_same_seed_draws_the_same_faults() -> None:
    def draws(seed: int) -> list[bool]:
        faults = Faults([Fault(kind=RESET, probability=0.3)], seed=seed)
        return [faults.request(0, BEAT) is not None for _ in range(200)]

    assert draws(7) == draws(7) != draws(8)
    assert 30 < sum(draws(7)) < 90


def test_a_fault_strikes_from_after_until_before_until() -> None:
    faults = Faults([Fault(kind=RESET, after=10, until=20)])
    assert [faults.request(at, BEAT) is not None for at in (9.9, 10, 19.9, 20)] == [False, True, True, False]


def test_a_count_runs_out_and_each_strike_is_on_record() -> None:
    faults = Faults([Fault(kind=RESET, count=2)])
    assert [faults.request(at, BEAT) is not None for at in (1, 2, 3)] == [True, True, False]
    assert list(faults.strikes) == [(1, RESET), (2, RESET)]


@pytest.mark.parametrize(
    "aim", [{"routes": ["query"]}, {"user": "other"}, {"account": "b" * 32}, {"script": "web"}]
)
def test_a_fault_spares_whom_it_is_not_aimed_at(aim: dict[str, object]) -> None:
    assert Faults([Fault.model_validate({"kind": "reset", **aim})]).request(0, BEAT) is None


def test_a_fault_strikes_whom_it_is_aimed_at() -> None:
    fault = Fault(
        kind=RESET, routes=frozenset({Route.HEARTBEAT}), user="user", account="a" * 32, script="api"
    )
    assert Faults([fault]).request(0, BEAT) is fault


def test_faults_of_frames_never_strike_requests_and_the_other_way_round() -> None:
    stream = Whence(Route.STREAM, "user", "a" * 32, "api")
    assert Faults([Fault(kind=FaultKind.SILENCE)]).request(0, stream) is None
    assert Faults([Fault(kind=FaultKind.STATUS, status=503)]).frame(0, stream) is None
    assert Faults([Fault(kind=FaultKind.OUTAGE)]).frame(0, stream) is not None


def test_faults_can_be_added_and_cleared_at_any_time() -> None:
    faults = Faults()
    faults.add(Fault(kind=RESET))
    assert faults.request(0, BEAT)
    faults.clear()
    assert list(faults) == []
    assert faults.request(0, BEAT) is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "status"}, "needs a `status`"),
        ({"kind": "status", "status": 200}, "from 400 to 599"),
        ({"kind": "reset", "retry_after": 3}, "belongs to status"),
        ({"kind": "outage", "probability": 0.5}, "leave out `probability`"),
        ({"kind": "close", "routes": ["heartbeat"]}, "open streams only"),
        ({"kind": "reset", "after": 9, "until": 9}, "must lie behind"),
        ({"kind": "reset", "after": float("nan")}, "finite"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Fault.model_validate(values)


def test_a_fault_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(
        """
        [[faults]]
        kind = "status"
        status = 429
        retry_after = 5
        after = 60
        until = 65
        routes = ["heartbeat"]

        [[faults]]
        kind = "reset"
        probability = 0.05
        """
    )
    spell, resets = read_faults(file)
    assert spell == Fault(
        kind=FaultKind.STATUS,
        status=429,
        retry_after=5,
        after=60,
        until=65,
        routes=frozenset({Route.HEARTBEAT}),
    )
    assert resets == Fault(kind=RESET, probability=0.05)


def test_every_slip_in_a_fault_file_is_reported_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(
        """[[faults]]
kind = "reset"
probabilty = 0.5

[[faults]]
kind = "melt"

[[faults]]
kind = "reset"
routes = ["heartbeat", "lunch"]
[other]
"""
    )
    with pytest.raises(ConfigError) as raised:
        read_faults(file)
    first, second, third, fourth = raised.value.faults
    assert str(first) == f"{file}:3: faults[0].probabilty: unknown key; did you mean `probability`?"
    assert (second.where, second.key) == (f"{file}:6", "faults[1].kind")
    assert (third.where, third.key) == (f"{file}:10", "faults[2].routes[1]")
    assert (fourth.key, fourth.found) == ("other", "unknown key")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[faults", "is no TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "does not exist"),
        (b"x = " + b"[" * 50_000, "no TOML"),
    ],
)
def test_a_file_that_is_no_fault_file_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "faults.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as raised:
        read_faults(file)
    assert "\n" not in str(raised.value)
