"""The lines about processes, sessions, calls, and calls that get no answer."""

from __future__ import annotations

from dataclasses import replace

from catalogue import CACHES, CLIENTS, COLD
from comparisons.row import Row, beside

COLD_SECTION = "Cold start"
CALL_SECTION = "Calls to AWS"
OUTAGE_SECTION = "AWS doesn't answer"
STALL_SECTION = "Stalls of the event loop"

COLD_ROWS = [
    *beside(
        Row(COLD_SECTION, "cold-http", "first value in a new process, http"),
        COLD[1:],
        reaches={"aioboto": 0.88},
    ),
    *beside(
        Row(COLD_SECTION, "cold-tls", "first value in a new process, TLS"),
        COLD[1:],
        reaches={"aioboto": 0.97},
    ),
    *beside(
        Row(
            COLD_SECTION,
            "cold-http-instructions",
            "first value in a new process, http (instructions)",
            unit="instructions",
        ),
        ("aioboto",),
        reaches={"aioboto": 0.88},
    ),
    *beside(
        Row(
            COLD_SECTION,
            "cold-tls-instructions",
            "first value in a new process, TLS (instructions)",
            unit="instructions",
        ),
        ("aioboto",),
        reaches={"aioboto": 0.97},
    ),
]

CALL_ROWS = [
    *beside(
        Row(CALL_SECTION, "session-per-call", "session per call: open, fetch, close"),
        (*CLIENTS, "toolkit"),
        reaches={"aioboto": 0.05},
    ),
    *beside(
        Row(CALL_SECTION, "fetch", "pooled fetch, without a cache"),
        (*CLIENTS, "raw"),
        reaches={"aioboto": 0.8},
    ),
    *beside(
        Row(
            CALL_SECTION,
            "session-per-call-instructions",
            "session per call (instructions)",
            unit="instructions",
        ),
        ("aioboto",),
        reaches={"aioboto": 0.05},
    ),
    *beside(
        Row(
            CALL_SECTION,
            "fetch-instructions",
            "pooled fetch, without a cache (instructions)",
            unit="instructions",
        ),
        ("aioboto",),
        reaches={"aioboto": 0.8},
    ),
]

HANGING = Row(
    OUTAGE_SECTION,
    "hang",
    "the second read past the TTL, refresh hanging",
    ours="second",
    counts="wall time of one read, ended after 2 s",
)

OUTAGE_ROWS = [
    Row(OUTAGE_SECTION, "hang", "each read past the TTL, refresh hanging", "a hit", theirs="hit"),
    *beside(HANGING, (*CACHES, "toolkit")),
    replace(HANGING, what="the first such read, `patience=0.05`", ours="first"),
]

STALL_ROWS = [
    *beside(
        Row(STALL_SECTION, "stall", "worst stall, first session of a process"),
        (*CLIENTS, "toolkit", "idle"),
        reaches={"aioboto": 0.05},
    ),
    *beside(
        Row(STALL_SECTION, "stall-of-twenty", "worst stall, first 20 sessions at once"),
        (*CLIENTS, "toolkit"),
        reaches={"aioboto": 0.05},
    ),
]
