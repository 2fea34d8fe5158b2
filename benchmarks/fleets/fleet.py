"""What a fleet is like, and the sample of it that is simulated."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiocredentials import CachePolicy


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A fleet of processes, all with the same secrets.

    Args:
        processes: How many processes there are.
        secrets: How many secrets each of them reads.
        policy: The policy of each pool.
        spread: With push: the seconds over which the processes spread their refreshes; else None.
        per_host: With an agent: how many processes share one; else 0.
        sample: How many processes are simulated at most, with their part of the quotas.
        seed: For all random numbers.
    """

    processes: int
    secrets: int
    policy: CachePolicy = field(default_factory=CachePolicy)
    spread: float | None = None
    per_host: int = 0
    sample: int = 1_000
    seed: int = 0

    @property
    def simulated(self) -> int:
        """How many processes are simulated."""
        return min(self.processes, self.sample)

    @property
    def share(self) -> float:
        """The part of the fleet that is simulated, and so its part of the quotas."""
        return self.simulated / self.processes
