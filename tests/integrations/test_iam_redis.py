"""IAM tokens by redis-py, to a real Valkey behind a front that checks each token."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsPool
from aiocredentials.iam import IamCacheCredentials
from aiocredentials.rotation import is_auth_error
from integrations.iam_fixtures import CACHE, REGION
from integrations.iam_fronts import BACKEND_PASSWORD, HOST, ValkeyFront
from integrations.iam_rule import Target

redis = pytest.importorskip("redis.asyncio")

from redis.exceptions import AuthenticationError  # noqa: E402 (after importorskip)

from aiocredentials.integrations.redis import use_credentials  # noqa: E402 (after importorskip)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from integrations.iam_fixtures import Trust
    from integrations.iam_keys import RollingKeys
    from integrations.redis_server import RedisServer


@asynccontextmanager
async def iam_cache(**options: Any) -> AsyncIterator[IamCacheCredentials]:  # noqa: ANN401
    """Tokens for the user `app`, signed with the credentials of a pool of the library."""
    async with CredentialsPool(REGION) as pool:
        yield IamCacheCredentials(pool, **{"cache_name": "sessions", "username": "app", **options})


def where(front: ValkeyFront, trust: Trust) -> dict[str, Any]:
    """Return redis-py's options for a front."""
    encryption = {"ssl": True, "ssl_ca_certs": str(trust.bundle)}
    return {"host": HOST, "port": front.port, "decode_responses": True, **encryption}


async def connections(client: Redis, count: int) -> None:
    """Take so many connections from a client's pool at the same time, and put them back."""
    pool = client.connection_pool
    taken = await asyncio.gather(*(pool.get_connection() for _ in range(count)))
    for connection in taken:
        await pool.release(connection)


async def test_a_token_per_connection(iam_valkey: ValkeyFront, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """Each connection has a token of its own, and when AWS credentials roll, the new ones are loaded once.

    Open connections then send AUTH with a token of the new credentials.
    """
    iam_keys.clock.step = 1
    rule = iam_keys.rule
    async with (
        iam_cache() as cache,
        use_credentials(redis.Redis(**where(iam_valkey, iam_trust)), cache, reauthenticate=True) as client,
    ):
        assert await client.acl_whoami() == "app"
        await connections(client, 2)
        assert (iam_valkey.logins, iam_keys.loads, rule.refusals) == (2, 1, [])
        iam_keys.roll()
        await connections(client, 4)
        assert await client.acl_whoami() == "app"
        await connections(client, 4)
        assert iam_keys.loads == 2
        assert iam_valkey.logins == 6
        assert all("isn't valid" in refusal for refusal in rule.refusals)
        assert set(rule.seen.values()) == {1}
    await iam_valkey.until_open(0)


async def test_a_dead_source(iam_valkey: ValkeyFront, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """Commands on an open connection neither load AWS credentials that end soon, nor notice a dead source."""
    iam_keys.roll(life=timedelta(minutes=13))
    async with iam_cache() as cache:
        client = redis.Redis(**where(iam_valkey, iam_trust))
        async with use_credentials(client, cache, reauthenticate=True):
            await client.ping()
            loads = iam_keys.loads
            iam_keys.fail()
            for _ in range(50):
                await client.ping()
            assert iam_keys.loads == loads
            iam_keys.clock.ahead = 13 * 60
            assert await client.ping()
            assert iam_keys.loads > loads
            assert iam_valkey.connections == 1


async def test_no_token_in_clear(iam_keys: RollingKeys) -> None:
    """A client that doesn't encrypt is refused before anything is sent."""
    async with ValkeyFront(iam_keys.rule, 1, None, CACHE) as front, iam_cache() as cache:
        async with redis.Redis(host=HOST, port=front.port) as client:
            with pytest.raises(ValueError, match="must be encrypted"):
                use_credentials(client, cache)
        assert front.connections == 0


@pytest.mark.parametrize(
    ("target", "options"),
    [
        (Target("elasticache", "sessions", REGION, {"ResourceType": "ServerlessCache"}), {"serverless": True}),
        (Target("memorydb", "sessions", REGION), {"service": "memorydb"}),
    ],
)
async def test_other_services(
    iam_valkey: ValkeyFront, iam_trust: Trust, target: Target, options: dict[str, Any]
) -> None:
    """A serverless cache and MemoryDB accept the token that is made for them, and no other."""
    iam_valkey._target = target
    async with iam_cache(**options) as right, iam_cache() as wrong:
        async with use_credentials(redis.Redis(**where(iam_valkey, iam_trust)), right) as client:
            assert await client.acl_whoami() == "app"
        async with use_credentials(redis.Redis(**where(iam_valkey, iam_trust)), wrong, budget=0.05) as client:
            with pytest.raises(AuthenticationError) as caught:
                await client.ping()
    assert is_auth_error(caught.value)
    note = caught.value.__notes__[0]
    assert "elasticache:Connect" in note
    assert "serverless=" in note


async def test_a_cluster(cluster_server: RedisServer, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """The connections to a cluster's nodes have tokens too, also after AWS credentials have rolled."""
    admin = redis.Redis(host=HOST, port=cluster_server.port, password=cluster_server.admin_password)
    async with admin, ValkeyFront(iam_keys.rule, cluster_server.port, iam_trust.context, CACHE) as front:
        await admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await admin.acl_setuser("app", enabled=True, passwords=[f"+{BACKEND_PASSWORD}"], keys="*", commands=["+@all"])
        client = redis.RedisCluster(**where(front, iam_trust), address_remap=lambda _: (HOST, front.port))
        async with iam_cache() as cache, use_credentials(client, cache):
            # The cluster refuses keys in its first two seconds, but not this.
            assert await client.ping(target_nodes=client.PRIMARIES)
            iam_keys.roll()
            (node,) = client.get_primaries()
            await node.disconnect()
            assert await client.ping(target_nodes=client.PRIMARIES)
        assert iam_keys.loads == 2
        assert all("isn't valid" in refusal for refusal in iam_keys.rule.refusals)
