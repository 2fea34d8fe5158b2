"""The pool: one session, one client a region, one cache; what it promises when it is closed, forgotten or misused."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import AsyncCredentialsManager, CachePolicy, CredentialsPool, PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.stub import StubSecretsManager


async def hanging(stub: StubSecretsManager, manager: AsyncCredentialsManager[Any]) -> asyncio.Task[Any]:
    """Begin a call that never gets an answer."""
    stub.hang()
    count = len(stub.requests)
    call = asyncio.create_task(manager.secret())
    await stub.arrival(count + 1)
    return call


async def test_one_of_everything(stub: StubSecretsManager) -> None:
    """Managers of one pool share its connection and its cache: fifty readers of one secret cost one call."""
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        managers = [pool.manager("prod/db") for _ in range(50)]
        secrets = await asyncio.gather(*(manager.secret() for manager in managers))
        await pool.manager("prod/redis").secret()
    assert len({id(secret) for secret in secrets}) == 1
    assert [request.body["SecretId"] for request in stub.requests] == ["prod/db", "prod/redis"]
    assert stub.connections == 1


async def test_regions(stub: StubSecretsManager) -> None:
    """A manager's region is its own, else the pool's, each with a client and a place in the cache."""
    async with CredentialsPool("eu-west-1", endpoint_url=stub.url) as pool:
        for _ in range(2):
            assert (await pool.manager("prod/db").secret()).region == "eu-west-1"
            assert (await pool.manager("prod/db", "eu-west-2").secret()).region == "eu-west-2"
        assert repr(pool) == "<CredentialsPool open eu-west-1 eu-west-2>"
    assert [request.region for request in stub.requests] == ["eu-west-1", "eu-west-2"]


async def test_policies(stub: StubSecretsManager) -> None:
    """A manager without a policy has the pool's; one of its own, None too, goes before that."""
    async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
        cached, uncached = pool.manager("prod/db", policy=CachePolicy(ttl=60)), pool.manager("prod/db")
        for _ in range(2):
            await cached.secret()
            await uncached.secret()
    assert len(stub.requests) == 3


async def test_decode(stub: StubSecretsManager) -> None:
    """Managers of one secret decode apart and fetch together."""
    stub.secrets["prod/number"] = "7"
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        assert await pool.manager("prod/number", decode=int).get() == 7
        assert await pool.manager("prod/number", decode=float).get() == 7.0
        assert await pool.manager("prod/number").get() == 7
    assert len(stub.requests) == 1


async def test_opening_needs_no_network() -> None:
    """Opening makes no client and no call; it may be repeated, and so may closing."""
    pool = CredentialsPool(endpoint_url="http://127.0.0.1:1")
    assert repr(pool) == "<CredentialsPool new>"
    await pool.open()
    await pool.open()
    assert repr(pool) == "<CredentialsPool open>"
    await pool.aclose()
    await pool.aclose()
    assert repr(pool) == "<CredentialsPool closed>"


@pytest.mark.parametrize("policy", [CachePolicy(), None], ids=["cached", "uncached"])
async def test_not_open_yet(policy: CachePolicy | None) -> None:
    """A pool that nobody opened says how to open it."""
    manager = CredentialsPool(policy=policy).manager("prod/db")
    with pytest.raises(PoolClosedError, match="isn't open yet: use `async with pool:` first") as info:
        await manager.secret()
    assert info.value.secret_name == "prod/db"


@pytest.mark.parametrize("policy", [CachePolicy(), None], ids=["cached", "uncached"])
async def test_used_after_close(stub: StubSecretsManager, policy: CachePolicy | None) -> None:
    """After closing each call is refused, with a sentence, and nothing is served from memory or sent."""
    async with CredentialsPool(endpoint_url=stub.url, policy=policy) as pool:
        manager = pool.manager("prod/db")
        await manager.secret()
    for call in (manager.secret, manager.get, manager.retrieve_secret_string, manager.refresh):
        with pytest.raises(PoolClosedError, match=r"The pool is closed: .*new one"):
            await call()
    manager.invalidate()
    with pytest.raises(PoolClosedError, match="closing is final: make a new one"):
        await pool.open()
    with pytest.raises(PoolClosedError):
        await pool.manager("prod/db").get()
    assert len(stub.requests) == 1


async def test_entered_twice() -> None:
    """A second `async with` of one pool is refused, and leaves the first as it is."""
    async with CredentialsPool() as pool:
        with pytest.raises(RuntimeError, match="entered already: enter it only once, and share it in that block"):
            await pool.__aenter__()
        assert repr(pool) == "<CredentialsPool open>"
    with pytest.raises(PoolClosedError, match="closing is final"):
        await pool.__aenter__()


async def test_managers_of_a_pool_are_not_entered() -> None:
    """A manager that came from a pool has nothing to open."""
    async with CredentialsPool() as pool:
        with pytest.raises(RuntimeError, match="don't enter it if it came from a CredentialsPool"):
            await pool.manager("prod/db").__aenter__()


