"""Loops that come and go in several threads, on one pool: what each read brings must be right, and come."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from aiocredentials import CachePolicy, CredentialsPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

THREADS = 8
SECRETS = 12
_LONGEST = 20.0  # seconds: a read that takes longer hangs


@dataclass
class Seen:
    """What came of a storm."""

    loops: int = 0
    reads: int = 0
    problems: list[str] = field(default_factory=list[str])


class Rotating:
    """A `CustomSession` whose secrets are numbers that grow. It is its own client, for any thread."""

    region_name = "eu-west-1"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = dict.fromkeys(map(_name, range(SECRETS)), 0)

    def rotate(self, name: str) -> int:
        """Give a secret the next number, and return it."""
        with self._lock:
            self._numbers[name] += 1
            return self._numbers[name]

    @asynccontextmanager
    async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Rotating]:
        """Lend itself."""
        del region_name
        yield self

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        """Answer for one secret."""
        asked = parameters["SecretId"]
        with self._lock:
            name = asked if asked in self._numbers else asked.rpartition(":")[2].rpartition("-")[0]
            number = self._numbers[name]
        await asyncio.sleep(0)
        return {
            "ARN": _arn(name),
            "Name": name,
            "VersionId": f"{number:032}",
            "SecretString": json.dumps({"name": name, "number": number}),
            "VersionStages": ["AWSCURRENT"],
        }

    async def batch_get_secret_value(self, **parameters: list[str]) -> dict[str, Any]:
        """Answer for several secrets."""
        return {"SecretValues": [await self.get_secret_value(SecretId=one) for one in parameters["SecretIdList"]]}


def _name(number: int) -> str:
    return f"secret/{number}"


def _arn(name: str) -> str:
    return f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{name}-AbCd12"


class _Storm:
    def __init__(self, pool: CredentialsPool, session: Rotating, deadline: float, loops: int | None) -> None:
        self.seen = Seen()
        self._pool = pool
        self._session = session
        self._deadline = deadline
        self._loops = loops
        self._lock = threading.Lock()
        self._least: dict[str, int] = dict.fromkeys(map(_name, range(SECRETS)), 0)
        """By secret, the least number that may be served to a caller that asks now."""
        # Shared by all threads, as a module's are.
        self._managers = [pool.manager(one) for one in self._least]

    def work(self, seed: int) -> None:
        """Run short-lived loops until the time is over, or so many of them."""
        random = Random(seed)  # noqa: S311 (it shuffles, it guards nothing)
        done = 0
        while time.monotonic() < self._deadline and (self._loops is None or done < self._loops):
            done += 1
            try:
                asyncio.run(self._read(random))
            except Exception as error:  # noqa: BLE001 (each is a finding)
                self._problem(repr(error))
        with self._lock:
            self.seen.loops += done

    async def _read(self, random: Random) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: self._problem(repr(told)))
        for _ in range(random.randint(1, 6)):
            number = random.randrange(SECRETS)
            name = _name(number)
            manager = self._managers[number] if random.random() < 0.5 else self._pool.manager(_arn(name))
            chance = random.random()
            if chance < 0.1:
                manager.invalidate()
            elif chance < 0.2:
                self._rotate(name)
            elif chance < 0.25:
                await self._pool.prefetch(*map(_name, range(SECRETS)))
            await self._check(name, manager, forced=chance > 0.95)

    def _rotate(self, name: str) -> None:
        fresh = self._session.rotate(name)
        self._pool.manager(name).invalidate()
        with self._lock:
            self._least[name] = max(self._least[name], fresh)

    async def _check(self, name: str, manager: Any, *, forced: bool) -> None:  # noqa: ANN401 (a manager of any type)
        with self._lock:
            least = self._least[name]
        try:
            async with asyncio.timeout(_LONGEST):
                value = (await manager.refresh()).json() if forced else await manager.get()
        except TimeoutError:
            self._problem(f"{name} hangs")
            return
        if value["name"] != name or value["number"] < least:
            self._problem(f"{name}: {value}, and {least} had been announced")
        with self._lock:
            self.seen.reads += 1

    def _problem(self, what: str) -> None:
        with self._lock:
            self.seen.problems.append(what)


def storm(*, seconds: float = 3600.0, loops: int | None = None) -> Seen:
    """Let eight threads read, rotate and invalidate, with a switch of threads as often as Python can."""
    session = Rotating()
    # A short ttl and few places: so entries expire, are refreshed ahead and are evicted all the time.
    policy = CachePolicy(ttl=0.05, max_stale=0.2, patience=0.01)
    pool = CredentialsPool(session=session, policy=policy, max_secrets=SECRETS // 2)
    asyncio.run(pool.open())
    state = _Storm(pool, session, time.monotonic() + seconds, loops)
    threads = [threading.Thread(target=state.work, args=(seed,)) for seed in range(THREADS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    asyncio.run(pool.aclose())
    if pool._store.cache.flights._under_way:
        state.seen.problems.append("a fetch is under way after close")
    return state.seen


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(storm(seconds=float(sys.argv[1])))  # noqa: T201 (a program for looking)
