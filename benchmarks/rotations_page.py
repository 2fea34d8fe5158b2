"""Write what the load tests of rotations measured into docs/reference/rotations.md.

`python benchmarks/rotations_page.py LINES` reads the lines that `pytest -m load --rotations LINES`
has left, and keeps them in rotation_results.json. Without LINES the page is written from that file.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

import machine
from page import written

HERE = Path(__file__).parent
RESULTS = HERE / "rotation_results.json"
PAGE = HERE.parent / "docs" / "reference" / "rotations.md"
SCRIPT = "rotations_page.py"

DRIVERS = ("aiomysql", "asyncmy", "asyncpg", "psycopg", "psycopg-pool", "redis", "sqlalchemy")

# The columns of words; all others hold figures.
TEXTS = {"server", "sign-in", "adapter", "driver", "rotation"}

Row = dict[str, Any]


def collected(lines: str) -> dict[str, Any]:
    """Return the rows that tests have left, in one order, and what they were measured with."""
    rows: list[Row] = [json.loads(line) for line in lines.splitlines()]
    rows.sort(key=lambda row: [str(row[name]) for name in ("server", "adapter", "kind", "order")])
    packages = {name: metadata.version(name) for name in DRIVERS}
    return {"about": machine.about({}) | {"packages": packages}, "rows": rows}


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown; its figures are aligned to the right."""
    texts = [head for head in heads if head in TEXTS]
    lines = ["---"] * len(texts) + ["---:"] * (len(heads) - len(texts))
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, lines, *rows))


def rotation(row: Row) -> str:
    """Return the kind of a rotation, and which side changes first."""
    return f"{row['kind']}, {row['order']}"


def failed(rows: list[Row]) -> str:
    """Return how many of the queries failed; a dash if there were none."""
    queries = sum(row["queries"] for row in rows)
    return f"{sum(row['failures'] for row in rows):,} of {queries:,}" if rows else "-"


def summary_table(rows: list[Row]) -> str:
    """Return the table that the page begins with: each server and kind of sign-in, then all."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        sign_in = "IAM token" if row["kind"] == "IAM token" else "password"
        groups.setdefault((row["server"], sign_in), []).append(row)
    groups["all", ""] = rows

    shown: list[list[str]] = []
    for names, found in groups.items():
        ours = [row for row in found if not row["control"]]
        controls = [row for row in found if row["control"]]
        longest = max(row["longest"] for row in ours)
        figures = [str(len(ours)), failed(ours), f"{longest:.2f} s", failed(controls)]
        shown.append([*names, *figures])
    heads = ["server", "sign-in", "rows", "failed queries", "longest wait"]
    return table([*heads, "failed, if the password is read once"], shown)


def adapters_table(rows: list[Row]) -> str:
    """Return a table for each server: what this library's callers met."""
    heads = ["adapter", "rotation", "queries", "failed", "longest wait", "fetches"]
    blocks: list[str] = []
    for server, found in groupby(rows, key=lambda row: row["server"]):
        shown = [
            [
                row["adapter"],
                rotation(row),
                f"{row['queries']:,}",
                str(row["failures"]),
                f"{row['longest']:.2f} s",
                str(row["fetches"]),
            ]
            for row in found
            if not row["control"]
        ]
        blocks.append(f"### {server}\n\n{table(heads, shown)}\n")
    return "\n".join(blocks)


def controls_table(rows: list[Row]) -> str:
    """Return the table of what callers met whose password was read once."""
    heads = ["server", "driver", "rotation", "queries", "failed"]
    shown = [
        [row["server"], row["adapter"], rotation(row), str(row["queries"]), str(row["failures"])]
        for row in rows
        if row["control"]
    ]
    return table(heads, shown)


def page(results: dict[str, Any]) -> str:
    """Return the text of the page that shows the results."""
    about = results["about"]
    versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    measured = f"{machine.summary(about)}\nWith {versions}."
    text = PAGE.read_text(encoding="utf-8")
    text = written(text, "summary", summary_table(results["rows"]), by=SCRIPT)
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
