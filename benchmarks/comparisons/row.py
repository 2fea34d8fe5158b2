"""A line of the table: two figures of a measurement, and how far apart they should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from catalogue import MEASUREMENTS
from sides import SIDES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        section: The heading that it stands below.
        measurement: Whose values it compares.
        what: What we do.
        against: What we compare it with.
        theirs: The key of the other values; without it, our figure stands alone.
        ours: The key of our values.
        unit: "s", "B", "calls" or "instructions".
        reach: The highest ratio that is good enough.
        limit: The highest value of ours that is good enough.
        counts: What the figures count, if the measurement's own text doesn't fit.
        side: The side that has to be installed.
    """

    section: str
    measurement: str
    what: str
    against: str = ""
    theirs: str = ""
    ours: str = "ours"
    unit: str = "s"
    reach: float | None = None
    limit: float | None = None
    counts: str = ""
    side: str = "ours"

    @property
    def counted(self) -> str:
        """What the figures of this row count."""
        measurement = MEASUREMENTS[self.measurement]
        return (self.counts or measurement.counts).format(n=measurement.repeats)


def beside(
    row: Row,
    sides: Iterable[str],
    quantity: str = "",
    reaches: Mapping[str, float] | None = None,
) -> list[Row]:
    """Return the row once for each of several sides.

    Args:
        row: What the rows have in common.
        sides: What we are compared with.
        quantity: The end of the keys, if a measurement has more than one quantity per side.
        reaches: The reach by side.
    """
    rows: list[Row] = []
    for side in sides:
        reach = (reaches or {}).get(side)
        label = SIDES[side].label
        theirs = side + quantity
        rows.append(replace(row, against=label, theirs=theirs, reach=reach, side=side))
    return rows
