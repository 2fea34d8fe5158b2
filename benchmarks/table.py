"""The table of the rows for a terminal; `page_tables` writes those of the page."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]

COLUMNS = ("what", "ours", "against", "theirs", "ratio", "reach", "met", "counts")

# For each unit of a row, the scales from the largest on, with their names.
SCALES = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((2**20, "MiB"), (2**10, "KiB"), (1, "B")),
    "instructions": ((1e9, "G"), (1e6, "M"), (1, "")),
}

MET = {True: "yes", False: "no", None: ""}

# A ratio below this is written with two digits behind the leading zeros.
SMALL_RATIO = 0.1
LARGE_RATIO = 10


def with_unit(value: float | None, unit: str) -> str:
    """Return a value as text with three digits, in the scale that suits it."""
    if value is None:
        return ""
    if unit == "calls":
        return f"{value:,.0f}"

    scales = SCALES[unit]
    fitting = [pair for pair in scales if value >= pair[0]]
    scale, name = [*fitting, scales[-1]][0]

    scaled = value / scale
    digits = 2
    if scaled >= 1:
        digits = max(0, 2 - int(math.log10(scaled)))
    return f"{scaled:.{digits}f} {name}".strip()


def as_ratio(ratio: float | None) -> str:
    """Return a ratio as text, with two digits that say something."""
    if ratio is None:
        return ""
    if ratio >= LARGE_RATIO:
        return f"{ratio:,.0f}"
    if ratio >= SMALL_RATIO:
        return f"{ratio:.2f}"
    return f"{ratio:.2g}" if ratio >= SMALL_RATIO / 100 else f"{ratio:.0e}"


def reach_of(record: Record) -> str:
    """Return what would be good enough: a ratio, a value, or both."""
    wanted: list[str] = []
    if record["reach"] is not None:
        wanted.append(f"≤ {record['reach']:g}")
    if record["limit"] is not None:
        wanted.append(f"≤ {with_unit(record['limit'], record['unit'])}")
    return ", ".join(wanted)


def cells(record: Record) -> tuple[str, ...]:
    """Return the cells of one record."""
    reach = reach_of(record)
    for reason in ("skip", "failed"):
        if reason in record:
            why = f"{reason}: {record[reason]}"
            return (record["what"], "", record["against"], "", "", reach, "", why)

    return (
        record["what"],
        with_unit(record["ours"], record["unit"]),
        record["against"],
        with_unit(record["theirs"], record["unit"]),
        as_ratio(record["ratio"]),
        reach,
        MET[record["met"]],
        record["counts"],
    )


def sections(records: list[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Yield the headings, each with its records."""
    for section, found in groupby(records, key=lambda record: record["section"]):
        yield section, list(found)


def as_text(records: list[Record]) -> str:
    """Return the table for a terminal: all columns but the last padded."""
    lines = [cells(record) for record in records]
    columns = zip(COLUMNS, *lines, strict=True)
    widths = [max(map(len, column)) for column in columns]
    widths[-1] = 0

    text: list[str] = []
    for section, found in sections(records):
        text += ["", section.upper()]
        for line in (COLUMNS, *map(cells, found)):
            padded = map(str.ljust, line, widths)
            text.append("  ".join(padded).rstrip())
    return "\n".join(text)
