"""`CachePolicy`: how fresh is fresh, and how long an old value may bridge an outage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta  # noqa: TC003 (typing.get_type_hints looks for it)
from typing import cast

from aiocredentials._arguments import seconds, share_of_one


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
        object.__setattr__(self, "jitter", share_of_one(self.jitter, "jitter", ends=True))
        if self.refresh_ahead is not None:
            object.__setattr__(
                self, "refresh_ahead", share_of_one(self.refresh_ahead, "refresh_ahead", ends=False)
            )
        if 0 < cast("float", self.max_stale) < cast("float", self.ttl):
            raise ValueError(
                f"max_stale is {self.max_stale}, less than the ttl, {self.ttl}: give the ttl at least, or 0 for never."
            )


DEFAULT_POLICY = CachePolicy()
