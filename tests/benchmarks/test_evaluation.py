"""How the benchmarks make figures of what they measured: minima, ratios, units, and the table."""

from __future__ import annotations

from typing import Any

import pytest


def record_of(ours: list[float], theirs: list[float], **settings: float) -> dict[str, Any]:
    """Return the record of a row with these values of the two sides."""
    from comparisons.row import Row
    from evaluation import evaluate

    row = Row("Section", "cold-http", "ours", "theirs", theirs="aioboto", side="aioboto", **settings)
    sides = {"ours": {"values": {"ours": ours}}, "aioboto": {"values": {"aioboto": theirs}}}
    return evaluate(row, {"cold-http": sides})


def test_minima_and_ratio() -> None:
    """The figure of a side is its least value, the ratio is ours through theirs, and both are rounded."""
    record = record_of([3.0, 1.0, 2.0], [9.0, 6.0])
    assert (record["ours"], record["theirs"], record["ratio"]) == (1.0, 6.0, 0.1667)
    assert record["our_samples"] == [3.0, 1.0, 2.0]
    assert record["counts"] == "CPU of the whole process, minimum of 11 processes"


@pytest.mark.parametrize(
    ("settings", "met"),
    [
        ({}, ""),
        ({"reach": 0.5}, "yes"),
        ({"reach": 0.4}, "no"),
        ({"limit": 1.0}, "yes"),
        ({"limit": 0.9}, "no"),
        ({"reach": 0.5, "limit": 0.9}, "no"),
    ],
)
def test_met(settings: dict[str, float], met: str) -> None:
    """A row is met if its ratio is in reach and our figure within the limit; without either, nothing is asked of it."""
    from table import MET

    assert MET[record_of([1.0], [2.0], **settings)["met"]] == met


def test_nothing_to_compare() -> None:
    """Where the other figure is zero there is no ratio, and a reach isn't met."""
    record = record_of([1.0], [0.0], reach=1.0)
    assert record["ratio"] is None
    assert record["met"] is False


@pytest.mark.parametrize("answer", [{"skip": "not installed"}, {"failed": "ValueError: no"}])
def test_a_side_without_values(answer: dict[str, str]) -> None:
    """A side without values says why in its row, whatever its other processes found, and has no figures."""
    from comparisons.row import Row
    from evaluation import evaluate, merged

    found = merged([{"values": {"boto": [1.0]}}, answer])
    row = Row("Section", "cold-http", "ours", "theirs", theirs="boto", side="boto")
    record = evaluate(row, {"cold-http": {"ours": {"values": {"ours": [1.0]}}, "boto": found}})
    assert record.items() >= answer.items()
    assert record["side"] == "boto3"
    assert "ours" not in record


def test_values_of_all_processes_are_merged() -> None:
    """The values of a side are those of all its processes."""
    from evaluation import merged

    answers = [{"values": {"ours": [1.0], "ours_calls": [2]}}, {"values": {"ours": [3.0], "ours_calls": [2]}}]
    assert merged(answers) == {"values": {"ours": [1.0, 3.0], "ours_calls": [2, 2]}}


def test_growth() -> None:
    """A curve has a point per size, in order, and each is the least of its values."""
    from evaluation import growth

    values = {"hit_100": [4.0, 3.0], "hit_1": [2.0], "stats_1": [1.0]}
    gathered = {"sizes": {"ours": {"values": values}}, "waiters": {"lru": {"skip": "not installed"}}}
    assert growth(gathered) == {"sizes/hit": [[1, 2.0], [100, 3.0]], "sizes/stats": [[1, 1.0]]}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.234, "s", "1.23 s"),
        (0.0123, "s", "12.3 ms"),
        (0.000_123, "s", "123 µs"),
        (3.3e-7, "s", "330 ns"),
        (5e-11, "s", "0.05 ns"),
        (1_234_567, "calls", "1,234,567"),
        (512, "B", "512 B"),
        (1536, "B", "1.50 KiB"),
        (3 * 2**20, "B", "3.00 MiB"),
        (-2048, "B", "-2048.00 B"),
        (2.25e9, "instructions", "2.25 G"),
        (None, "s", ""),
    ],
)
def test_units(value: float | None, unit: str, text: str) -> None:
    """A value is written with three digits, in the scale that suits it."""
    from table import with_unit

    assert with_unit(value, unit) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(None, ""), (1234.5, "1,234"), (1.056, "1.06"), (0.876, "0.88"), (0.0567, "0.057"), (2.4e-6, "2e-06")],
)
def test_ratios(ratio: float | None, text: str) -> None:
    """A ratio is written with the digits that say something."""
    from table import as_ratio

    assert as_ratio(ratio) == text


