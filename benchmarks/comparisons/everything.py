"""All lines of the table, in their order."""

from __future__ import annotations

from comparisons.amounts import MANY_ROWS, MEMORY_ROWS, SIZE_ROWS
from comparisons.calls import CALL_ROWS, COLD_ROWS, OUTAGE_ROWS, STALL_ROWS
from comparisons.hits import HIT_ROWS

ROWS = [
    *COLD_ROWS,
    *CALL_ROWS,
    *HIT_ROWS,
    *MANY_ROWS,
    *OUTAGE_ROWS,
    *STALL_ROWS,
    *MEMORY_ROWS,
    *SIZE_ROWS,
]
