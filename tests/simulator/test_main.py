from __future__ import annotations

import pytest

from keepalive.simulator.__main__ import main
from keepalive.simulator.scenarios import Preset, fleet
from keepalive.simulator.spells import Outage


def test_each_scenario_gets_a_line_and_the_exit_code_says_that_nobody_lapsed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["healthy", "slow-4s", "--hours", "0.03"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["healthy", "slow-4s"]
    assert all("lapses 0" in line and "ratio 100.000000%" in line for line in lines)


def test_a_lapse_is_told_with_its_tries_and_makes_the_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dark = Preset(fleet(1, 1), lambda _chance, _duration: (Outage(start=20.0),), hours=0.05)
    monkeypatch.setattr("keepalive.simulator.scenarios.PRESETS", {"dark": dark})
    monkeypatch.setattr("keepalive.simulator.__main__.PRESETS", {"dark": dark})
    assert main(["--lapses", "1"]) == 1
    line, story, first, *_ = capsys.readouterr().out.splitlines()
    assert "lapses 1 " in line
    assert story.startswith("  seed 0: group0 00000000000000000000000000000000/script0 lapsed at")
    assert story.endswith("; outage.black_hole")
    assert "try 1: timeout after 5.000 s" in first


def test_an_unknown_name_is_a_usage_error_that_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["outage-27"])
    assert stopped.value.code == 2
    assert "no scenario 'outage-27'; there are healthy, outage-26-refused" in capsys.readouterr().err