@pytest.mark.parametrize(
    "settings",
    [
        {"endpoint_url": "https://vpce-1.example"},
        {"config": AioConfig()},
        {"timeout": 3},
        {"timeout": timedelta(seconds=3)},
    ],
    ids=["endpoint_url", "config", "timeout", "timedelta"],
)
def test_settings_twice(settings: dict[str, Any]) -> None:
    """What a pool has already can't be given to its manager."""
    with pytest.raises(
        ValueError, match="the pool's session, endpoint_url, config, timeout and redact_wire_logs are used"
    ):
        AsyncCredentialsManager("prod/db", pool=CredentialsPool(), **settings)


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"region_name": 1}, TypeError, "region_name is a int, not a string"),
        ({"timeout": -1}, ValueError, "timeout is -1: give more than 0 seconds"),
        ({"timeout": None}, TypeError, "timeout is a NoneType"),
        ({"endpoint_url": "vpce-1.example"}, ValueError, "isn't a URL"),
        ({"policy": 60}, TypeError, "policy is a int: give a CachePolicy, or None for no cache"),
        ({"max_secrets": 0}, ValueError, "max_secrets is 0: give a whole number from 1"),
        ({"max_secrets": True}, ValueError, "max_secrets is True"),
        ({"max_secrets": 1.5}, ValueError, "max_secrets is 1.5"),
        ({"prefetch": "prod/db"}, TypeError, r"prefetch is a string: give a list of names, such as \['prod/db'\]"),
        ({"prefetch": ["prod/db", ""]}, ValueError, "A name to prefetch is empty: give the secret's name or ARN"),
        ({"prefetch": [7]}, TypeError, "A name to prefetch is a int, not a string"),
        (
            {"prefetch": ["prod/db"], "policy": None},
            ValueError,
            "Prefetching needs a cache, .*: give the pool a policy",
        ),
        ({"listener": "print"}, TypeError, "listener isn't a plain function: give one that accepts an event"),
        ({"listener": hanging}, TypeError, "listener isn't a plain function: .* isn't async"),
    ],
    ids=range(14),
)
def test_misuse(settings: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    """An argument that can't work is refused by the constructor, and what is left of the object is silent."""
    with pytest.raises(kind, match=sentence):
        CredentialsPool(**settings)
    gc.collect()


def test_managers_refuse_the_same_as_alone() -> None:
    """The arguments of `pool.manager` are looked at, at once."""
    pool = CredentialsPool()
    with pytest.raises(ValueError, match="secret_name is empty"):
        pool.manager("")
    with pytest.raises(TypeError, match="decode isn't a plain function"):
        pool.manager("prod/db", decode=7)  # type: ignore[call-overload]


@pytest.mark.parametrize("policy", [CachePolicy(), None], ids=["cached", "uncached"])
async def test_closed_during_a_call(stub: StubSecretsManager, policy: CachePolicy | None) -> None:
    """Closing ends calls in flight at once, tells them why, and leaves neither task nor socket."""
    async with CredentialsPool(endpoint_url=stub.url, policy=policy) as pool:
        await pool.manager("prod/redis").secret()
        calls = [await hanging(stub, pool.manager("prod/db")), await hanging(stub, pool.manager("prod/api"))]
    for call in calls:
        with pytest.raises(PoolClosedError, match="closed during the call"):
            await call
    # A client that was revived by a retry would have sent more, and pytest would see its sockets.
    assert len(stub.requests) == 3


async def test_closed_during_an_invalidated_call(stub: StubSecretsManager) -> None:
    """Also a fetch that the cache has let go of ends with the pool."""
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        manager = pool.manager("prod/db")
        call = await hanging(stub, manager)
        manager.invalidate()
    with pytest.raises(PoolClosedError, match="closed during the call"):
        await call
    assert len(stub.requests) == 1


@pytest.mark.parametrize("policy", [CachePolicy(), None], ids=["cached", "uncached"])
async def test_cancelled_calls(stub: StubSecretsManager, policy: CachePolicy | None) -> None:
    """A call that is cancelled is cancelled, and the pool goes on working."""
    async with CredentialsPool(endpoint_url=stub.url, policy=policy) as pool:
        manager = pool.manager("prod/db")
        call = await hanging(stub, manager)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await manager.get() == {"mock_secret_key": "mock_secret_value"}


async def test_a_forgotten_pool(stub: StubSecretsManager) -> None:
    """A pool that is dropped with its clients open warns, and names itself."""
    pools = [CredentialsPool(endpoint_url=stub.url)]
    await pools[0].open()
    await pools[0].manager("prod/db").secret()
    held = pools[0]._session._loops.get().of(None).current  # the test closes what the user forgot
    with pytest.warns(ResourceWarning, match=r"<CredentialsPool open us-east-1> was never closed: use `async with`"):
        pools.clear()
    await held.aclose()


async def test_a_forgotten_block(stub: StubSecretsManager) -> None:
    """A manager that is dropped inside of its block, with its clients open, warns as a pool does."""
    managers = [AsyncCredentialsManager[Any]("prod/db", endpoint_url=stub.url)]
    await managers[0].__aenter__()
    await managers[0].secret()
    store = managers[0]._own_store
    assert store is not None
    held = store.session._loops.get().of(None).current  # the test closes what the user forgot
    with pytest.warns(
        ResourceWarning, match=r"Manager 'prod/db', pooled> was entered and never left: use `async with`"
    ):
        managers.clear()
    await held.aclose()


async def test_a_pool_without_clients_may_be_dropped() -> None:
    """A pool that never made a client holds nothing, so dropping it is silent."""
    pool = CredentialsPool()
    await pool.open()
    del pool
    gc.collect()


async def test_a_pool_on_moto(
    moto_environment: object, create_secret: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service's whole use: one pool from the environment, more secrets, a region each."""
    assert moto_environment
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    create_secret("prod/database", '{"user": "a"}', "eu-west-1")
    redis = create_secret("prod/redis", '{"user": "b"}', "eu-west-2")
    async with CredentialsPool(timeout=timedelta(seconds=20)) as pool:
        database, cache = pool.manager("prod/database"), pool.manager(redis["ARN"])
        assert (await database.get(), await cache.get()) == ({"user": "a"}, {"user": "b"})
