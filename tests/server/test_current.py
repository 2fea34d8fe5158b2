"""Always current, over real HTTP: who shares a value, when it is fetched again, and what is served while AWS fails.

Time is a clock that the tests move: a pool's store is replaced by one that has it, before the first manager is made.
"""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import (
    AccessDeniedError,
    AsyncCredentialsManager,
    CachePolicy,
    CredentialsPool,
    InternalServiceError,
    SecretExpiredError,
    SecretFormatError,
    SecretNotFoundError,
)
from aiocredentials._store import PooledStore, SecretStore
from server.stub import VERSION_ID, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocredentials.testing import MotoServer
    from server.stub import Request, StubSecretsManager

CANARY = "hunter2-canary"
NAME = "prod/db"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf"
POLICY = CachePolicy(ttl=100, jitter=0)
ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})
BROKEN = Answer(500, {"__type": "InternalServiceError", "Message": "No."})


class Clock:
    """A clock that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of a pool or manager."""
    return Clock()


def pool_at(url: str, clock: Clock, policy: CachePolicy = POLICY, **settings: Any) -> CredentialsPool:  # noqa: ANN401
    """Make a pool that goes by a clock."""
    pool = CredentialsPool(endpoint_url=url, policy=policy, config=ONE_ATTEMPT, **settings)
    pool._store = PooledStore(pool._session, 10.0, clock=clock)
    return pool


def rotating(stub: StubSecretsManager) -> list[str]:
    """Let the stub answer with the last of these version ids, which is in the value, too."""
    versions = [VERSION_ID]

    def handle(request: Request) -> Answer:
        value = {"VersionId": versions[-1], "SecretString": f'{{"version": "{versions[-1]}"}}'}
        return Answer(body=stub._valid(request) | value)

    stub.handler = handle
    return versions


def asked(stub: StubSecretsManager) -> list[str]:
    """List which secret each call asked for."""
    return [request.body["SecretId"] for request in stub.requests]


async def background(stub: StubSecretsManager, pool: CredentialsPool, count: int) -> None:
    """Wait until so many calls have arrived, and what they brought is kept or refused."""
    await stub.arrival(count)
    while pool._store.cache.flights._loops.get().tasks:
        await asyncio.wait(pool._store.cache.flights._loops.get().tasks)
        await asyncio.sleep(0)


# Who shares


@pytest.mark.exhaustive
async def test_ten_thousand(stub: StubSecretsManager) -> None:
    """Ten thousand callers at once, by name, ARN and region, cost one GetSecretValue where the secret is known."""
    async with CredentialsPool("us-east-1", endpoint_url=stub.url) as pool:
        managers = [pool.manager(NAME), pool.manager(NAME, "us-east-1")]
        secrets = await asyncio.gather(*(managers[number % 2].secret() for number in range(10_000)))
        assert len({id(secret) for secret in secrets}) == 1
        assert len(stub.requests) == 1
        managers += [pool.manager(each) for each in (ARN, ARN[:-7])]
        managers[0].invalidate()
        secrets = await asyncio.gather(*(managers[number % 4].secret() for number in range(10_000)))
        assert len({id(secret) for secret in secrets}) == 1
    assert len(stub.requests) == 2
    assert stub.connections == 1


async def test_names_on_moto(moto: MotoServer, create_secret: Callable[..., Any], clock: Clock) -> None:
    """Name, full and partial ARN are one entry, refreshed as one."""
    arn = create_secret(NAME, CANARY)["ARN"]
    async with pool_at(moto.url, clock) as pool:
        managers = [pool.manager(each) for each in (NAME, arn, arn[:-7])]
        for _ in range(2):
            assert len({id(await manager.secret()) for manager in managers}) == 1
            clock.now += POLICY.ttl  # type: ignore[operator]  # seconds by now
        assert (pool.stats().fetches, pool.stats().entries) == (2, 1)


