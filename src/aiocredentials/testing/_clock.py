"""A clock that a test moves."""

from __future__ import annotations

import math
from datetime import timedelta


class FakeClock:
    """A monotonic clock that stands still until `advance` is called.

    Pass it as `clock=` to a `CredentialsPool`. The pool measures the ages of its secrets by it, so
    it decides which secrets are fresh, stale or expired. It isn't the clock of the event loop:
    timeouts and sleeps use real time.

    Example:
        ```python
        from aiocredentials import CredentialsPool
        from aiocredentials.testing import FakeClock, FakeSecretsManager


        async def test_the_ttl() -> None:
            fake = FakeSecretsManager({"prod/database": "made up"})
            clock = FakeClock()
            async with CredentialsPool(session=fake, clock=clock) as pool:
                manager = pool.manager("prod/database", decode=str)
                await manager.get()
                clock.advance(by=600)
                await manager.get()
            assert len(fake.calls) == 2
        ```
    """

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        """Return the seconds by which the clock was advanced so far."""
        return self._now

    def advance(self, by: float | timedelta) -> None:
        """Move the clock forward.

        Args:
            by: Seconds, or a `timedelta`.

        Raises:
            ValueError: The duration is negative, infinite or not a number.
        """
        step = by
        if isinstance(step, timedelta):
            step = step.total_seconds()

        if not math.isfinite(step) or step < 0:
            raise ValueError(
                f"by is {step}: a monotonic clock goes forward, by a finite number of seconds."
            )
        self._now += step

    def __repr__(self) -> str:
        """Show the time of the clock."""
        return f"<FakeClock {self._now:g} s>"
