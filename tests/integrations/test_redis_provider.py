"""redis-py's credential provider: it answers from memory, and gets over a finished rotation."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from aiocredentials import (
    AccessDeniedError,
    CachePolicy,
    EndpointUnreachableError,
    RedisCredentials,
    Secret,
    SecretNotFoundError,
)
from aiocredentials.integrations import redis as adapter
from aiocredentials.integrations.redis import RotatingCredentialProvider
from integrations.redis_server import HOST
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from integrations.redis_fixtures import RotatingSecrets
    from integrations.redis_server import RedisServer


def sentinel_client(port: int, provider: RotatingCredentialProvider) -> Redis:
    """Make a client by a Sentinel whose master always is the same."""

    class OneMaster(Sentinel):
        async def discover_master(self, _: str) -> tuple[str, int]:
            return HOST, port

    return OneMaster([]).master_for("main", credential_provider=provider)


CLIENTS: dict[str, Any] = {
    "Redis": lambda port, provider: Redis(host=HOST, port=port, credential_provider=provider),
    "RESP2": lambda port, provider: Redis(host=HOST, port=port, protocol=2, credential_provider=provider),
    "URL": lambda port, provider: Redis.from_url(f"redis://{HOST}:{port}", credential_provider=provider),
    "pool": lambda port, provider: Redis.from_pool(ConnectionPool(host=HOST, port=port, credential_provider=provider)),
    "blocking pool of a URL": lambda port, provider: Redis.from_pool(
        BlockingConnectionPool.from_url(f"redis://{HOST}:{port}", credential_provider=provider)
    ),
    "one connection": lambda port, provider: Redis(
        host=HOST, port=port, single_connection_client=True, credential_provider=provider
    ),
    "Sentinel": sentinel_client,
}


async def commands(client: Redis, number: int) -> list[str]:
    """Send commands, each from a task of its own, as a web service does; return the errors."""
    outcomes = [
        (await asyncio.gather(asyncio.create_task(client.get("key")), return_exceptions=True))[0] for _ in range(number)
    ]
    return [type(outcome).__name__ for outcome in outcomes if outcome is not None]


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
async def test_a_rotation_that_is_over(
    make: Callable[[int, RotatingCredentialProvider], Redis],
    rotating_redis: RotatingSecrets,
    redis_server: RedisServer,
) -> None:
    """Each kind of client gets over an old version in the cache by one fetch; no command fails."""
    secret = await rotating_redis.create()
    provider = RotatingCredentialProvider(secret.manager)
    async with make(redis_server.port, provider) as client:
        assert await commands(client, 1) == []
        await secret.rotate()
        provider._asked -= adapter._TOGETHER
        before = secret.fetches
        await client.connection_pool.disconnect()
        assert await commands(client, 5) == []
        assert secret.fetches == before + 1


async def test_a_rotation_within_a_burst(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the old version was asked for a moment ago, commands fail until that moment is over."""
    monkeypatch.setattr(adapter, "_TOGETHER", 3_600.0)
    monkeypatch.setattr(adapter, "_REFETCH_PAUSE", 3_600.0)
    secret = await rotating_redis.create()
    provider = RotatingCredentialProvider(secret.manager)
    async with Redis.from_url(f"redis://{HOST}:{redis_server.port}", credential_provider=provider) as client:
        assert await commands(client, 1) == []
        await secret.rotate()
        await client.connection_pool.disconnect()
        assert await commands(client, 1) == ["AuthenticationError"]
        provider._asked -= 3_600
        assert await commands(client, 1) == []


# redis-py 7.3 warns of what its own cluster client does.
@pytest.mark.filterwarnings("ignore:Call to '__init__' function with deprecated usage:DeprecationWarning")
async def test_cluster(rotating_redis: RotatingSecrets, cluster_server: RedisServer) -> None:
    """A cluster gets over a rotation as well."""
    at = {"host": HOST, "port": cluster_server.port}
    async with Redis(**at, password=cluster_server.admin_password) as admin:
        await admin.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        info = ("CLUSTER", "INFO")
        while b"cluster_state:ok" not in await admin.execute_command(*info, NEVER_DECODE=True):  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.05)
        secret = await rotating_redis.create(admin=admin)
        provider = RotatingCredentialProvider(secret.manager)
        async with RedisCluster(**at, credential_provider=provider) as client:
            assert await commands(client, 1) == []
            await secret.rotate()
            provider._asked -= adapter._TOGETHER
            before = secret.fetches
            for node in client.get_nodes():
                await node.disconnect()
            assert await commands(client, 5) == []
            assert secret.fetches == before + 1


