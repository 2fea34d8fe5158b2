"""`max_wait` of redis-py's clients: no command waits longer for its connection, and redis-py doesn't try again."""

from __future__ import annotations

import asyncio
import copy
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError, RedisClusterException, TimeoutError as RedisTimeoutError

from aiocredentials.integrations._redis_connections import WaitTimeoutError
from aiocredentials.integrations.redis import use_credentials
from integrations.waiting import HOST, PASSWORD, SHORT, Source, freezing_proxy, silent_server

if TYPE_CHECKING:
    from integrations.redis_fixtures import RotatingSecrets
    from integrations.redis_server import RedisServer

LIMIT = rf"No connection within {SHORT} s, which is max_wait\. The caller waited for "
WRONG = b"-WRONGPASS invalid username-password pair\r\n"


async def test_a_silent_server() -> None:
    """A login that hangs is cut, once, the socket is closed, and the connection serves the next command."""
    async with silent_server() as server:
        client = use_credentials(Redis(host=HOST, port=server.port, max_connections=1), Source(), max_wait=SHORT)
        async with client:
            for _ in range(3):
                with pytest.raises(RedisTimeoutError, match=f"{LIMIT}the server's answer"):
                    await client.ping()
        assert server.accepted == 3


async def test_a_connection_that_is_kept() -> None:
    """A connection that isn't the pool's, and was closed, connects again with the command: that is cut once, too."""
    retry: Any = Retry(ConstantBackoff(0), 3)
    async with silent_server() as server:
        client = use_credentials(Redis(host=HOST, port=server.port, retry=retry), Source(), max_wait=SHORT)
        async with client:
            kept = client.connection_pool.make_connection()
            with pytest.raises(RedisTimeoutError, match=f"{LIMIT}the server's answer"):
                await kept.retry.call_with_retry(lambda: _ping(kept), lambda _: kept.disconnect())
        assert server.accepted == 1


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
async def test_a_copy_of_a_retry(copied: Any) -> None:  # noqa: ANN401
    """The copy of a connection's retry, as redis-py makes it for other connections, is redis-py's own retry."""
    client = use_credentials(Redis(host=HOST, retry=Retry(ConstantBackoff(0), 3)), Source(), max_wait=SHORT)  # type: ignore[arg-type]
    async with client:
        retry = client.connection_pool.make_connection().retry
        fresh = copied(retry)
        assert type(fresh) is Retry
        assert fresh is not copied(retry)
        assert fresh.get_retries() == 3


async def test_a_hung_secret() -> None:
    """A fetch that hangs is cut for the command."""
    source = Source()
    source.hangs = True
    async with use_credentials(Redis(host=HOST, port=1), source, max_wait=SHORT) as client:
        with pytest.raises(RedisTimeoutError, match=f"{LIMIT}the credentials from AWS"):
            await client.ping()


async def test_refusals() -> None:
    """A search is cut; the note has the server's words, and no password."""
    async with silent_server(WRONG) as server:
        client = use_credentials(Redis(host=HOST, port=server.port), Source(), max_wait=0.1)
        async with client:
            with pytest.raises(RedisTimeoutError, match="credentials that the server accepts") as caught:
                await client.ping()
    (note,) = caught.value.__notes__
    assert "AuthenticationError: invalid username-password pair" in note
    assert PASSWORD not in repr(caught.value) + note


BUDGET = 0.05  # what the page calls B


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("max_wait", [None, 0.12])
async def test_the_waits_add_up(blocking: bool, max_wait: float | None) -> None:  # noqa: FBT001 (of the table)
    """Behind a full pool, callers wait as long as the page says; in other pools each waits for one budget."""
    sizes: Any = {"max_connections": 1, "timeout": 20} if blocking else {}
    pool_class = BlockingConnectionPool if blocking else ConnectionPool

    async def waited() -> float:
        began = time.monotonic()
        with pytest.raises((AuthenticationError, WaitTimeoutError)) as caught:
            await client.ping()
        errors.append(caught.type)
        return time.monotonic() - began

    errors: list[type[BaseException]] = []
    async with silent_server(WRONG) as server:
        pool = use_credentials(
            pool_class(host=HOST, port=server.port, **sizes), Source(), budget=BUDGET, max_wait=max_wait
        )
        async with Redis.from_pool(pool) as client:
            waits = sorted(await asyncio.gather(*(waited() for _ in range(4))))
    is_added_up = blocking and max_wait is None
    expected = [BUDGET * (before + 1 if is_added_up else 1) for before in range(4)]
    assert all(wait > least * 0.95 for wait, least in zip(waits, expected, strict=True))
    # The second caller's search begins after the first one's, so the limit ends the waits of the last ones.
    if blocking and max_wait is not None:
        assert WaitTimeoutError in errors


