"""Writes a dashboard as TypeScript that compiles only if it fits Grafana's published types.

prometheus_dashboard.py DASHBOARD.json > dashboard.ts
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TYPES = {"stat": "Stat", "table": "Table", "timeseries": "TimeSeries"}
"""The kinds of panels, and what Grafana calls the files of their types."""

HEAD = """
import { Dashboard } from "@grafana/schema";

// To JSON an enumeration is its values.
type Plain<T> = T extends string ? `${T}`
  : T extends number ? (`${T}` extends `${infer N extends number}` ? N : T)
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;

// What belongs to the Prometheus data source: the schema leaves it to each data source.
type Query = { refId: string; expr: string; interval: string };
type Annotation = NonNullable<NonNullable<Plain<Dashboard>["annotations"]>["list"]>[number];
type Marked = Omit<Annotation, "target"> & { target: Query; titleFormat: string; textFormat: string };
type Board = Omit<Plain<Dashboard>, "annotations"> & { annotations: { list: Marked[] } };
"""


def main() -> None:
    """Write the program to stdout."""
    sys.stdout.write("\n".join(program(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))


def program(board: dict[str, Any]) -> Iterator[str]:
    """The lines of the program: the dashboard, then the options of each panel by its kind."""
    for kind, name in TYPES.items():
        path = f"@grafana/schema/dist/esm/raw/composable/{kind}/panelcfg/x/{name}PanelCfg_types.gen"
        yield f'import type * as {kind} from "{path}";'
    yield HEAD
    yield f"export const board: Board = {json.dumps(board)};"
    for panel in board["panels"]:
        kind, number = panel["type"], panel["id"]
        yield f"export const options{number}: Plain<{kind}.Options> = {json.dumps(panel['options'])};"
        if custom := panel["fieldConfig"]["defaults"].get("custom"):
            yield f"export const custom{number}: Plain<{kind}.FieldConfig> = {json.dumps(custom)};"


if __name__ == "__main__":
    main()
