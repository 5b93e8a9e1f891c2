"""The documents, held against the code: what they name has to exist, and what exists has to be named."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keepalive.cli.commands import COMMANDS, app
from keepalive.cli.once import Standing
from keepalive.cloudflare.judge import _CODES
from keepalive.config import load
from keepalive.config.layers import known_keys
from keepalive.core.events import Event
from keepalive.emulator import Fault, FaultKind
from keepalive.emulator.fault_file import read_faults
from keepalive.simulator.scenarios import PRESETS
from keepalive.sinks.line import line_of
from tests.sinks.samples import EVENTS, TARGET

ROOT = Path(__file__).parents[1]
PAGES = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MANUAL = (ROOT / "docs" / "keepalive.1").read_text(encoding="utf-8")
JSON = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
EMULATOR = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")
SIMULATE = (ROOT / "docs" / "simulate.md").read_text(encoding="utf-8")

GROUPS = {"config": ("show",), "lease": ("add", "list", "release")}
COMMAND_LINES = [[name, *filter(None, [deep])] for name in COMMANDS for deep in GROUPS.get(name, ("",))]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no section {heading}"
    return found[1]


def words(text: str) -> set[str]:
    """Everything that stands in code marks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def events(root: type[Event] = Event) -> Iterator[type[Event]]:
    for kind in root.__subclasses__():
        yield kind
        yield from events(kind)


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md"} <= set(map(named, PAGES))
    assert len(README.splitlines()) < 200


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    relative = [link.partition("#")[0] for link in links if not re.match(r"https?://|#", link)]

    assert [link for link in relative if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_target_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    text = page.read_text(encoding="utf-8")
    spoken_of = re.findall(r"`make ([a-z-]+)|^ {4}make ([a-z-]+)", text, re.MULTILINE)

    assert {inline or indented for inline, indented in spoken_of} <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_is_spoken_of_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    spoken_of = re.findall(r"(?:`|^ {4}|^#+ )keepalive ([a-z]+)", text, re.MULTILINE)

    assert set(spoken_of) <= COMMANDS.keys()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_module_that_is_named_exists(page: Path) -> None:
    modules = re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", page.read_text(encoding="utf-8"))
    places = (ROOT, ROOT / "keepalive", ROOT / "docs")
    elsewhere = {"_constants.py"}  # of Cloudflare's SDK

    assert [
        one for one in modules if one not in elsewhere and not any((place / one).exists() for place in places)
    ] == []


def test_the_architecture_speaks_of_every_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "keepalive").glob("*/__init__.py")}

    assert {folder for folder in folders if f"**`{folder}/`**" not in text} == set()


def test_every_command_stands_in_the_manual() -> None:
    described = re.findall(r"^\.It Cm ([a-z]+)", MANUAL, re.MULTILINE)

    assert set(described) == COMMANDS.keys()


@pytest.mark.parametrize("line", COMMAND_LINES, ids=" ".join)
def test_every_option_stands_in_the_manual(line: list[str]) -> None:
    ran = CliRunner().invoke(app, [*line, "--help"])
    options = set(re.findall(r"^  (?:-\w, )?--([a-z-]+)", ran.output, re.MULTILINE))

    assert ran.exit_code == 0
    assert "help" in options
    assert {option for option in options if not re.search(rf"\bFl -{option}\b", MANUAL)} == set()


def test_the_configuration_of_the_readme_has_no_faults(tmp_path: Path) -> None:
    [example] = blocks(README, "toml")
    file = tmp_path / "keepalive.toml"
    file.write_text(example, encoding="utf-8")
    (tmp_path / "prod.token").write_text("made-up-token\n", encoding="utf-8")

    configuration = load(file, {}, {"LEGACY_API_KEY": "made-up-key"}, tmp_path)

    assert configuration.warnings == ()
    assert [len(group.targets) for group in configuration.plan.values()] == [2, 1]


@pytest.mark.parametrize("name", known_keys(()))
def test_every_key_stands_in_the_page_on_the_configuration(name: str) -> None:
    path: Mapping[str, tuple[str, ...]] = {
        "credentials": ("credentials", "NAME"),
        "rate_groups": ("rate_groups", "NAME"),
        "targets": ("targets", "0"),
    }
    spoken_of = words(CONFIGURATION)

    assert {
        key for key in known_keys(path.get(name, (name,))) if not {key, f"{name}.{key}"} & spoken_of
    } == set()


def test_the_toml_in_the_other_pages_is_toml() -> None:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "toml"):
            assert tomllib.loads(block)


def test_every_event_has_a_section() -> None:
    assert {kind.name for kind in events()} == {event.name for event in EVENTS}
    for kind in events():
        assert section(JSON, kind.name)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_every_key_of_a_log_line_is_explained(event: Event) -> None:
    here = section(JSON, event.name)
    explained = words(here) | words(section(JSON, "Log lines"))
    if "those of a target" in " ".join(here.split()):
        explained |= words(section(JSON, "A target"))
    if "fault" in here:
        explained |= words(section(JSON, "A fault"))

    assert line_of(event, lambda moment: moment).keys() <= explained


def test_every_key_of_once_is_explained() -> None:
    explained = words(section(JSON, "keepalive once --json")) | words(section(JSON, "A target"))

    assert Standing(TARGET).to_json().keys() <= explained


def test_every_cause_that_a_code_has_is_explained() -> None:
    assert {meaning.cause for meaning in _CODES.values()} <= words(section(JSON, "A fault"))


def test_the_fault_script_of_the_emulator_is_read_without_faults(tmp_path: Path) -> None:
    [example] = blocks(EMULATOR, "toml")
    file = tmp_path / "faults.toml"
    file.write_text(example, encoding="utf-8")

    assert [fault.kind for fault in read_faults(file)] == [FaultKind.STATUS, FaultKind.RESET, FaultKind.HANG]


def test_every_kind_and_key_of_a_fault_is_explained() -> None:
    explained = words(EMULATOR)

    assert {kind.value for kind in FaultKind} <= explained
    assert signature(Fault).parameters.keys() <= explained


def test_every_preset_stands_in_the_manual_of_the_simulation() -> None:
    table = section(SIMULATE, "Presets")

    assert {name for name in PRESETS if f"`{name}`" not in table} == set()


def test_every_scenario_that_the_readme_quotes_exists() -> None:
    table = section(README, "What is different").partition("| scenario |")[2]
    quoted = re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)

    assert quoted
    assert set(quoted) <= PRESETS.keys()
