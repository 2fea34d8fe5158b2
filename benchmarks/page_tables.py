"""The tables of the page: three or five columns, so a phone shows them without scrolling."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from table import MET, Record, as_ratio, reach_of, sections, with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADS = ("compared with", "figure", "ratio")
GOALS = ("figure of this library", "compared with", "result", "goal", "met")

# The figures that matter to a user: the row, and how the first table of the page calls it.
SUMMARY = {
    "first value in a new process, TLS": "CPU time of a new process that reads one secret and ends",
    "session per call: open, fetch, close": "CPU time of a call that opens and closes its client",
    "pooled fetch, without a cache": "CPU time of a call through an open client",
    "`get()` with `decode`": "CPU time of a read from memory",
    "500 secrets at start, 20 ms per answer": "loading 500 secrets, with answers after 20 ms",
    "worst stall, first session of a process": "longest stop of the event loop by the first call",
    "an idle pool, its modules included": "memory of the modules and an open client",
}
PLAIN = ("aioboto3", "boto3")


def markdown_table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table whose columns after the first are aligned to the right."""
    lines = [heads, ("---", *["---:"] * (len(heads) - 1)), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def our_figure(records: list[Record]) -> str:
    """Return our figure, which is the same in all of these records; a dash if it is missing."""
    found = [with_unit(record["ours"], record["unit"]) for record in records if "ours" in record]
    return next(iter(found), "-")


def their_row(record: Record) -> tuple[str, ...]:
    """Return the row of a peer or a limit: its figure, or why it has none."""
    for reason in ("skip", "failed"):
        if reason in record:
            return (record["against"], f"{reason}: {record[reason]}", "")
    theirs = with_unit(record["theirs"], record["unit"])
    return (record["against"], theirs, as_ratio(record["ratio"]))


def rows_of(records: list[Record]) -> Iterator[tuple[str, ...]]:
    """Yield our figures in bold, and below each of them those that it is compared with."""
    by_what: dict[str, list[Record]] = {}
    for record in records:
        by_what.setdefault(record["what"], []).append(record)
    for what, found in by_what.items():
        yield (f"**{what}**", f"**{our_figure(found)}**", "")
        yield from (their_row(record) for record in found if record["against"])


def as_markdown(records: list[Record]) -> str:
    """Return a heading for each section, and below it a table for each thing that is counted."""
    blocks: list[str] = []
    for section, found in sections(records):
        blocks.append(f"### {section}\n")
        for counts, counted in groupby(found, key=lambda record: record["counts"]):
            rows = list(rows_of(list(counted)))
            blocks.append(f"{counts[0].upper()}{counts[1:]}:\n\n{markdown_table(HEADS, rows)}\n")
    return "\n".join(blocks)


def goals(records: list[Record]) -> str:
    """Return the table of the rows that have a goal."""
    rows: list[tuple[str, ...]] = []
    for record in records:
        wanted = reach_of(record)
        if not wanted or "ours" not in record:
            continue
        result = [as_ratio(record["ratio"])] if record["reach"] is not None else []
        if record["limit"] is not None:
            result.append(with_unit(record["ours"], record["unit"]))
        met = MET[record["met"]]
        rows.append((record["what"], record["against"], ", ".join(result), wanted, met))
    return markdown_table(GOALS, rows)


def summary(records: list[Record]) -> str:
    """Return the first table of the page: the figures that matter, beside the plain clients."""
    rows: list[tuple[str, ...]] = []
    for what, words in SUMMARY.items():
        found = {record["against"]: record for record in records if record["what"] == what}
        theirs = [their_row(found[peer])[1] if peer in found else "no cache" for peer in PLAIN]
        rows.append((words, our_figure(list(found.values())), *theirs))
    return markdown_table(("cost", "aiocredentials", *PLAIN), rows)
