"""The catalogue, docs/reliability.md, held against the tests: each row a test, each test in a row."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
FILE = re.compile(r"^##+ .*`(tests/faults/[a-z_/]+\.py)`$")
NAME = re.compile(r"`((?:tests/[a-z_/]+\.py::)?test_[a-z0-9_]+(?:\[[^\]`]+\])?)`")

FEWEST = 70


def rows() -> list[tuple[str, list[str]]]:
    """The test that each row names, with its file, and the cells of the row."""
    found, file = [], ""
    for line in PAGE.splitlines():
        if line.startswith("#"):
            heading = FILE.match(line)
            file = heading[1] if heading else ""
        elif line.startswith("|") and (name := NAME.search(line)):
            place = name[1] if "::" in name[1] else f"{file}::{name[1]}"
            found.append((place, [cell.strip() for cell in line.strip("|").split("|")]))
    return found


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """Every test below tests/faults but those of this file."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider"]
    long_ones_too = ("-o", "python_files=test_*.py long_*.py", "tests/faults")
    ran = subprocess.run([*command, *long_ones_too], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = (line for line in ran.stdout.splitlines() if "::" in line)
    return {line for line in lines if not line.startswith("tests/faults/test_catalogue.py")}


def test_every_row_says_what_breaks_what_is_done_and_what_was_measured() -> None:
    found = rows()
    assert len(found) >= FEWEST
    assert [place for place, cells in found if len(cells) != 4 or not all(cells)] == []
    assert len({place for place, _ in found}) == len(found)


def test_every_row_names_a_test_that_exists(collected: set[str]) -> None:
    functions = {each.partition("[")[0] for each in collected}
    missing = []
    for place, _ in rows():
        file, _, name = place.partition("::")
        if file.startswith("tests/faults/"):
            known = place in collected or place in functions
        else:
            known = bool(re.search(rf"^ *(?:async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE))
        if not known:
            missing.append(place)
    assert missing == []


def test_every_test_of_a_fault_stands_in_a_row(collected: set[str]) -> None:
    named = {place for place, _ in rows()}
    assert len(collected) > FEWEST
    assert {each for each in collected if not {each, each.partition("[")[0]} & named} == set()
