"""Write the tables of results.json into the page of the docs: `python benchmarks/page.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import machine
from page_tables import as_markdown, goals, summary

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "reference" / "benchmarks.md"


def packages(about: dict[str, Any]) -> str:
    """Return a list of what was installed for each side."""
    lines: list[str] = []
    for side, found in about["packages"].items():
        versions = ", ".join(f"{name} {version}" for name, version in found.items())
        lines.append(f"- {side}: {versions}")
    return "\n".join(lines)


def written(text: str, name: str, content: str, *, by: str = "page.py") -> str:
    """Return a page with this content between the two comments that name it and the script."""
    begin = f"<!-- {name}: written by benchmarks/{by} -->"
    end = f"<!-- end of {name} -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"The page has no comments that name {name!r}.")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"


def page(results: dict[str, Any]) -> str:
    """Return the text of the page that shows the results."""
    about = results["about"]
    rows = results["rows"]
    text = PAGE.read_text(encoding="utf-8")
    text = written(text, "summary", summary(rows))
    text = written(text, "machine", machine.summary(about))
    text = written(text, "table", as_markdown(rows))
    text = written(text, "goals", goals(rows))
    return written(text, "packages", packages(about))


def main() -> None:
    """Write the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(results), encoding="utf-8")
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