def skipped(what: str, why: str) -> dict[str, Any]:
    """Return the record of a row whose peer isn't there."""
    names = {"section": "Other", "what": what, "against": "b", "unit": "s", "counts": "time"}
    return {**names, "reach": None, "limit": None, "skip": why}


def test_table() -> None:
    """The table for a terminal has each row below its section, with its figures, its reach and whether it is met."""
    from table import as_text, cells

    records = [
        record_of([0.5], [1.0], reach=0.88),
        record_of([0.5], [1.0], limit=0.1) | {"section": "Other"},
        skipped("a", "why"),
    ]
    counts = "CPU of the whole process, minimum of 11 processes"
    assert [cells(record) for record in records] == [
        ("ours", "500 ms", "theirs", "1.00 s", "0.50", "≤ 0.88", "yes", counts),
        ("ours", "500 ms", "theirs", "1.00 s", "0.50", "≤ 100 ms", "no", counts),
        ("a", "", "b", "", "", "", "", "skip: why"),
    ]
    text = as_text(records)
    assert [line for line in text.splitlines() if line.isupper()] == ["SECTION", "OTHER"]
    assert "skip: why" in text


def test_tables_of_the_page() -> None:
    """The page has our figure once, those that it is compared with below it, and what is counted above the table."""
    from page_tables import as_markdown, goals

    records = [
        record_of([0.5], [1.0], reach=0.88),
        record_of([0.5], [2.0], limit=0.1) | {"against": "others"},
        skipped("a", "why"),
    ]
    assert (
        as_markdown(records)
        == """\
### Section

CPU of the whole process, minimum of 11 processes:

| compared with | figure | ratio |
| --- | ---: | ---: |
| **ours** | **500 ms** |  |
| theirs | 1.00 s | 0.50 |
| others | 2.00 s | 0.25 |

### Other

Time:

| compared with | figure | ratio |
| --- | ---: | ---: |
| **a** | **-** |  |
| b | skip: why |  |
"""
    )
    rows = goals(records).splitlines()[2:]
    assert rows == ["| ours | theirs | 0.50 | ≤ 0.88 | yes |", "| ours | others | 500 ms | ≤ 100 ms | no |"]


def test_summary() -> None:
    """The first table of the page has a row for each figure that matters, beside the plain clients."""
    from page_tables import SUMMARY, summary

    records = [record_of([0.5], [1.0]) | {"what": what, "against": "boto3"} for what in SUMMARY]
    rows = summary(records).splitlines()[2:]
    assert rows == [f"| {words} | 500 ms | no cache | 1.00 s |" for words in SUMMARY.values()]


def test_versions_of_what_is_measured() -> None:
    """The versions are those of a package and of all that it needs, without extras and without other packages."""
    from environments import needed_by

    requirements = {
        "ours": ["Its_Client>=1 ; python_version > '3'", "cli; extra == 'cli'", "not-installed"],
        "its-client": ["transport[fast]<9", "ours"],
        "transport": [],
        "cli": [],
        "tool": [],
    }
    assert needed_by("ours", requirements) == {"ours", "its-client", "transport"}


def test_rows_and_measurements() -> None:
    """Each measurement has rows, each row a measurement that has its side, and each side a module."""
    from catalogue import MEASUREMENTS
    from comparisons.everything import ROWS
    from sides import SIDES

    assert {row.measurement for row in ROWS} == set(MEASUREMENTS)
    ours_too = {"aioboto", "raw", "ours"}  # they may run in our process
    for row in ROWS:
        assert row.side in {*MEASUREMENTS[row.measurement].sides, *ours_too}
        assert "{" not in row.counted
    for measurement in MEASUREMENTS.values():
        assert set(measurement.sides) <= set(SIDES)