async def test_it_is_cheap(rotating_redis: RotatingSecrets, record_property: Callable[[str, object], None]) -> None:
    """Each ask is answered from memory, with user and password of one version."""
    secret = await rotating_redis.create()
    provider = RotatingCredentialProvider(secret.manager)
    assert await provider.get_credentials_async() == secret.versions[0]
    asks = 1_000

    async def ask() -> float:
        began = time.perf_counter()
        for _ in range(asks):
            await provider.get_credentials_async()
        return (time.perf_counter() - began) / asks

    took = min([await ask() for _ in range(5)])
    record_property("redis: an ask of the provider, in ns", round(took * 1e9))
    print(f"\nredis: an ask of the provider takes {took * 1e9:.0f} ns", end="")  # noqa: T201 (with -s)
    assert secret.fetches <= 2
    assert took < 1e-3


async def test_without_a_secret(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """If the secret is unavailable, no connection stays open as the user `default`."""
    secret = await rotating_redis.create()
    secret.stages.clear()
    manager = rotating_redis.pool.manager(
        secret.name, decode=RedisCredentials.from_text, policy=CachePolicy(negative_ttl=0)
    )
    provider = RotatingCredentialProvider(manager)
    async with Redis(host=HOST, port=redis_server.port, credential_provider=provider) as client:
        with pytest.raises(RedisError, match="There are no credentials for Redis") as raised:
            await client.ping()
        assert isinstance(raised.value.__cause__, SecretNotFoundError)
        assert not client.connection_pool._available_connections[0].is_connected
        secret.stages["AWSCURRENT"] = 0
        assert await commands(client, 1) == []


async def test_no_sync(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """A client that isn't asyncio's gets a sentence that says so."""
    secret = await rotating_redis.create()
    provider = RotatingCredentialProvider(secret.manager)
    with (
        redis.Redis(host=HOST, port=redis_server.port, credential_provider=provider) as client,
        pytest.raises(RuntimeError, match=r"This provider is for asyncio: give it to a client of redis\.asyncio"),
    ):
        client.ping()
    assert not secret.fetches


# When an ask is a reason to fetch, in virtual time


class Versions:
    """A manager whose fetches are counted."""

    def __init__(self) -> None:
        self.version = 1
        self.cached = 1
        self.latency = 0.02
        self.failure: Exception | None = None
        self.fetched: list[float] = []
        self._flight: asyncio.Task[None] | None = None

    async def _fetch(self) -> Secret:
        if self._flight is None:
            self._flight = asyncio.ensure_future(self._fly())
        await asyncio.shield(self._flight)
        return await self.secret()

    async def _fly(self) -> None:
        self.fetched.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(self.latency)
            if self.failure is not None:
                raise self.failure
            self.cached = self.version
        finally:
            self._flight = None

    async def secret(self, *, version_stage: str | None = None) -> Secret:  # noqa: ARG002 (the protocol's)
        """Return what is cached; fetch it, if nothing is."""
        if not self.cached:
            return await self._fetch()
        return Secret(
            f"password-{self.cached}",
            name="redis",
            arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:redis-AbCdEf",
            region="eu-west-1",
            version_id=f"v{self.cached}",
            version_stages=("AWSCURRENT",),
            created_at=None,
            fetched_at=datetime.now(UTC),
            born=0.0,
        )

    def decoded(self, secret: Secret) -> RedisCredentials:
        """Decode."""
        return RedisCredentials.from_text(secret.reveal())

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget what is cached."""
        assert if_version == f"v{self.cached}"
        self.cached = 0

    def changes(self) -> AsyncGenerator[Secret]:
        """Isn't used."""
        raise NotImplementedError


class Refreshable(Versions):
    """One that can fetch without forgetting, as the library's own."""

    async def refresh(self) -> Secret:
        """Fetch."""
        return await self._fetch()


@pytest.fixture(params=[Versions, Refreshable])
def versions(request: pytest.FixtureRequest) -> Versions:
    """Each kind of manager."""
    made: Versions = request.param()
    return made


async def ask(provider: RotatingCredentialProvider) -> str:
    """Ask from a task of its own, as another connection does."""
    return (await asyncio.create_task(provider.get_credentials_async()))[-1]


def test_connections_that_are_opened_together(versions: Versions) -> None:
    """Any number of new connections at once, or soon after each other, cause no fetch."""

    async def main() -> None:
        provider = RotatingCredentialProvider(versions)
        await asyncio.gather(*(ask(provider) for _ in range(200)))
        for _ in range(15):
            await asyncio.sleep(0.06)
            await ask(provider)

    run(main(), seed=0)
    assert versions.fetched == []


@pytest.mark.parametrize("pace", [0.01, 0.2, 3.0])
def test_a_good_version_under_suspicion(versions: Versions, pace: float) -> None:
    """With a good version, fetches are a second apart, and soon ten, at any rate of connections."""

    async def main() -> None:
        provider = RotatingCredentialProvider(versions)
        while asyncio.get_running_loop().time() < 120:
            assert await ask(provider) == "password-1"
            await asyncio.sleep(pace)

    run(main(), seed=0, max_steps=1_000_000)
    pauses = [later - sooner for sooner, later in itertools.pairwise(versions.fetched)]
    assert min(pauses) >= 1
    assert min(pauses[5:]) >= 10
    assert len(versions.fetched) < 20


@pytest.mark.parametrize("quiet", [0.2, 5, 3_600])
def test_a_bad_version(versions: Versions, quiet: float) -> None:
    """After a rotation, the next burst of asks gets the new version, by one fetch."""

    async def main() -> None:
        provider = RotatingCredentialProvider(versions)
        await ask(provider)
        versions.version = 2
        await asyncio.sleep(quiet)
        assert await asyncio.gather(*(ask(provider) for _ in range(50))) == ["password-2"] * 50
        assert await ask(provider) == "password-2"

    run(main(), seed=0)
    assert len(versions.fetched) == 1


def test_a_bad_version_under_load(versions: Versions) -> None:
    """Where connections are opened all the time, a rotation is noticed within ten seconds."""

    async def main() -> None:
        provider = RotatingCredentialProvider(versions)
        clock = asyncio.get_running_loop().time
        while clock() < 100:
            await ask(provider)
            await asyncio.sleep(0.01)
        versions.version = 2
        seen = set()
        while clock() < 111:
            seen = {await ask(provider)}
            await asyncio.sleep(0.01)
        assert seen == {"password-2"}

    run(main(), seed=0, max_steps=1_000_000)


@pytest.mark.parametrize("failure", [EndpointUnreachableError("down"), AccessDeniedError("no"), None], ids=range(3))
def test_a_suspicion_harms_nobody(failure: Exception | None) -> None:
    """If the fetch fails or takes more than a second, the known version is used, and stays cached."""
    versions = Refreshable()

    async def main() -> None:
        provider = RotatingCredentialProvider(versions)
        await ask(provider)
        versions.failure = failure
        versions.latency = 0.02 if failure else 60
        await asyncio.sleep(1)
        assert await ask(provider) == "password-1"
        assert asyncio.get_running_loop().time() <= 2
        assert await ask(provider) == "password-1"

    run(main(), seed=0)
    assert len(versions.fetched) == 1
    assert versions.cached == 1


def test_cancelled_while_it_fetches(versions: Versions) -> None:
    """When the one that fetches is cancelled, those that wait for it go on."""
    versions.latency = 0.5

    async def main() -> None:
        provider = RotatingCredentialProvider(versions)
        await ask(provider)
        versions.version = 2
        await asyncio.sleep(1)
        first, second = (asyncio.create_task(provider.get_credentials_async()) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await second)[-1] in {"password-1", "password-2"}
        await asyncio.wait([first])
        assert first.cancelled()

    run(main(), seed=0)


def test_two_loops() -> None:
    """A provider that two loops share waits for no fetch of the other loop's."""
    versions = Refreshable()
    provider = RotatingCredentialProvider(versions)
    other = asyncio.new_event_loop()
    try:
        run(provider.get_credentials_async(), seed=0)
        provider._refetching = other.create_future()
        provider._asked = provider._refetched = float("-inf")
        assert run(provider.get_credentials_async(), seed=0) == ("password-1",)
    finally:
        other.close()
    assert len(versions.fetched) == 1
