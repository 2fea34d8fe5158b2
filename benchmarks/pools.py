"""The rows about pools and their cache."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import against
from against import NAME, REGION
from timing import BLOCK, Bench, Loop, Values, alternate, medians

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiocredentials import AsyncCredentialsManager, CredentialsPool


def pool_of(bench: Bench, **settings: Any) -> CredentialsPool:
    """Return a pool that calls the stub."""
    from aiocredentials import CredentialsPool

    return CredentialsPool(REGION, endpoint_url=bench.endpoint, **settings)


def managers_of(pool: CredentialsPool, names: list[str]) -> list[AsyncCredentialsManager[Any]]:
    """Return a manager per name."""
    return [pool.manager(name, decode=json.loads) for name in names]


def read_in_turn(managers: list[AsyncCredentialsManager[Any]]) -> Loop:
    """Return a loop that reads the managers one after another, again and again."""

    async def loop(calls: int) -> None:
        for manager in managers * (calls // len(managers)):
            await manager.get()

    return loop


async def fetch(bench: Bench, _side: str) -> Values:
    """Time a pooled fetch without cache against a bare client with the same configuration.

    Our side also builds and checks a `Secret`. A second bare client is the third side: its distance
    from the first one is the noise of this row.
    """

    def bare_loop(client: Any) -> Loop:
        async def loop(calls: int) -> None:
            for _ in range(calls):
                await client.get_secret_value(SecretId=NAME, VersionStage="AWSCURRENT")

        return loop

    async with (
        pool_of(bench, config=against.config()) as pool,
        against.bare_client(bench.endpoint) as client,
        against.bare_client(bench.endpoint) as second_client,
    ):
        manager = pool.manager(NAME, policy=None)

        async def ours(calls: int) -> None:
            for _ in range(calls):
                await manager.secret()

        sides = {
            "against": bare_loop(client),
            "ours": ours,
            "control": bare_loop(second_client),
        }
        rounds = bench.few(300, 100)
        bench.reset_counts()
        values = await alternate(sides, rounds, calls=5)

    # Three sides have a block of five calls per round, and one block before the first round.
    expected = 3 * 5 * (rounds + 1)
    calls = bench.counts()["GetSecretValue"]
    assert calls == expected, "a pooled fetch without cache must be one call"
    return values


async def hit(bench: Bench, _side: str) -> Values:
    """Time a hit against a bare coroutine, the floor, and against three caches that people use.

    All sides read one secret that stays fresh, and no side switches tasks. The synchronous caches
    are called without any `await`, in their favour. A cache that isn't installed is left out.
    """
    sides: dict[str, Loop] = {"floor": against.bare_coroutine()}
    for side, build in against.OTHER_CACHES.items():
        try:
            sides[side] = build(bench.endpoint)
        except ModuleNotFoundError:
            continue

    async with pool_of(bench) as pool:
        manager = pool.manager(NAME, decode=json.loads)

        async def ours(calls: int) -> None:
            for _ in range(calls):
                await manager.get()

        sides["ours"] = ours
        return await alternate(sides, bench.few(500, 60), BLOCK)


async def size(bench: Bench, _side: str) -> Values:
    """Time a hit with 100,000 cached secrets against one with 10: what a large cache costs.

    Both sides read the same ten secrets in turn. The side `spread` reads a thousand of the 100,000:
    it shows how often the caches of the processor miss, which no bookkeeping can avoid.
    """
    many = bench.few(100_000, 10_000)
    names = [f"bench/{number:06}" for number in range(many)]
    few_names = names[:10]
    spread_names = names[:: many // 1000]

    async with (
        pool_of(bench, max_secrets=11, timeout=600) as small,
        pool_of(bench, max_secrets=many + 1, timeout=600) as large,
    ):
        await small.prefetch(*few_names)
        await large.prefetch(*names)
        managers = {
            "against": managers_of(small, few_names),
            "ours": managers_of(large, few_names),
            "spread": managers_of(large, spread_names),
        }
        bench.reset_counts()
        for side in managers.values():
            for manager in side:
                await manager.get()

        sides = {side: read_in_turn(each) for side, each in managers.items()}
        values = await alternate(sides, bench.few(600, 60), calls=1000)

    assert bench.counts() == {}, "a hit must make no call"
    return values


async def prefetch(bench: Bench, _side: str) -> Values:
    """Time a prefetch of 500 secrets against 500 gathered calls, if each answer takes 20 ms.

    Both sides have made one call before, so neither pays for the opening of its client. The side
    `wide` has 50 connections in place of botocore's 10. Each round has new pools and clients, and
    the server counts its calls.
    """
    names = [f"bench/{number:03}" for number in range(500)]

    async def ours() -> float:
        async with pool_of(bench, config=against.config()) as pool:
            await pool.manager(NAME).get()
            bench.reset_counts()
            start = time.perf_counter()
            await pool.prefetch(*names)
            return time.perf_counter() - start

    async def single(connections: int) -> float:
        async with against.bare_client(bench.endpoint, connections) as client:
            await client.get_secret_value(SecretId=NAME)
            bench.reset_counts()
            start = time.perf_counter()
            calls = [client.get_secret_value(SecretId=name) for name in names]
            await asyncio.gather(*calls)
            return time.perf_counter() - start

    sides: dict[str, Callable[[], Awaitable[float]]] = {
        "ours": ours,
        "against": partial(single, 10),
        "wide": partial(single, 50),
    }
    taken: Values = {}
    for side in sides:
        taken[side] = []
        taken[f"{side}_calls"] = []

    bench.set_latency(milliseconds=20)
    try:
        for _ in range(bench.few(5, 2)):
            for side, run_once in sides.items():
                gc.collect()
                seconds = await run_once()
                calls = bench.counts()
                taken[side].append(seconds)
                taken[f"{side}_calls"].append(sum(calls.values()))
    finally:
        bench.set_latency(milliseconds=0)
    return medians(taken)


async def hang(bench: Bench, _side: str) -> Values:
    """Time a read past the TTL while its refresh hangs, against a hit.

    The first reader has waited before. The TTL is a real 0.2 s, and the server holds the refresh
    for a minute, longer than this row takes. At the end the row checks that every read of that
    secret was a stale one.
    """
    from aiobotocore.config import AioConfig

    from aiocredentials import CachePolicy

    policy = CachePolicy(
        ttl=0.2,
        jitter=0.0,
        refresh_ahead=None,
        patience=0.05,
        max_stale=3600.0,
    )
    config = AioConfig(read_timeout=60)
    async with pool_of(bench, config=config, timeout=60) as pool:
        stale = pool.manager("bench/stale", decode=json.loads, policy=policy)
        fresh = pool.manager("bench/fresh", decode=json.loads)
        await stale.get()
        await fresh.get()

        bench.set_latency(milliseconds=60000)
        bench.reset_counts()
        try:
            await asyncio.sleep(0.25)

            # The first reader waits, later ones don't.
            await stale.get()
            sides = {
                "against": read_in_turn([fresh]),
                "ours": read_in_turn([stale]),
            }
            values = await alternate(sides, bench.few(500, 60), BLOCK)

            calls = bench.counts()
            secret = await stale.secret()
        finally:
            bench.set_latency(milliseconds=0)

    assert calls == {"GetSecretValue": 1}, "the refresh must hang while stale values are served"
    assert secret.is_stale, "each read must return the stale value"
    return values
