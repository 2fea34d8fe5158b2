"""redis-py with the secret's credentials: each kind of client, what is refused, what is told, and what isn't shown."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError as RedisConnectionError, RedisClusterException

from aiocredentials import DatabaseCredentials, SecretNotFoundError
from aiocredentials.integrations.redis import use_credentials
from aiocredentials.rotation import is_auth_error
from integrations.redis_server import HOST
from leaks.canary import VALUE, LogKeeper, assert_silent, leaked, of_error, of_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from integrations.redis_fixtures import RotatingSecrets
    from integrations.redis_server import RedisServer
    from server.stub import StubSecretsManager


class OneMaster:
    """What a `Sentinel` is for its pools: here the master is always the same."""

    def __init__(self, port: int) -> None:
        self._address = (HOST, port)

    async def discover_master(self, _: str) -> tuple[str, int]:
        """Tell the master's address."""
        return self._address


CLIENTS: dict[str, Callable[[RedisServer], Redis]] = {
    "Redis": lambda server: Redis(host=HOST, port=server.port),
    "RESP2": lambda server: Redis(host=HOST, port=server.port, protocol=2),
    "URL": lambda server: Redis.from_url(f"redis://{HOST}:{server.port}"),
    "Unix socket": lambda server: Redis(unix_socket_path=server.unix_socket),
    "pool": lambda server: Redis.from_pool(ConnectionPool(host=HOST, port=server.port)),
    "blocking pool": lambda server: Redis.from_pool(BlockingConnectionPool(host=HOST, port=server.port)),
    "one connection": lambda server: Redis(host=HOST, port=server.port, single_connection_client=True),
    "Sentinel": lambda server: Redis.from_pool(SentinelConnectionPool("main", OneMaster(server.port))),
}


async def whoami(client: Redis) -> str:
    """Ask the server for the user that the connection is."""
    answer: str | bytes = await client.acl_whoami()  # it depends on the protocol
    return answer if isinstance(answer, str) else answer.decode()


async def refusals(admin: Redis) -> int:
    """Return how often the server has refused a login."""
    return sum(int(each["count"] if "count" in each else each[b"count"]) for each in await admin.acl_log())


async def renewed(client: Redis) -> str:
    """Close the connections, and return the user of a new one."""
    await client.connection_pool.disconnect()
    return await whoami(client)


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
async def test_clients(
    make: Callable[[RedisServer], Redis], rotating_redis: RotatingSecrets, redis_server: RedisServer
) -> None:
    """Each kind of client signs in with the secret's user, before, in and after a window, whichever side is first."""
    secret = await rotating_redis.create()
    client = make(redis_server)
    assert use_credentials(client, secret.manager) is client
    async with client:
        assert await whoami(client) == secret.username
        secret.create_pending()
        await secret.set_at_server()
        assert await renewed(client) == secret.username
        secret.promote()
        secret.create_pending()
        secret.promote()
        await secret.manager.refresh()
        assert await renewed(client) == secret.username
        await secret.set_at_server()
        assert await renewed(client) == secret.username


# redis-py 7.3 warns of what its own cluster client does.
@pytest.mark.filterwarnings("ignore:Call to '__init__' function with deprecated usage:DeprecationWarning")
async def test_cluster(rotating_redis: RotatingSecrets, cluster_server: RedisServer) -> None:
    """A cluster's nodes are signed in to as well, also after a rotation."""
    at = {"host": HOST, "port": cluster_server.port}
    async with Redis(**at, password=cluster_server.admin_password) as admin:
        await admin.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        info = ("CLUSTER", "INFO")
        while b"cluster_state:ok" not in await admin.execute_command(*info, NEVER_DECODE=True):  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.05)
        secret = await rotating_redis.create(admin=admin)
        client = use_credentials(RedisCluster(**at), secret.manager)
        async with client:
            await client.set("key", "value")
            await secret.rotate()
            for node in client.get_nodes():
                await node.disconnect()
            assert await client.get("key") == b"value"
    with pytest.raises(ValueError, match="The client already has a password"):
        use_credentials(RedisCluster(**at, password="p"), secret.manager)


async def test_herd(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """Two hundred connections that are refused together cost two fetches."""
    secret = await rotating_redis.create()
    pool = use_credentials(ConnectionPool(host=HOST, port=redis_server.port, max_connections=300), secret.manager)
    async with aclosing(pool):
        await pool.release(await pool.get_connection())
        secret.create_pending()
        await secret.set_at_server()
        await pool.disconnect()
        before = secret.fetches
        connections = await asyncio.gather(*[pool.get_connection() for _ in range(200)])
        assert secret.fetches - before <= 2
        for connection in connections:
            await pool.release(connection)


async def test_a_label_that_is_denied(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, stub: StubSecretsManager
) -> None:
    """Without permission for AWSPENDING, a connection waits until AWSCURRENT moves."""
    secret = await rotating_redis.create()
    secret.denied.add("AWSPENDING")
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager) as client:
        secret.create_pending()
        await secret.set_at_server()
        asked = asyncio.create_task(whoami(client))
        await stub.arrival(3)
        secret.promote()
        assert await asked == secret.username


