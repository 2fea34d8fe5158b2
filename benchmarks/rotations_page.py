"""Write what the load tests of rotations measured into docs/reference/rotations.md.

`python benchmarks/rotations_page.py LINES` reads the lines that `pytest -m load --rotations LINES`
has left, and keeps them in rotation_results.json. Without LINES the page is written from that file.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import machine
from page import written

HERE = Path(__file__).parent
RESULTS = HERE / "rotation_results.json"
PAGE = HERE.parent / "docs" / "reference" / "rotations.md"
SCRIPT = "rotations_page.py"

DRIVERS = ("aiomysql", "asyncmy", "asyncpg", "psycopg", "psycopg-pool", "redis", "sqlalchemy")

Row = dict[str, Any]


def collected(lines: str) -> dict[str, Any]:
    """Return the rows that tests have left, in one order, and what they were measured with."""
    rows: list[Row] = [json.loads(line) for line in lines.splitlines()]
    rows.sort(key=lambda row: [str(row[name]) for name in ("server", "adapter", "kind", "order")])
    packages = {name: metadata.version(name) for name in DRIVERS}
    return {"about": machine.about({}) | {"packages": packages}, "rows": rows}


def cells(row: Row) -> list[str]:
    """Return the cells that all tables have."""
    return [row["server"], row["adapter"], row["kind"], row["order"], str(row["queries"])]


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def adapters_table(rows: list[Row]) -> str:
    """Return the table of what this library's callers met."""
    heads = ["server", "adapter", "rotation", "order", "queries", "failures", "longest wait"]
    shown = [
        [*cells(row), str(row["failures"]), f"{row['longest']:.2f} s", str(row["fetches"])]
        for row in rows
        if not row["control"]
    ]
    return table([*heads, "fetches per rotation, at most"], shown)


def controls_table(rows: list[Row]) -> str:
    """Return the table of what callers met whose password was read once."""
    heads = ["server", "driver", "rotation", "order", "queries", "failures"]
    shown = [[*cells(row), str(row["failures"])] for row in rows if row["control"]]
    return table(heads, shown)


def page(results: dict[str, Any]) -> str:
    """Return the text of the page that shows the results."""
    about = results["about"]
    versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    measured = f"{machine.summary(about)}\nWith {versions}."
    text = PAGE.read_text(encoding="utf-8")
    text = written(text, "adapters", adapters_table(results["rows"]), by=SCRIPT)
    text = written(text, "controls", controls_table(results["rows"]), by=SCRIPT)
    return written(text, "machine", measured, by=SCRIPT)


def main(arguments: list[str]) -> None:
    """Write the page."""
    if arguments:
        lines = Path(arguments[0]).read_text(encoding="utf-8")
        results = json.dumps(collected(lines), indent=1)
        RESULTS.write_text(f"{results}\n", encoding="utf-8")
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(found), encoding="utf-8")
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
