"""What is measured, and how often: each measurement with its sides."""

from __future__ import annotations

from dataclasses import dataclass

# The measurements of whole processes: the scheme of the endpoint, and what is counted.
COLD_STARTS = {
    "cold-http": ("http", "seconds"),
    "cold-tls": ("https", "seconds"),
    "cold-http-instructions": ("http", "instructions"),
    "cold-tls-instructions": ("https", "instructions"),
}

# The measurements of calls after the first one, in instructions: what is repeated, and how often.
REPEATED = {
    "session-per-call-instructions": ("sessions", 10),
    "fetch-instructions": ("fetches", 100),
}


@dataclass(frozen=True)
class Measurement:
    """How a measurement is run.

    Args:
        sides: The sides that have a process each. Ours may measure limits and aioboto3 as well, in
            turn with itself.
        repeats: How many times the processes are started, the sides in turn.
        counts: What the figures count, with the number of repeats as `{n}`.
        is_slow: It is only run if it is asked for.
    """

    sides: tuple[str, ...]
    repeats: int
    counts: str
    is_slow: bool = False


CLIENTS = ("aioboto", "boto", "aiobotocore_newest", "capo", "aws_sdk")
CACHES = ("lru", "powertools", "aws_caching")
COLD = ("ours", *CLIENTS, "aws_caching", "powertools", "toolkit", "raw")
# Whose instructions are counted: each process takes most of a minute then.
COUNTED = ("ours", "aioboto")
OTHER_CLIENTS = tuple(side for side in CLIENTS if side != "aioboto")

PROCESS = "CPU of the whole process, minimum of {n} processes"
SESSION = "CPU per session, minimum of 8 blocks in each of {n} processes"
CALL = "CPU per call, minimum of 100 blocks in each of {n} processes"
HIT = "CPU per read, minimum of 120 blocks in each of {n} processes"
STALL = "wall time, minimum of {n} processes"
INSTRUCTIONS = "instructions outside the kernel, by valgrind, one process"
PER_CALL = "instructions outside the kernel per call, by valgrind, from two processes"

MEASUREMENTS = {
    "cold-http": Measurement(COLD, 11, PROCESS),
    "cold-tls": Measurement(COLD, 11, PROCESS),
    "cold-http-instructions": Measurement(COUNTED, 1, INSTRUCTIONS, is_slow=True),
    "cold-tls-instructions": Measurement(COUNTED, 1, INSTRUCTIONS, is_slow=True),
    "session-per-call-instructions": Measurement(COUNTED, 1, PER_CALL, is_slow=True),
    "fetch-instructions": Measurement(COUNTED, 1, PER_CALL, is_slow=True),
    "session-per-call": Measurement(("ours", *OTHER_CLIENTS, "toolkit"), 2, SESSION),
    "fetch": Measurement(("ours", *OTHER_CLIENTS), 3, CALL),
    "hit": Measurement(("ours", *CACHES, "toolkit"), 3, HIT),
    "start": Measurement(
        ("ours", *CLIENTS, *CACHES),
        2,
        "wall time, minimum of {n} processes",
    ),
    "prefetch": Measurement(("ours",), 3, STALL),
    "herd": Measurement(("ours", *CACHES), 3, "CPU of the process, minimum of {n} processes"),
    "hang": Measurement(
        ("ours", *CACHES, "toolkit"),
        1,
        "CPU per read, minimum of 200 blocks",
    ),
    "stall": Measurement(("ours", *CLIENTS, "toolkit", "idle"), 5, STALL),
    "stall-of-twenty": Measurement(("ours", *CLIENTS, "toolkit"), 2, STALL),
    "memory-of-secrets": Measurement(
        ("ours", *CACHES),
        2,
        "growth of the resident memory per secret, minimum of {n} processes",
    ),
    "memory-of-client": Measurement(
        ("ours", *CLIENTS),
        2,
        "growth of the resident memory, minimum of {n} processes",
    ),
    "sizes": Measurement(("ours",), 1, "CPU per call, minimum of 5 to 200"),
    "waiters": Measurement(("ours", "lru"), 2, "CPU per waiter, minimum of 5 in {n} processes"),
}
