from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from keepalive.core.target import Scope
from keepalive.errors import ConfigError
from keepalive.simulator.scenarios import fleet
from keepalive.simulator.spells import Broken, Crash, Flaky, Loss, Outage, Slow, Suspend, Throttle
from keepalive.simulator.trace_file import read_trace

EVERY_KIND = """
[[spells]]
kind = "outage"
start = "2m"
length = "20s"
loss = "refused"
groups = ["group1"]

[[spells]]
kind = "flaky"
reset = 0.05
hang = 0.1

[[spells]]
kind = "slow"
seconds = "4s"

[[spells]]
kind = "throttle"
start = 300
length = "5s"
retry_after = "5s"

[[spells]]
kind = "broken"
status = 401
scope = "credential"
targets = 2

[[spells]]
kind = "suspend"
start = "10m"
length = "1h"

[[spells]]
kind = "crash"
start = "2h"
length = "1s"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "trace.toml"
    file.write_text(text, encoding="utf-8")
    return file


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read_trace(written(folder, text))
    return [str(fault).removeprefix(f"{folder}/trace.toml:") for fault in raised.value.faults]


def test_a_file_can_hold_every_kind_of_spell(tmp_path: Path) -> None:
    groups = fleet(2, 5)
    spells = read_trace(written(tmp_path, EVERY_KIND))(Random(1), 60.0, groups)

    assert spells[:4] == (
        Outage(start=120.0, length=20.0, loss=Loss.REFUSED, groups=frozenset({"group1"})),
        Flaky(reset=0.05, hang=0.1),
        Slow(seconds=4.0),
        Throttle(start=300.0, length=5.0, retry_after=5.0),
    )
    assert spells[5:] == (Suspend(start=600.0, length=3600.0), Crash(start=7200.0, length=1.0))
    broken = spells[4]
    assert isinstance(broken, Broken)
    assert (broken.status, broken.scope) == (401, Scope.CREDENTIAL)
    assert [len(broken.targets & set(plan.targets)) for plan in groups] == [2, 2]


def test_the_seed_draws_who_is_touched(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, '[[spells]]\nkind = "broken"\ntargets = 2\ngroups = ["group1"]\n'))
    groups = fleet(2, 40)
    ((one,), (same,), (other,)) = (trace(Random(seed), 60.0, groups) for seed in (1, 1, 2))

    assert isinstance(one, Broken)
    assert one == same != other
    assert one.targets <= set(groups[1].targets)


def test_all_faults_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    tables = ('kind = "flakey"', 'kind = "flaky"\nhang = 1.5\nleng = "3s"', 'kind = "crash"')

    assert faults(tmp_path, "".join(f"[[spells]]\n{table}\n" for table in tables)) == [
        "2: spells[0].kind: 'flakey' is no kind of spell; did you mean `flaky`?",
        "5: spells[1].hang: 1.5 is not a part of the attempts; write a number from 0 to 1",
        "6: spells[1].leng: unknown key; did you mean `length`?",
        "7: spells[2]: no length; a spell of crash needs it",
    ]


def test_the_parts_of_flaky_are_at_most_1_together(tmp_path: Path) -> None:
    table = '[[spells]]\nkind = "flaky"\nreset = {}\nunavailable = {}\nhang = {}\n'

    assert faults(tmp_path, '[[spells]]\nkind = "outage"\n' + table.format(0.9, 0.9, 0.9)) == [
        "3: spells[1]: its parts add up to 2.7; reset, unavailable and hang are 1 together at most"
    ]
    assert faults(tmp_path, table.format(1, 0, 0.001)) == [
        "1: spells[0]: its parts add up to 1.001; reset, unavailable and hang are 1 together at most"
    ]
    for parts in ((0.33, 0.56, 0.11), (0.56, 0.33, 0.11), (1, 0, 0)):
        whole = table.format(*parts)
        assert len(read_trace(written(tmp_path, whole)).tables) == 1


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('kind = "outage"\nloss = "gone"', "is not a way to lose requests"),
        ('kind = "outage"\nstart = "soon"', "is not a length of time"),
        ('kind = "outage"\ngroups = "group0"', "is not a list of rate groups"),
        ('kind = "outage"\ntargets = 0', "is not a number of targets"),
        ('kind = "broken"\nstatus = 429', "is not a status of an error"),
        ('kind = "broken"\nscope = "world"', "is not a scope"),
        ('kind = "slow"', "no seconds"),
        ("kind = 3", "3 is no kind of spell"),
        ("start = 0", "no kind"),
        ('kind = "outage"\ncredentials = ["a"]', "unknown key"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, line: str, found: str) -> None:
    (fault,) = faults(tmp_path, f"[[spells]]\n{line}\n")
    assert found in fault


@pytest.mark.parametrize("text", ["spells = 3", "", "spel = 1", "[[spells]\n"])
def test_a_file_without_spells_is_refused(tmp_path: Path, text: str) -> None:
    assert len(faults(tmp_path, text)) == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"gone\.toml: does not exist; name a readable TOML file, or a preset"
    ):
        read_trace(tmp_path / "gone.toml")


def test_the_trace_of_the_manual_can_be_played(tmp_path: Path) -> None:
    manual = Path(__file__).parents[2] / "docs" / "simulate.md"
    example = manual.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]

    spells = read_trace(written(tmp_path, example))(Random(1), 3600.0, fleet(1, 42))

    assert {type(spell) for spell in spells} == {Outage, Flaky, Slow, Throttle, Broken, Suspend, Crash}