async def test_refused_throughout(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis
) -> None:
    """A password that is never taken ends in redis-py's own error within the budget, once, and it shows no value."""
    secret = await rotating_redis.create()
    secret.versions[0] = (secret.username, VALUE)
    await secret.manager.get()
    client = use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager, budget=1)
    await redis_admin.acl_log_reset()
    with LogKeeper() as log:
        async with client:
            began = time.monotonic()
            with pytest.raises(AuthenticationError) as refused:
                await client.ping()
            assert 1 <= time.monotonic() - began < 3
    assert "the server refused each version that was tried" in refused.value.__notes__[0]
    assert 2 <= await refusals(redis_admin) <= 8
    assert secret.fetches <= 8
    refused.value.__traceback__ = None  # redis-py's frames have the password among their locals
    assert_silent(of_error(refused.value))
    assert_silent(iter(log.texts))


async def test_refused_in_the_middle(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """Where a command has to connect again and is refused, it isn't tried for one budget after the other."""
    secret = await rotating_redis.create()
    pool = use_credentials(ConnectionPool(host=HOST, port=redis_server.port), secret.manager, budget=0.2)
    async with aclosing(pool):
        connection = await pool.get_connection()
        await secret.set_at_server()  # the same: open connections stay, and it counts as nothing
        secret.versions[0] = (secret.username, "other")
        await secret.set_at_server()
        secret.versions[0] = (secret.username, "wrong")
        secret.manager.invalidate()
        await connection.disconnect()
        began = time.monotonic()
        with pytest.raises(AuthenticationError):
            await connection.retry.call_with_retry(lambda: connection.send_command("PING"), connection_failed)
        assert time.monotonic() - began < 1
        await pool.release(connection)


async def connection_failed(error: Exception) -> None:
    """Do nothing when a connection failed."""


async def test_no_server(rotating_redis: RotatingSecrets, unused_tcp_port: int) -> None:
    """Without a server, redis-py's own error comes out as ever, retried as ever, and nothing is fetched anew."""
    secret = await rotating_redis.create()
    plain = Redis(host=HOST, port=unused_tcp_port, retry=Retry(NoBackoff(), 3))
    async with plain, use_credentials(Redis(**plain_options(plain)), secret.manager) as client:
        with pytest.raises(RedisConnectionError) as expected:
            await plain.ping()
        with pytest.raises(RedisConnectionError) as raised:
            await client.ping()
        assert (type(raised.value), str(raised.value)) == (type(expected.value), str(expected.value))
        assert not hasattr(raised.value, "__notes__")
        (connection,) = client.connection_pool._available_connections
        assert connection.retry.get_retries() == 3
    assert secret.fetches == 1


def plain_options(client: Redis) -> dict[str, Any]:
    """Return what a client of the same server is made with."""
    return {name: client.get_connection_kwargs()[name] for name in ("host", "port", "retry")}


async def test_no_secret(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """If the secret can't be had, its own error comes out, before a connection is opened."""
    secret = await rotating_redis.create()
    secret.stages.clear()
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager) as client:
        with pytest.raises(SecretNotFoundError):
            await client.ping()
        (connection,) = client.connection_pool._available_connections
        assert not connection.is_connected


async def test_cancelled(rotating_redis: RotatingSecrets, redis_server: RedisServer, stub: StubSecretsManager) -> None:
    """A command that is cancelled while it waits for a version leaves no task and no connection without a user."""
    secret = await rotating_redis.create()
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager) as client:
        secret.denied |= {"AWSPENDING", "AWSPREVIOUS"}
        secret.create_pending()
        await secret.set_at_server()
        waiting = asyncio.create_task(client.ping())
        await stub.arrival(4)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        (connection,) = client.connection_pool._available_connections
        assert not connection.is_connected
        secret.promote()
        assert await whoami(client) == secret.username


async def test_token_only(rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis) -> None:
    """A secret that is nothing but a token signs in as the user `default`, and again after it changed."""
    secret = await rotating_redis.create()
    for token in ("token-1", "token-2"):
        await redis_admin.execute_command("ACL", "SETUSER", "default", f">{token}")
    secret.text = "token-1"
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager, reauthenticate=True) as client:
        assert await whoami(client) == "default"
        secret.create_pending()
        secret.text = "token-2"
        secret.promote()
        await secret.manager.refresh()
        assert await whoami(client) == "default"
        assert client.connection_pool._available_connections[0].version_id.endswith("1")
    await redis_admin.execute_command("ACL", "SETUSER", "default", "<token-1", "<token-2")


