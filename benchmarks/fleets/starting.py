"""A fleet that starts: how many processes succeed, when, and by how many calls."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from aiocredentials import CredentialsPool
from fleets.account import Account, Client
from fleets.virtual import run

if TYPE_CHECKING:
    from fleets.fleet import Fleet


def rounded(value: float, digits: int = 3) -> float:
    """Return a number with so many significant digits."""
    return float(f"{value:.{digits}g}")


def share_below(values: list[float], share: float) -> float | None:
    """Return the value below which a share of all values lies; None if there is none."""
    if not values:
        return None
    ordered = sorted(values)
    place = max(0, math.ceil(share * len(ordered)) - 1)
    return rounded(ordered[place])


class Starting:
    """The start of each simulated process, at once or within some seconds."""

    def __init__(self, fleet: Fleet, over: float) -> None:
        self.account = Account(fleet.secrets, share=fleet.share, seed=fleet.seed)
        self.times: list[float] = []
        self._fleet = fleet
        self._over = over

    async def run(self) -> None:
        """Start all processes."""
        drawn = self.account.random
        begins = [drawn.uniform(0, self._over) for _ in range(self._fleet.simulated)]
        await asyncio.gather(*(self._process(begin) for begin in begins))

    async def _process(self, begin: float) -> None:
        await asyncio.sleep(begin)
        loop = asyncio.get_running_loop()
        pool = CredentialsPool(
            session=Client(self.account),
            policy=self._fleet.policy,
            clock=loop.time,
            prefetch=self.account.names,
        )
        try:
            await pool.open()
        except ExceptionGroup:
            return
        self.times.append(loop.time() - begin)
        await pool.aclose()


def start(fleet: Fleet, *, over: float = 0.0) -> dict[str, Any]:
    """Start a fleet, and return what came of it; amounts are those of the whole fleet.

    Args:
        fleet: The fleet.
        over: The seconds over which the processes start; 0 means all at once.
    """
    starting = Starting(fleet, over)
    run(starting.run(), seed=fleet.seed)

    calls = starting.account.calls
    times = starting.times
    return {
        "processes": fleet.processes,
        "secrets": fleet.secrets,
        "simulated": fleet.simulated,
        "over": over,
        "started": rounded(len(times) / fleet.simulated),
        "median": share_below(times, 0.5),
        "p99": share_below(times, 0.99),
        "batches": rounded(calls["BatchGetSecretValue"].made() / fleet.share),
        "batches throttled": rounded(calls["BatchGetSecretValue"].refused() / fleet.share),
        "gets": rounded(calls["GetSecretValue"].made() / fleet.share),
        "gets throttled": rounded(calls["GetSecretValue"].refused() / fleet.share),
    }