async def test_the_default_region(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names the region that the environment gives shares with those who leave it out."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        explicit, default = pool.manager(NAME, "eu-west-1"), pool.manager(NAME)
        assert await explicit.secret() is await default.secret()
        assert (await pool.manager(NAME, "eu-west-2").secret()).region == "eu-west-2"
    assert [request.region for request in stub.requests] == ["eu-west-1", "eu-west-2"]


async def test_policies_share(stub: StubSecretsManager, clock: Clock) -> None:
    """Two policies, one entry: a value that one fetched serves the other, for as long as its own policy says."""
    async with pool_at(stub.url, clock) as pool:
        long, short = pool.manager(NAME), pool.manager(NAME, policy=CachePolicy(ttl=10, jitter=0))
        assert await long.secret() is await short.secret()
        clock.now += 50
        assert await short.secret() is await long.secret()
    assert len(stub.requests) == 2


async def test_selectors_do_not(stub: StubSecretsManager) -> None:
    """Another label or a version id is another entry: AWSPREVIOUS after AWSCURRENT isn't served from that."""
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        one, previous = pool.manager(NAME), pool.manager(ARN, version_stage="AWSPREVIOUS")
        for _ in range(2):
            assert (await one.secret()).version_stages == ("AWSCURRENT",)
            assert (await previous.secret()).version_stages == ("AWSPREVIOUS",)
            assert await one.secret(version_stage="AWSPREVIOUS") is await previous.secret()
            assert (await one.secret(version_id=VERSION_ID)).version_id == VERSION_ID
        assert pool.stats().entries == 3
    assert [request.body.get("VersionStage") for request in stub.requests] == ["AWSCURRENT", "AWSPREVIOUS", None]


async def test_created_again(
    moto: MotoServer, create_secret: Callable[..., Any], secrets_client: Callable[..., Any], clock: Clock
) -> None:
    """A name gets the value of the secret that has it now; the deleted one's ARN doesn't, not even from the cache."""
    old = create_secret(NAME, "old")["ARN"]
    async with pool_at(moto.url, clock, CachePolicy(ttl=100, jitter=0, max_stale=0)) as pool:
        by_name, by_arn = pool.manager(NAME), pool.manager(old)
        assert await by_name.secret() is await by_arn.secret()
        secrets_client().delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
        new = create_secret(NAME, "new")["ARN"]
        assert new != old
        clock.now += 100
        named, numbered = await asyncio.gather(by_name.secret(), by_arn.secret(), return_exceptions=True)
        assert not isinstance(named, BaseException)
        assert (named.arn, named.reveal()) == (new, "new")
        assert isinstance(numbered, SecretNotFoundError)
        assert (await by_name.secret()).reveal() == "new"
        with pytest.raises(SecretNotFoundError):
            await by_arn.secret()


# Rotation


async def test_rotation_on_moto(
    moto: MotoServer, create_secret: Callable[..., Any], secrets_client: Callable[..., Any], clock: Clock
) -> None:
    """A new version is there when the ttl is over; until then the old one is served, without a call."""
    create_secret(NAME, '"old"')
    async with pool_at(moto.url, clock, CachePolicy(ttl=100, jitter=0, refresh_ahead=None)) as pool:
        manager = pool.manager(NAME)
        assert await manager.get() == "old"
        secrets_client().put_secret_value(SecretId=NAME, SecretString='"new"')
        clock.now += 99.9
        assert await manager.get() == "old"
        assert pool.stats().fetches == 1
        clock.now += 0.1
        assert await manager.get() == "new"
        assert pool.stats().fetches == 2


async def test_two_hundred_who_fail(stub: StubSecretsManager) -> None:
    """Two hundred callers whose password was refused, and who say which version it was, cost one call."""
    versions = rotating(stub)
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        old = (await pool.manager(NAME).secret()).version_id
        versions.append("2" * 36)

        async def retry(manager: AsyncCredentialsManager[Any]) -> Any:  # noqa: ANN401 - JSON
            manager.invalidate(if_version=old)
            return await manager.get()

        got = await asyncio.gather(*(retry(pool.manager(NAME)) for _ in range(200)))
        assert got == [{"version": "2" * 36}] * 200
        assert await retry(pool.manager(ARN)) == {"version": "2" * 36}
    assert len(stub.requests) == 2


async def test_forced_refresh(stub: StubSecretsManager) -> None:
    """Whoever calls `refresh` gets what was fetched after that: a hundred at once cost two calls at most."""
    gate = asyncio.Event()
    stub.answer(gate=gate)
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        manager = pool.manager(NAME)
        first = asyncio.create_task(manager.refresh())
        await stub.arrival(1)
        others = [asyncio.create_task(manager.refresh()) for _ in range(99)]
        await asyncio.sleep(0)
        gate.set()
        later = set(await asyncio.gather(*others))
        assert len(later) == 1
        assert await first not in later
        assert await manager.secret() in later
    assert len(stub.requests) == 2


# Fresh, ahead, stale, expired


async def test_refresh_ahead(stub: StubSecretsManager, clock: Clock) -> None:
    """A read past four fifths of the ttl is served at once, and begins the call that keeps the value fresh."""
    versions = rotating(stub)
    async with pool_at(stub.url, clock) as pool:
        manager = pool.manager(NAME)
        first = await manager.secret()
        versions.append("2" * 36)
        clock.now += 81
        assert [await manager.secret() for _ in range(10)] == [first] * 10
        await background(stub, pool, 2)
        assert (await manager.secret()).version_id == "2" * 36
        clock.now += 79  # it counts from the refresh
        await manager.secret()
        assert len(stub.requests) == 2
        assert (pool.stats().misses, pool.stats().stale) == (1, 0)


async def test_while_aws_fails(stub: StubSecretsManager, clock: Clock) -> None:
    """A transient error is bridged by the stale value, up to `max_stale`; then it is an error that says why."""
    async with pool_at(stub.url, clock) as pool:
        manager = pool.manager(NAME)
        first = await manager.secret()
        stub.handler = lambda _: BROKEN
        clock.now += 100.5
        assert [await manager.secret() for _ in range(100)] == [first] * 100
        assert len(stub.requests) == 2  # the hundred didn't ask a hundred times
        assert first.is_stale
        assert first.age == 100.5
        clock.now += 3500
        with pytest.raises(SecretExpiredError) as info:
            await manager.secret()
        assert isinstance(info.value.reason, InternalServiceError)
        assert (info.value.secret_name, info.value.code) == (NAME, "InternalServiceError")
        stub.handler = lambda _: Answer()
        clock.now += 70
        assert await manager.secret() is not first


async def test_while_aws_hangs(stub: StubSecretsManager, clock: Clock) -> None:
    """A refresh that hangs costs one reader its patience; those after it are served at once."""
    async with pool_at(stub.url, clock, CachePolicy(ttl=100, jitter=0, patience=0.01)) as pool:
        manager = pool.manager(NAME)
        first = await manager.secret()
        gate = asyncio.Event()
        stub.handler = lambda _: Answer(gate=gate)
        clock.now += 100
        assert await manager.secret() is first
        assert [await manager.secret() for _ in range(100)] == [first] * 100
        gate.set()
        await background(stub, pool, 2)
        assert await manager.secret() is not first
    assert len(stub.requests) == 2


async def test_a_permanent_answer(stub: StubSecretsManager, clock: Clock) -> None:
    """A permanent error isn't bridged: it is raised, remembered for a moment, and the value is gone."""
    async with pool_at(stub.url, clock) as pool:
        manager = pool.manager(NAME)
        await manager.secret()
        denied = {"__type": "AccessDeniedException", "Message": "No."}
        stub.handler = lambda _: Answer(400, denied)
        clock.now += 100
        errors = await asyncio.gather(*(manager.secret() for _ in range(50)), return_exceptions=True)
        assert all(isinstance(error, AccessDeniedError) for error in errors)
        assert len({id(error) for error in errors}) == 50
        assert len(stub.requests) == 2
        stub.handler = lambda _: Answer()
        with pytest.raises(AccessDeniedError):
            await manager.secret()
        assert (await manager.refresh()).name == NAME  # a forced refresh goes past it
        await manager.secret()
    assert len(stub.requests) == 3


# A session per call


async def test_without_a_pool(stub: StubSecretsManager, clock: Clock) -> None:
    """Without a pool there is a cache, and nothing in the background: no call is ahead, and no task is ever left."""
    manager = AsyncCredentialsManager[Any](NAME, endpoint_url=stub.url, policy=POLICY, config=ONE_ATTEMPT)
    manager._store = SecretStore(manager._store.gateway._source, 10.0, pooled=False, clock=clock)
    mine = asyncio.all_tasks() - stub._tasks

    def left() -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks() - stub._tasks - mine

    secrets = await asyncio.gather(*(manager.secret() for _ in range(50)))
    assert (len(set(secrets)), left()) == (1, set())
    clock.now += 99
    assert await manager.secret() is secrets[0]
    assert (len(stub.requests), left()) == (1, set())
    stub.answer(gate=(gate := asyncio.Event()))
    clock.now += 1
    refreshing = asyncio.create_task(manager.secret())
    await stub.arrival(2)
    clock.now += 60  # the patience of a pool's reader would be over
    gate.set()
    second = await refreshing
    assert second is not secrets[0]
    assert (second.age, left()) == (60, set())
    stub.handler = lambda _: BROKEN
    clock.now += 100
    assert await manager.secret() is second
    assert left() == set()


async def test_cancelled_without_a_pool(stub: StubSecretsManager) -> None:
    """When the last caller is cancelled its call ends, and the next one begins its own."""
    stub.hang()
    manager = AsyncCredentialsManager[Any](NAME, endpoint_url=stub.url)
    call = asyncio.create_task(manager.secret())
    await stub.arrival(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await manager.secret()
    assert len(stub.requests) == 2


# Decoding


async def test_decode_once(stub: StubSecretsManager, clock: Clock) -> None:
    """A refresh that finds the same version costs no decoding: readers keep the object that they have."""
    versions, texts = rotating(stub), []

    def decode(text: str) -> list[str]:
        texts.append(text)
        return [text]

    async with pool_at(stub.url, clock) as pool:
        manager = pool.manager(NAME, decode=decode)
        first = await manager.get()
        for _ in range(3):
            clock.now += 100
            assert await manager.get() is await manager.get() is first
        assert len(stub.requests) == 4
        versions.append("2" * 36)
        clock.now += 100
        assert await manager.get() is not first
    assert len(texts) == 2


async def test_decode_fails(stub: StubSecretsManager) -> None:
    """Nothing of a text that `decode` refuses is in the error, its chain or its frames, on the first read and later."""
    stub.secrets[NAME] = CANARY
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        manager = pool.manager(NAME, decode=int)
        for _ in range(3):
            with pytest.raises(SecretFormatError, match="refused the secret: ValueError") as info:
                await manager.get()
            shown = traceback.TracebackException.from_exception(info.value, capture_locals=True)
            assert CANARY not in "".join(shown.format()) + repr(info.value) + str(vars(info.value))
            assert (info.value.__cause__, info.value.__context__) == (None, None)
    assert len(stub.requests) == 1


# What changes() gives


async def test_changes_on_moto(
    moto: MotoServer, create_secret: Callable[..., Any], secrets_client: Callable[..., Any]
) -> None:
    """The iterator gives each version that came in since it was asked, and ends with the pool."""
    create_secret(NAME, "first")
    async with CredentialsPool(endpoint_url=moto.url) as pool:
        manager = pool.manager(NAME)
        await manager.secret()
        changes = manager.changes()
        item = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        for value in ("second", "third"):
            secrets_client().put_secret_value(SecretId=NAME, SecretString=value)
            await manager.refresh()
        assert [(await item).reveal(), (await anext(changes)).reveal()] == ["second", "third"]
        await changes.aclose()


async def test_a_block_of_its_own(stub: StubSecretsManager) -> None:
    """In a block of its own a manager has a pool's cache; before and after it, one of its own: nothing is mixed."""
    manager = AsyncCredentialsManager[Any](NAME, endpoint_url=stub.url, decode=str)
    outside = await manager.secret()
    async with manager:
        inside = await manager.secret()
        assert await manager.get() == await manager.get()
        assert await manager.secret() is inside
    assert inside is not outside
    assert await manager.secret() is not inside
    assert len(stub.requests) == 3