async def test_database_credentials_serve_too(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """Whatever decode makes will do, if it has username and password; what has none is refused without being shown."""
    secret = await rotating_redis.create()
    manager = rotating_redis.pool.manager(secret.name, decode=DatabaseCredentials.from_json)
    async with use_credentials(Redis(host=HOST, port=redis_server.port), manager) as client:
        assert await whoami(client) == secret.username
    secret.text = f'{{"password": "{VALUE[:2]}", "other": "{VALUE[4:6]}"}}'
    undecoded: Any = rotating_redis.pool.manager(secret.name)
    async with use_credentials(Redis(host=HOST, port=redis_server.port), undecoded) as client:
        with pytest.raises(TypeError, match=r"decode=RedisCredentials\.from_text") as refused:
            await client.ping()
    assert_silent(of_error(refused.value))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"username": "u", "password": "p"}, "a username and a password"),
        ({"credential_provider": redis.UsernamePasswordCredentialProvider("u", "p")}, "a credential_provider"),
    ],
)
async def test_credentials_twice(options: dict[str, Any], what: str, rotating_redis: RotatingSecrets) -> None:
    """A client that has credentials of its own is refused: those would never rotate."""
    secret = await rotating_redis.create()
    with pytest.raises(ValueError, match=f"The client already has {what}: leave that to the secret"):
        use_credentials(Redis(**options), secret.manager)


@pytest.mark.parametrize(
    "client",
    [redis.Redis(), redis.ConnectionPool(), redis.Redis().connection_pool, object(), None],
    ids=range(5),
)
async def test_other_clients(client: Any) -> None:  # noqa: ANN401
    """A client that isn't one of redis.asyncio is refused with what to give, and stays as it was."""
    manager: Any = object()
    with pytest.raises(TypeError, match=r"^The client is a .*: give one of redis\.asyncio, such as its Redis\.$"):
        use_credentials(client, manager)
    if isinstance(client, redis.Redis):
        assert client.connection_pool.connection_kwargs.get("credential_provider") is None


@pytest.mark.parametrize("connected", [True, False])
async def test_another_retry(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis, *, connected: bool
) -> None:
    """A retry that is set later doesn't multiply the budget: what was refused for all of it isn't tried again."""
    secret = await rotating_redis.create()
    client = use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager, budget=0.2)
    async with client:
        if connected:
            await client.ping()
        client.set_retry(Retry(NoBackoff(), 20))
        client.set_retry(Retry(NoBackoff(), 20))
        secret.versions[0] = (secret.username, "other")
        await secret.set_at_server()
        secret.versions[0] = (secret.username, "wrong")
        secret.manager.invalidate()
        await secret.manager.refresh()
        await client.connection_pool.disconnect()
        await redis_admin.acl_log_reset()
        with pytest.raises(AuthenticationError):
            await client.ping()
        assert await refusals(redis_admin) <= 5
        (connection,) = client.connection_pool._available_connections
        assert connection.retry.get_retries() == 20


# redis-py 7.3 warns of what its own cluster client does.
@pytest.mark.filterwarnings("ignore:Call to '__init__' function with deprecated usage:DeprecationWarning")
async def test_one_budget_for_several_servers(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis, cluster_server: RedisServer
) -> None:
    """Where a client tries one server after the other, as a cluster's does, only the first one is searched for."""
    secret = await rotating_redis.create()
    secret.versions[0] = (secret.username, "wrong")
    await secret.manager.get()
    nodes = [ClusterNode(HOST, server.port) for server in (redis_server, cluster_server)]
    client = use_credentials(RedisCluster(startup_nodes=nodes), secret.manager, budget=1)
    async with Redis(host=HOST, port=cluster_server.port, password=cluster_server.admin_password) as other_admin:
        for admin in (redis_admin, other_admin):
            await admin.acl_log_reset()
        began = time.monotonic()
        with pytest.raises(RedisClusterException) as refused:
            await client.initialize()
        assert time.monotonic() - began >= 1
        assert is_auth_error(refused.value)
        await client.aclose()
        attempts = [await refusals(admin) for admin in (redis_admin, other_admin)]
    assert min(attempts) == 1 < max(attempts)
    # A later command has a budget of its own.
    pool = use_credentials(ConnectionPool(host=HOST, port=redis_server.port), secret.manager, budget=0.4)
    async with aclosing(pool):
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(AuthenticationError):
                await pool.get_connection()
            assert time.monotonic() - began >= 0.4


# Open connections


