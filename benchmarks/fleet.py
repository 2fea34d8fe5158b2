"""Simulate fleets of 10 to 100,000 processes: `python benchmarks/fleet.py`.

The pools, caches and prefetches are those of the library. Secrets Manager, its quotas, botocore's
retries and the time are simulated. docs/fleet.md explains the results.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleets import prices
from fleets.account import QUOTAS
from fleets.fleet import Fleet
from fleets.running import live
from fleets.starting import rounded, start

from aiocredentials import CachePolicy, _prefetch

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
RESULTS = HERE / "fleet_results.json"

SIZES = (10, 100, 1_000, 10_000, 100_000)
SECRETS = (1, 20, 500)
# All variants are simulated at this size.
FULL_SIZE = 1_000
PER_HOST = 10
WITH_PUSH = CachePolicy(ttl=3600, max_stale=7200)

# How many secrets of processes are simulated at most where a fleet runs, and where it starts.
KEYS = 2_000
STARTING_KEYS = 10_000
FEWEST_PROCESSES = 2

# A rolling restart takes this many seconds.
ROLLING = 600.0


def spread_for(processes: int) -> float:
    """Return the spread that we recommend: 1,000 refreshes per second, a tenth of the quota."""
    return max(2.0, processes / 1_000)


@dataclass(frozen=True)
class Job:
    """One simulation: its section and name in the results, its kind, and its fleet."""

    section: str
    name: str
    kind: str
    fleet: Fleet
    over: float = 0.0

    def run(self) -> dict[str, Any]:
        """Run it, and return its record."""
        if self.kind == "live":
            record = live(self.fleet)
            return {"name": self.name, **record, **prices_of(self.fleet, record["mean"])}
        waits = _prefetch._TIMEOUTS_FOR_THROTTLED  # noqa: SLF001 (what the change has changed)
        if self.kind == "start, before":
            # Without time for throttled secrets, a throttled batch fails the prefetch.
            _prefetch._TIMEOUTS_FOR_THROTTLED = 0  # noqa: SLF001 (it is reset below)
        try:
            return {"name": self.name, **start(self.fleet, over=self.over)}
        finally:
            _prefetch._TIMEOUTS_FOR_THROTTLED = waits  # noqa: SLF001 (reset)


def prices_of(fleet: Fleet, mean: float) -> dict[str, float]:
    """Return what a fleet costs, in dollars per month, by what it pays for."""
    push = 0.0
    if fleet.spread is not None:
        push = prices.push_price(fleet.processes, fleet.secrets)
    calls = prices.calls_price(mean)
    return {
        "calls price": rounded(calls),
        "push price": rounded(push),
        "secrets price": rounded(prices.secrets_price(fleet.secrets)),
        "price": rounded(calls + push + prices.secrets_price(fleet.secrets)),
    }


def sampled(secrets: int, keys: int) -> int:
    """Return how many processes are simulated."""
    return max(FEWEST_PROCESSES, keys // secrets)


@dataclass
class Plan:
    """The simulations of a run, smaller for a smoke test."""

    sizes: Sequence[int] = SIZES
    secrets: Sequence[int] = SECRETS
    keys: int = KEYS
    starting_keys: int = STARTING_KEYS
    checked: int = 1_000
    seed: int = 0
    jobs: list[Job] = field(default_factory=list)

    def fleet(self, processes: int, secrets: int, *, keys: int, **settings: Any) -> Fleet:
        """Return a fleet of which so many keys are simulated."""
        sample = sampled(secrets, keys)
        per_host = settings.get("per_host", 0)
        if per_host:
            sample = max(per_host, sample - sample % per_host)
        return Fleet(
            processes=processes,
            secrets=secrets,
            sample=sample,
            seed=self.seed,
            **settings,
        )

    def planned(self) -> list[Job]:
        """Return all simulations."""
        for processes in self.sizes:
            self._add_starts(processes)
            for secrets in self.secrets:
                fleet = self.fleet(processes, secrets, keys=self.keys)
                if demand(fleet) <= QUOTAS["GetSecretValue"]:
                    self.jobs.append(Job("running", "plain", "live", fleet))
            self._add_variants(processes)
        self._add_check()
        return self.jobs

    def _add_starts(self, processes: int) -> None:
        for secrets in self.secrets:
            fleet = self.fleet(processes, secrets, keys=self.starting_keys)
            self.jobs.append(Job("starts", "at once", "start", fleet))
        fleet = self.fleet(processes, 20, keys=self.starting_keys)
        self.jobs.append(Job("starts before", "at once", "start, before", fleet))
        self.jobs.append(Job("rolling", "rolling", "start", fleet, ROLLING))

    def _add_variants(self, processes: int) -> None:
        spread = spread_for(processes)
        variants: dict[str, dict[str, Any]] = {
            "push": {"spread": spread},
            "push, TTL of an hour": {"spread": spread, "policy": WITH_PUSH},
            "TTL of a minute": {"policy": CachePolicy(ttl=60)},
            "agent": {"per_host": PER_HOST},
            "agent and push": {"per_host": PER_HOST, "spread": spread},
        }
        if processes != FULL_SIZE:
            variants = {name: variants[name] for name in ("push, TTL of an hour", "agent")}
        for name, settings in variants.items():
            is_long = settings.get("policy") is WITH_PUSH
            # Twelve times the TTL is twelve times as many reads.
            keys = self.keys // 4 if is_long else self.keys
            fleet = self.fleet(processes, 20, keys=keys, **settings)
            self.jobs.append(Job("variants", name, "live", fleet))

    def _add_check(self) -> None:
        """Simulate a fleet as a whole, which the larger ones aren't, and a sample of it."""
        processes = self.checked
        for name, keys in (("whole", 20 * processes), ("sample", self.starting_keys)):
            fleet = self.fleet(processes, 20, keys=keys)
            self.jobs.append(Job("check of starts", name, "start", fleet))
        for name, keys in (("whole", 20 * processes // 2), ("sample", self.keys)):
            fleet = self.fleet(processes // 2, 20, keys=keys)
            self.jobs.append(Job("check of running", name, "live", fleet))


def demand(fleet: Fleet) -> float:
    """Return about how many calls per second a fleet needs."""
    return fleet.processes * fleet.secrets / 233


def simulate(plan: Plan, *, workers: int) -> dict[str, Any]:
    """Run all simulations of a plan, and return the results by section."""
    jobs = plan.planned()
    # The longest first, so no processor waits for the last one.
    order = sorted(jobs, key=lambda job: -job.fleet.simulated * job.fleet.secrets)
    with ProcessPoolExecutor(workers) as pool:
        pending = {id(job): pool.submit(job.run) for job in order}
        records = [pending[id(job)].result() for job in jobs]

    results: dict[str, Any] = {
        "about": {
            "seed": plan.seed,
            "prices as of": prices.PRICES_AS_OF,
            "quotas": QUOTAS,
            "per host": PER_HOST,
            "rolling seconds": ROLLING,
        },
    }
    for job, record in zip(jobs, records, strict=True):
        results.setdefault(job.section, []).append(record)
    return results


def show(results: dict[str, Any]) -> None:
    """Print the results, one line per simulation."""
    for section, records in results.items():
        if section == "about":
            continue
        print(section)
        for record in records:
            parts = [f"{name}={value}" for name, value in record.items() if name != "name"]
            print(f"  {record['name']}: {', '.join(parts)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the results into this file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="small fleets, in a few seconds")
    options = parser.parse_args(arguments)

    plan = Plan(seed=options.seed)
    if options.smoke:
        plan = Plan((1_000,), (20,), 40, 60, 6, options.seed)
    began = time.monotonic()
    results = simulate(plan, workers=os.cpu_count() or 1)
    show(results)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)

    if options.json:
        text = json.dumps(results, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
