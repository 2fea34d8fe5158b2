"""Random numbers that spread the load of a fleet. They protect nothing."""

from __future__ import annotations

import random

# The system's numbers: Python's own generator has the same state in all copies of a process that
# are restored from one snapshot, so all of them would fetch at the same moments.
_system = random.SystemRandom()


def random_share() -> float:
    """Return a random number from 0 to 1."""
    return _system.random()