async def test_open_connections_keep_their_user(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """Without `reauthenticate`, an open connection goes on as the user that it has."""
    secret = await rotating_redis.create(users=2)
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager) as client:
        before = await whoami(client)
        await secret.rotate()
        await secret.manager.refresh()
        assert await whoami(client) == before != secret.username
        assert await renewed(client) == secret.username


async def test_reauthenticate(rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis) -> None:
    """With it, each open connection becomes the new user when it is next lent, and stays open."""
    secret = await rotating_redis.create(users=2)
    async with use_credentials(
        Redis(host=HOST, port=redis_server.port, client_name="open"), secret.manager, reauthenticate=True
    ) as client:
        pool = client.connection_pool
        connections = [await pool.get_connection() for _ in range(3)]
        for connection in connections:
            await pool.release(connection)
        ids = {each["id"] for each in await redis_admin.client_list() if each["name"] == "open"}
        for _ in range(2):
            await secret.rotate()
            await secret.manager.refresh()
            connections = [await pool.get_connection() for _ in range(3)]
            for connection in connections:
                await pool.release(connection)
            now = [each for each in await redis_admin.client_list() if each["name"] == "open"]
            assert {each["user"] for each in now} == {secret.username}
            assert {each["id"] for each in now} == ids


async def test_reauthenticate_only_after_a_change(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis
) -> None:
    """While the version stays the same, an open connection that is lent again doesn't authenticate again."""
    secret = await rotating_redis.create()
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager, reauthenticate=True) as client:
        await client.ping()
        await redis_admin.config_resetstat()
        await client.ping()
        stats = await redis_admin.info("commandstats")
        assert stats["cmdstat_ping"]["calls"] == 1
        assert not {"cmdstat_auth", "cmdstat_hello"} & stats.keys()


async def test_reauthenticate_in_the_window(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis
) -> None:
    """A new version that the server doesn't take yet costs one refusal, fails no command, and is taken when it is."""
    secret = await rotating_redis.create(users=2)
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager, reauthenticate=True) as client:
        before = await whoami(client)
        await redis_admin.acl_log_reset()
        secret.create_pending()
        secret.promote()
        await secret.manager.refresh()
        for _ in range(5):
            assert await whoami(client) == before
        assert await refusals(redis_admin) == 1
        await secret.set_at_server()
        secret.versions[-2] = (before, "gone")
        await secret.set_at_server(-2)
        assert await renewed(client) == secret.username


async def test_reauthenticate_without_a_secret(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """While the secret can't be had, an open connection serves on."""
    secret = await rotating_redis.create()
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager, reauthenticate=True) as client:
        await client.ping()
        secret.stages.clear()
        secret.manager.invalidate()
        assert await client.ping()


async def test_reauthenticate_a_dead_connection(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis
) -> None:
    """A connection that the server has ended is opened anew, as redis-py does it."""
    secret = await rotating_redis.create(users=2)
    async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager, reauthenticate=True) as client:
        number = await client.client_id()
        await secret.rotate()
        await secret.manager.refresh()
        await redis_admin.client_kill_filter(_id=str(number))
        assert await whoami(client) == secret.username


async def test_reauthenticate_refused_throughout(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """Refused for a whole budget, an open connection isn't tried for another one."""
    secret = await rotating_redis.create()
    async with use_credentials(
        Redis(host=HOST, port=redis_server.port), secret.manager, budget=0.2, reauthenticate=True
    ) as client:
        await client.ping()
        secret.create_pending()
        secret.promote()
        secret.versions[0] = (secret.username, "gone")
        await secret.set_at_server(0)
        secret.versions[0] = (secret.username, "lost")
        secret.manager.invalidate()
        began = time.monotonic()
        with pytest.raises(AuthenticationError):
            await client.ping()
        assert time.monotonic() - began < 1


async def test_nothing_is_shown(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Client, pool, connection and provider show no value while they are in use, and the log has none."""
    caplog.set_level(logging.INFO)
    secret = await rotating_redis.create()
    secret.versions[0] = (secret.username, VALUE)
    await secret.set_at_server(0)
    with LogKeeper() as log:
        async with use_credentials(Redis(host=HOST, port=redis_server.port), secret.manager) as client:
            connection = await client.connection_pool.get_connection()
            provider = client.get_connection_kwargs()["credential_provider"]
            assert_silent(of_object(provider))
            # Not copied, as the others are: a copy would be one more connection to close.
            for thing in (client, client.connection_pool, connection, connection.retry, provider):
                assert leaked(f"{thing!r} {vars(thing)!r}") is None
            await client.connection_pool.release(connection)
            await secret.rotate()
            await renewed(client)
    assert_silent(iter(log.texts))
    assert "is accepted" in caplog.text
