"""The lines about reads from memory."""

from __future__ import annotations

from dataclasses import replace

from comparisons.row import Row, beside

HIT_SECTION = "Reads from memory"

SHAPES = (
    ("flat", "7 keys, flat", 0.3),
    ("forty", "40 keys, flat", 0.3),
    ("nested", "nested", 0.5),
    ("large", "20 KiB", 1.1),
)


def parsed_rows() -> list[Row]:
    """Return the rows of reads that return a new object each time."""
    rows: list[Row] = []
    for shape, described, reach in SHAPES:
        row = Row(
            HIT_SECTION,
            "hit",
            f"`retrieve_secret_string()`, {described}",
            "`json.loads` of the text",
            theirs=f"loads_{shape}",
            ours=f"parsed_{shape}",
            reach=reach,
        )
        without_decode = f"`get()` without `decode`, {described}"
        rows.append(row)
        rows.append(replace(row, what=without_decode, ours=f"get_{shape}"))
    return rows


DECODED = Row(HIT_SECTION, "hit", "`get()` with `decode`", ours="decoded")
TEXT = Row(HIT_SECTION, "hit", "`(await secret()).reveal()`, the text", ours="text")
TYPED = Row(HIT_SECTION, "hit", "`get()` with `DatabaseCredentials`", ours="typed")
BARE = {"against": "a bare coroutine", "theirs": "coroutine"}

HIT_ROWS = [
    *parsed_rows(),
    replace(DECODED, reach=2.1, **BARE),
    replace(DECODED, against="a dict, without a coroutine", theirs="dict"),
    replace(TEXT, **BARE),
    replace(TYPED, **BARE),
    *beside(DECODED, ("lru", "powertools")),
    *beside(TYPED, ("toolkit",)),
    *beside(TEXT, ("aws_caching",)),
]