async def test_a_server_that_is_gone(rotating_redis: RotatingSecrets, redis_server: RedisServer) -> None:
    """A command that loses its connection waits for another one no longer than the limit, and the next one doesn't."""
    secret = await rotating_redis.create()
    source = Source(secret.password, secret.username)
    async with freezing_proxy(redis_server.port) as proxy:
        retry: Any = Retry(ConstantBackoff(60), 3)
        client = use_credentials(Redis(host=HOST, port=proxy.port, retry=retry), source, max_wait=0.3)
        async with client:
            await client.ping()
            held = await client.connection_pool.get_connection()
            proxy.go_away()
            with pytest.raises(RedisTimeoutError, match=r"No connection within 0\.3 s"):
                await held.retry.call_with_retry(lambda: _ping(held), lambda _: held.disconnect())
            await client.connection_pool.release(held)
            with pytest.raises(RedisTimeoutError, match=r"No connection within 0\.3 s") as caught:
                await client.ping()
            assert "ConnectionError" in caught.value.__notes__[0]


async def _ping(connection: Any) -> None:  # noqa: ANN401
    await connection.send_command("PING")
    await connection.read_response()


async def test_a_command_may_take_longer(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, redis_admin: Redis
) -> None:
    """The limit is for the connection: a command that has one, or has got another one, may run for longer."""
    secret = await rotating_redis.create()
    source = Source(secret.password, secret.username)
    retry: Any = Retry(ConstantBackoff(0), 1)
    client = use_credentials(Redis(host=HOST, port=redis_server.port, retry=retry), source, max_wait=0.3)
    async with client:
        await client.ping()
        command = asyncio.create_task(client.blpop("nothing", timeout=0.4))
        while not (await redis_admin.info("clients"))["blocked_clients"]:
            """The command hasn't reached the server."""
        await redis_admin.client_kill_filter(_type="normal", skipme=True)
        assert await command is None


@pytest.mark.parametrize("max_wait", [None, 0.2])
async def test_a_full_pool(rotating_redis: RotatingSecrets, redis_server: RedisServer, max_wait: float | None) -> None:
    """Callers behind a full pool are cut, and its connection isn't lost."""
    secret = await rotating_redis.create()
    source = Source(secret.password, secret.username)
    one = BlockingConnectionPool(max_connections=1, host=HOST, port=redis_server.port)
    pool = use_credentials(one, source, max_wait=max_wait)
    async with Redis.from_pool(pool) as client:
        connection = await pool.get_connection()
        waiting = [asyncio.create_task(client.ping()) for _ in range(3)]
        if max_wait:
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(result) for result in results} == {WaitTimeoutError}
            assert "a free connection of the pool: each was in use or being made." in str(results[0])
            waiting = [asyncio.create_task(client.ping())]
            await asyncio.sleep(0)
        await pool.release(connection)
        assert all(await asyncio.gather(*waiting))


# redis-py 7.3 warns of what its own cluster client does.
@pytest.mark.filterwarnings("ignore:Call to '__init__' function with deprecated usage:DeprecationWarning")
async def test_a_cluster() -> None:
    """A cluster's node that is silent is cut."""
    async with silent_server() as server:
        cluster = RedisCluster(host=HOST, port=server.port)
        async with asyncio.timeout(5):
            with pytest.raises(RedisClusterException, match=LIMIT):
                async with use_credentials(cluster, Source(), max_wait=SHORT):
                    """Isn't reached."""


async def test_what_no_limit_can_be() -> None:
    """A limit that isn't a duration is rejected at once."""
    wrong: Any = "5"
    async with Redis() as client:
        with pytest.raises(TypeError, match="max_wait is a str"):
            use_credentials(client, Source(), max_wait=wrong)
        with pytest.raises(ValueError, match="max_wait is 0"):
            use_credentials(client, Source(), max_wait=0)
