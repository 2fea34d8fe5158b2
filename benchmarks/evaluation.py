"""How the values of the processes become the figures of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sides import SIDES

if TYPE_CHECKING:
    from comparisons.row import Row

# By measurement and side: its values by key, or why there are none.
Gathered = dict[str, dict[str, dict[str, Any]]]

# Results are written with this many digits.
DIGITS = 4


def rounded(value: float) -> float:
    """Return a value with four digits: the others are noise."""
    return float(f"{value:.{DIGITS}g}")


def merged(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the values of several processes of one side, or why there are none."""
    values: dict[str, list[float]] = {}
    for answer in answers:
        if "values" not in answer:
            return answer
        for key, found in answer["values"].items():
            values.setdefault(key, []).extend(found)
    return {"values": values}


def evaluate(row: Row, gathered: Gathered) -> dict[str, Any]:
    """Return the record of a row: its figures and their ratio, or why there are none."""
    record: dict[str, Any] = {
        "section": row.section,
        "measurement": row.measurement,
        "what": row.what,
        "against": row.against,
        "unit": row.unit,
        "reach": row.reach,
        "limit": row.limit,
        "counts": row.counted,
    }
    by_side = gathered[row.measurement]
    values: dict[str, list[float]] = {}
    # The side of the row may have run in our own process.
    for side in ("ours", row.side):
        answer = by_side.get(side, {"values": {}})
        if "values" not in answer:
            return record | answer | {"side": SIDES[side].label}
        values |= answer["values"]
    if {row.ours, row.theirs or row.ours} - values.keys():
        return record | {"skip": "a quick run doesn't reach this size"}

    ours = figure(values[row.ours])
    theirs = figure(values[row.theirs]) if row.theirs in values else None
    ratio = ours / theirs if theirs else None
    return record | {
        "ours": rounded(ours),
        "theirs": None if theirs is None else rounded(theirs),
        "ratio": None if ratio is None else rounded(ratio),
        "met": is_met(row, ours, ratio),
        "our_samples": [rounded(value) for value in values[row.ours]],
        "their_samples": [rounded(value) for value in values.get(row.theirs, [])],
    }


def figure(samples: list[float]) -> float:
    """Return the least value: whatever disturbs a measurement makes it larger."""
    return min(samples)


def is_met(row: Row, ours: float, ratio: float | None) -> bool | None:
    """Return whether a row is as good as it should be; None if nothing is asked of it."""
    if row.reach is None and row.limit is None:
        return None
    if row.limit is not None and ours > row.limit:
        return False
    return row.reach is None or (ratio is not None and ratio <= row.reach)


def growth(gathered: Gathered) -> dict[str, list[list[float]]]:
    """Return the curves of the plot of growth: the points of each, by name.

    A key whose end is a number is a point of the curve that its beginning names.
    """
    curves: dict[str, list[list[float]]] = {}
    for measurement in ("sizes", "waiters"):
        for answer in gathered.get(measurement, {}).values():
            for key, samples in answer.get("values", {}).items():
                name, _, size = key.rpartition("_")
                points = curves.setdefault(f"{measurement}/{name}", [])
                points.append([int(size), rounded(figure(samples))])
    for points in curves.values():
        points.sort()
    return curves
