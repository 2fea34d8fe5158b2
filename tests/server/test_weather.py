"""Hostile weather over real HTTP: a network where half of the answers fail, and readers who don't notice."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import AsyncCredentialsManager, CachePolicy, CredentialsError, CredentialsPool
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._store import SecretStore
from server.fault_server import FaultServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiocredentials import Secret
    from aiocredentials._cache import Reader

NAMES = [f"prod/{number}" for number in range(10)]
ROUNDS = 1000
PACE = 0.25  # seconds of the cache's clock between two rounds
POLICY = CachePolicy(ttl=1, patience=5)


class Readers:
    """One reader a secret, all of one pool, and the clock that they live by."""

    def __init__(self, server: FaultServer) -> None:
        self.now = 1000.0
        settings = ClientSettings(endpoint_url=server.url, config=AioConfig(retries={"total_max_attempts": 1}))
        self.source = PooledSession(settings)
        self.store = SecretStore(self.source, 5, pooled=True, clock=lambda: self.now)
        where = Region("us-east-1", "the test")
        self.readers: list[Reader[Secret]] = [
            self.store.located_reader(SecretRequest(name, where), POLICY) for name in NAMES
        ]

    async def round(self) -> None:
        """Have each of them read once, all at the same time; each must get its own secret."""
        secrets = await asyncio.gather(*(reader.get() for reader in self.readers))
        for name, secret in zip(NAMES, secrets, strict=True):
            assert secret.name == json.loads(secret.reveal())["secret"] == name
        self.now += PACE


@asynccontextmanager
async def readers_of(server: FaultServer) -> AsyncIterator[Readers]:
    """Open the readers warm, and close them."""
    readers = Readers(server)
    readers.source.open()
    try:
        await readers.round()
        yield readers
    finally:
        await readers.store.cache.aclose()
        await readers.source.aclose()


def weather(seed: int, shares: dict[str, float]) -> FaultServer:
    """Return a server that is still healthy, and what its sky will be: shares of faults, drawn by a seed."""
    server, random = FaultServer(), Random(seed)  # noqa: S311 - it shuffles, it guards nothing
    faults, calm = list(shares), 1 - sum(shares.values())

    def chance() -> str | None:
        return random.choices([*faults, None], [*shares.values(), calm])[0]

    server.chance = lambda: chance() if server.healed.is_set() else None
    return server


@pytest.mark.exhaustive
@pytest.mark.timeout(60)
async def test_hostile_weather() -> None:
    """30 % throttled, 10 % reset, 5 % cut: of 10,000 reads by a warm cache every one is answered, and rightly."""
    shares = {"throttled": 0.3, "reset before the answer": 0.1, "close in the body": 0.05}
    async with weather(7, shares) as server, readers_of(server) as readers:
        server.healed.set()  # from here on the sky is what it is
        for _ in range(ROUNDS):
            await readers.round()
        # A refresh ahead may still be under way, that the server has answered and the cache hasn't counted.
        under_way = readers.store.cache.flights._loops.get().by_key.values()
        await asyncio.gather(*(flight.task for flight in under_way if flight.task is not None))
        asked, stats = len(server.requests), readers.store.stats()
        assert asked > ROUNDS / 2
        for fault, share in shares.items():
            assert share * 0.7 < server.fired[fault] / asked < share * 1.3
        assert stats.failures == server.fired.total()
        assert stats.stale > 0


@pytest.mark.timeout(60)
async def test_connections_out_of_step() -> None:
    """Where a connection brings more answers than were asked, or other ones, each reader still gets its own secret."""
    shares = {"two answers at once": 0.2, "two answers in turn": 0.05, "other secret": 0.1, "length too short": 0.1}
    async with weather(11, shares) as server, readers_of(server) as readers:
        server.healed.set()
        for _ in range(ROUNDS // 5):
            await readers.round()
        assert all(server.fired[fault] for fault in shares)


async def test_idle_connections_that_the_server_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends each connection behind its answer, unannounced, costs attempts and no error."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    async with FaultServer() as server:
        server.chance = lambda: "idle drop"
        async with CredentialsPool(endpoint_url=server.url, policy=None) as pool:
            for _ in range(10):
                await asyncio.gather(*(pool.manager(name).secret() for name in NAMES))
        assert server.fired["idle drop"] >= 100


async def test_an_hour_to_wait() -> None:
    """Whatever Retry-After asks for, the deadline of the fetch holds."""
    async with FaultServer() as server:
        await server.break_with("503 with Retry-After")
        loop = asyncio.get_running_loop()
        async with CredentialsPool(endpoint_url=server.url, timeout=0.5) as pool:
            manager: AsyncCredentialsManager[object] = pool.manager("prod/db")
            started = loop.time()
            with pytest.raises(CredentialsError) as info:
                await manager.secret()
            assert loop.time() - started <= 0.5 + 0.25
        assert info.value.transient
        assert server.fired["503 with Retry-After"] >= 1


async def test_a_body_that_stalls() -> None:
    """A body that stops in the middle is waited for until the deadline, and its connection isn't used again."""
    async with FaultServer() as server:
        await server.break_with("stalled body")
        async with CredentialsPool(endpoint_url=server.url, timeout=1) as pool:
            with pytest.raises(CredentialsError) as info:
                await pool.manager("prod/db").secret()
            assert info.value.transient
            await server.heal(1)
            assert (await pool.manager("prod/db").secret()).name == "prod/db"


async def test_a_body_without_end() -> None:
    """An answer is read so far and no further: whoever sends without end doesn't fill the memory."""
    async with FaultServer() as server:
        await server.break_with("a body without end")
        one_attempt = AioConfig(retries={"total_max_attempts": 1})
        manager = AsyncCredentialsManager[object]("prod/db", endpoint_url=server.url, config=one_attempt)
        with pytest.raises(CredentialsError) as info:
            await manager.secret()
        assert info.value.transient
        assert 16 <= server.mebibytes < 32
