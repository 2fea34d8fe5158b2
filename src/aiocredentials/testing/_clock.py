"""A clock that a test moves."""

from __future__ import annotations

import math
from datetime import timedelta


class FakeClock:
    """A monotonic clock that stands still until it is told to advance: give it as `clock=` to a `CredentialsPool`.

    Ages are counted by it, and so what is fresh, stale or expired. It doesn't move the event loop's clock: timeouts and
    sleeps go on by real time.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        """Return the seconds that it was advanced so far."""
        return self._now

    def advance(self, by: float | timedelta) -> None:
        """Move it forward, by seconds or a `timedelta`. Raises `ValueError` for less than 0, and for ever."""
        step = by.total_seconds() if isinstance(by, timedelta) else by
        if not math.isfinite(step) or step < 0:
            raise ValueError(
                f"by is {step}: a monotonic clock goes forward, by a finite number of seconds."
            )
        self._now += step

    def __repr__(self) -> str:
        """Say what it shows."""
        return f"<FakeClock {self._now:g} s>"
