"""`CachePolicy`: how fresh is fresh, and how long an old value may bridge an outage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import cast


def seconds(value: float | timedelta, name: str, *, zero: bool = False) -> float:
    """Read a duration: finite and more than 0 (or 0 as well). The error names the argument and says what to give."""
    number = cast("object", value.total_seconds() if isinstance(value, timedelta) else value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}: give seconds as a number, or a timedelta.")
    if not math.isfinite(number) or number < 0 or not (number or zero):
        raise ValueError(
            f"{name} is {number}: give {'0 or more' if zero else 'more than 0'} seconds, and not for ever."
        )
    return float(number)


def _share(value: object, name: str, *, ends: bool) -> float:
    """Read a share of 1: from 0 to 1 with both ends, or without them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}: give a share as a number, such as 0.5.")
    if not (0 <= value <= 1 if ends else 0 < value < 1):
        raise ValueError(f"{name} is {value}: give a share {'from 0 to 1' if ends else 'between 0 and 1'}.")
    return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How long a value is served from memory, and what happens then. Durations are seconds, or a `timedelta`.

    Raises `TypeError` or `ValueError`, with what to give instead, for a value that makes no sense.
    """

    ttl: float | timedelta = 300.0
    """A value is fresh this long, counted from the start of the fetch that brought it."""
    jitter: float = 0.1
    """The ttl of each value is shortened by a random share up to this, so that a fleet doesn't fetch all at once."""
    refresh_ahead: float | None = 0.8
    """A read past this share of the ttl starts a refresh in the background; None: never."""
    patience: float | timedelta = 0.5
    """Past the ttl, a reader waits this long for the refresh, counted from the refresh's start; 0: not at all."""
    max_stale: float | timedelta = 3600.0
    """A value up to this old is still served while refreshing fails or hangs; 0: never; else at least the ttl."""
    negative_ttl: float | timedelta = 5.0
    """A permanent failure is remembered this long; 0: not at all."""

    def __post_init__(self) -> None:
        """Refuse nonsense, and keep seconds as floats."""
        for name in ("ttl", "patience", "max_stale", "negative_ttl"):
            object.__setattr__(self, name, seconds(getattr(self, name), name, zero=name != "ttl"))
        object.__setattr__(self, "jitter", _share(self.jitter, "jitter", ends=True))
        if self.refresh_ahead is not None:
            object.__setattr__(self, "refresh_ahead", _share(self.refresh_ahead, "refresh_ahead", ends=False))
        if 0 < cast("float", self.max_stale) < cast("float", self.ttl):
            raise ValueError(
                f"max_stale is {self.max_stale}, less than the ttl, {self.ttl}: give the ttl at least, or 0 for never."
            )


DEFAULT_POLICY = CachePolicy()
