"""Alerts, rules, dashboard and runbook, held against each other and against the metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from keepalive.core.eligibility import Eligibility
from keepalive.core.target import Scope
from keepalive.sinks.counts import Counts
from keepalive.sinks.metrics import Metrics, Sources

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
MONITORING = (ROOT / "docs" / "operations" / "monitoring.md").read_text(encoding="utf-8")
BOARD: dict[str, Any] = json.loads(
    (ROOT / "deploy" / "grafana" / "keepalive.json").read_text(encoding="utf-8")
)

OF_PROMETHEUS = {"up", "ALERTS"}
"""Series that Prometheus makes itself."""

OF_THE_PROCESS = {"process_start_time_seconds", "process_resident_memory_bytes"}
"""What the system says of the process; not every system does."""


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def cases(name: str) -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["tests"]
    return tests


CASES = cases("alerts_test.yaml")
ALERTS = {rule["alert"]: rule for rule in rules("alerts.yaml")}
RECORDS = {rule["record"]: rule for rule in rules("rules.yaml")}
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in BOARD["panels"]
    for target in panel["targets"]
}
EXPRESSIONS = {
    **{name: rule["expr"] for name, rule in (ALERTS | RECORDS).items()},
    **QUERIES,
    **{mark["name"]: mark["target"]["expr"] for mark in BOARD["annotations"]["list"]},
    **{f"${one['name']}": one["query"] for one in BOARD["templating"]["list"] if one["type"] == "query"},
}


def series(expr: str) -> set[str]:
    """Names of the series that an expression asks for: words that are neither functions nor labels."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', "", expr)
    bare = re.sub(r"\b(?:by|without|ignoring|on)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"label_values\(([^,]+),[^)]*\)", r"\1", bare)
    return set(re.findall(r"\b[a-zA-Z_][\w:]*\b(?!\s*\()", bare)) - {"and", "or", "unless"}


async def rendered() -> set[str]:
    """Names of all series of a page."""
    sources = Sources(
        credentials=lambda: ("prod",), groups=dict, connections_opened=lambda: 0, dropped={"log": lambda: 0}
    )
    metrics = Metrics(Counts(), sources, now=lambda: 0.0, wall_at=lambda moment: moment)
    page, _ = await metrics.render()
    families = list(text_string_to_metric_families(page.decode()))
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {f"{one.name}{suffix}" for one in families for suffix in suffixes.get(one.type, ("",))}


async def test_every_series_that_is_asked_for_is_a_metric_of_the_daemon_or_recorded() -> None:
    known = await rendered() | RECORDS.keys() | OF_PROMETHEUS | OF_THE_PROCESS

    assert {name: series(expr) - known for name, expr in EXPRESSIONS.items() if series(expr) - known} == {}


async def test_every_metric_of_the_daemon_is_recorded_alerted_on_or_shown() -> None:
    own = {name for name in await rendered() if name.startswith("keepalive_")}
    shown = {name for expr in EXPRESSIONS.values() for name in series(expr)}

    assert {name for name in own - shown if not name.endswith(("_sum", "_count"))} == {
        "keepalive_heartbeats_total"  # the attempts say more
    }


def test_every_state_and_kind_that_is_asked_for_exists() -> None:
    values = {
        label: {
            value
            for expr in EXPRESSIONS.values()
            for found in re.findall(rf'\b{label}=~?"([^"$]*)"', expr)
            for value in found.split("|")
        }
        for label in ("state", "kind", "outcome")
    }

    assert values["state"] == {state.value for state in Eligibility}
    assert values["kind"] <= {scope.name.lower() for scope in Scope}
    assert values["kind"]
    assert values["outcome"] <= {"accepted", "throttled", "denied", "transient"}


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    alert = ALERTS[name]

    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"].endswith(f"/docs/runbook.md#{name.lower()}")


def test_every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() -> None:
    assert re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE) == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_a_section_of_the_runbook_says_who_is_hurt_where_to_look_and_what_to_do(name: str) -> None:
    section = RUNBOOK.partition(f"### {name}\n")[2].partition("\n#")[0]

    assert re.findall(r"\*\*(\w+):\*\*", section) == ["Hurt", "Look", "Do", "Wait"]


def outcomes() -> Iterator[tuple[str, bool]]:
    for case in CASES:
        for one in case["alert_rule_test"]:
            yield one["alertname"], bool(one["exp_alerts"])


@pytest.mark.parametrize("name", ALERTS)
@pytest.mark.parametrize("fires", [True, False], ids=["fires", "stays quiet"])
def test_every_alert_is_tested_to_fire_and_to_stay_quiet(name: str, *, fires: bool) -> None:
    said = f"{name} fires" if fires else f"{name}(?: and \\w+)? stays? quiet"
    titles = [case["name"] for case in CASES if re.search(said, case["name"])]

    assert titles
    assert (name, fires) in set(outcomes())


def test_every_recording_rule_is_tested_and_explained() -> None:
    tested = {
        name
        for case in cases("rules_test.yaml")
        for one in case["promql_expr_test"]
        for name in series(one["expr"])
    }

    assert tested == RECORDS.keys()
    assert set(re.findall(r"^\| `(keepalive:[\w:]+)`", MONITORING, re.MULTILINE)) == RECORDS.keys()


def test_the_panels_lie_beside_each_other_and_fill_every_row() -> None:
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]

    assert len(cells) == len(set(cells))
    assert set(cells) == {(x, y) for x in range(24) for y in range(max(y for _, y in cells) + 1)}


def test_the_dashboard_knows_its_data_source_from_a_variable_alone() -> None:
    sources = {json.dumps(panel["datasource"], sort_keys=True) for panel in BOARD["panels"]}

    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert [one["name"] for one in BOARD["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
        "credential",
    ]
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_every_panel_says_what_well_looks_like() -> None:
    assert [panel["title"] for panel in BOARD["panels"] if len(panel["description"]) < 30] == []
