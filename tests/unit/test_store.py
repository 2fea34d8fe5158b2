"""Between manager and cache: keys, regions, invalidation, decoding, `changes()`; a fake AWS, and no socket."""

from __future__ import annotations

import asyncio
import json
import traceback
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import (
    AsyncCredentialsManager,
    AuthenticationError,
    CachePolicy,
    CacheStats,
    CredentialsError,
    CredentialsPool,
    InvalidRegionError,
    PoolClosedError,
    SecretFormatError,
    SecretNotFoundError,
    ThrottledError,
)
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._store import SecretStore
from unit.fake_aws import CANARY, POLICY, TTL, FakeAWS, pool_of
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aiocredentials import Secret

NAME = "prod/db"
SEEDS = range(10)


class Clock:
    """A clock that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def per_call(aws: FakeAWS, clock: Callable[[], float], **settings: Any) -> AsyncCredentialsManager[Any]:  # noqa: ANN401
    """Make a manager without a pool that asks a fake."""
    manager = AsyncCredentialsManager[Any](NAME, **{"policy": POLICY} | settings)
    manager._store = SecretStore(aws, 10.0, pooled=False, clock=clock)
    return manager


# Who shares what


async def test_the_names_of_one_secret() -> None:
    """Name, ARN and partial ARN share an entry as soon as one of them was asked, whichever that was."""
    for first in range(3):
        aws = FakeAWS(NAME)
        arn = aws.secrets[NAME].arn
        ids = [NAME, arn, arn[:-7]]
        async with pool_of(aws) as pool:
            asked = await pool.manager(ids[first]).secret()
            assert [await pool.manager(each).secret() for each in ids] == [asked] * 3
            assert pool.stats().entries == 1
            pool.manager(ids[first - 1]).invalidate()
            await asyncio.gather(*(pool.manager(each).secret() for each in ids))
        assert len(aws.calls) == 2


async def test_names_that_meet_later() -> None:
    """A name and an ARN that were both under way before either was known share the one entry from then on."""
    aws = FakeAWS(NAME)
    arn = aws.secrets[NAME].arn
    async with pool_of(aws) as pool:
        await asyncio.gather(pool.manager(NAME).secret(), pool.manager(arn).secret())
        assert await pool.manager(NAME).secret() is await pool.manager(arn).secret()
        assert pool.stats().entries == 1
    assert aws.calls == [NAME, arn]


async def test_the_default_region() -> None:
    """Who names the default region and who leaves it out share; it is found once, however many ask."""
    aws = FakeAWS(NAME)
    async with pool_of(aws) as pool:
        managers = [pool.manager(NAME, region) for region in (None, "eu-west-1") for _ in range(50)]
        assert len({id(secret) for secret in await asyncio.gather(*(one.secret() for one in managers))}) == 1
        assert (await pool.manager(NAME, "eu-west-2").secret()).region == "eu-west-2"
    assert len(aws.calls) == 2


async def test_no_region() -> None:
    """A default region that can't be found is the caller's error, with the secret's name; finding it is tried again."""
    aws = FakeAWS(NAME)
    aws.failures["region"] = "UnrecognizedClientException"
    async with pool_of(aws) as pool:
        with pytest.raises(CredentialsError) as info:
            await pool.manager(NAME).get()
        assert info.value.secret_name == NAME
        aws.failures.clear()
        assert (await pool.manager(NAME).get())["number"] == 1


async def test_policies_share() -> None:
    """Managers with policies of their own share the entry, and each goes by its own ttl."""
    aws, clock = FakeAWS(NAME), Clock()
    async with pool_of(aws, clock=clock) as pool:
        long, short = pool.manager(NAME), pool.manager(NAME, policy=CachePolicy(ttl=10, jitter=0, max_stale=0))
        first = await long.secret()
        assert await short.secret() is first
        clock.now += 11
        assert first.age == 11
        assert not first.is_stale  # it was fetched under the long ttl
        assert await long.secret() is first
        second = await short.secret()
        assert second is not first
        assert await long.secret() is second
        clock.now += 11
        assert second.is_stale
    assert len(aws.calls) == 2


async def test_a_secret_that_was_created_again() -> None:
    """A name means the secret that has it now; the ARN of the one that was deleted isn't answered with its value."""
    aws, clock = FakeAWS(NAME), Clock()
    old = aws.secrets[NAME].arn
    async with pool_of(aws, clock=clock) as pool:
        by_name, by_arn = pool.manager(NAME), pool.manager(old)
        assert (await by_name.secret()) is (await by_arn.secret())
        new = aws.create(NAME).arn
        clock.now += 2 * TTL
        # At once: the reader of the old ARN joins the fetch by name, and learns that it isn't for him.
        named, numbered = await asyncio.gather(by_name.secret(), by_arn.secret(), return_exceptions=True)
        assert not isinstance(named, BaseException)
        assert named.arn == new
        assert isinstance(numbered, SecretNotFoundError)
        assert (await by_name.secret()).arn == new
        with pytest.raises(SecretNotFoundError):
            await by_arn.secret()


# Invalidation


async def test_two_hundred_who_fail() -> None:
    """Any number of callers whose password was refused cost one fetch, and one who comes late costs none."""
    aws = FakeAWS(NAME)
    async with pool_of(aws) as pool:
        managers = [pool.manager(NAME) for _ in range(200)]
        old = await managers[0].secret()
        new = aws.rotate(NAME)

        async def fail(manager: AsyncCredentialsManager[Any]) -> str:
            manager.invalidate(if_version=old.version_id)  # most have never read: they know of the entry all the same
            return (await manager.secret()).version_id

        assert set(await asyncio.gather(*map(fail, managers))) == {new}
        assert await fail(managers[0]) == new
    assert len(aws.calls) == 2


async def test_a_version_with_several_labels() -> None:
    """A version that was refused is forgotten by each label that it was asked by; other versions and secrets stay."""
    aws = FakeAWS(NAME, "prod/other")
    async with pool_of(aws) as pool:
        manager = pool.manager(NAME)
        for stage in ("AWSPENDING", "AWSPREVIOUS"):
            await manager.secret(version_stage=stage)
        await pool.manager("prod/other").secret()
        await pool.manager(NAME, "eu-west-2").secret()
        aws.rotate(NAME)
        current = await manager.secret()
        assert len(aws.calls) == 5
        manager.invalidate(if_version="version-1")
        assert await manager.secret() is current
        await pool.manager("prod/other").secret()
        await pool.manager(NAME, "eu-west-2").secret()
        assert len(aws.calls) == 5
        for stage in ("AWSPENDING", "AWSPREVIOUS"):
            assert (await manager.secret(version_stage=stage)).version_id == "version-2"
        assert len(aws.calls) == 7


async def test_invalidating_what_is_not_there() -> None:
    """Nothing happens where nothing is cached, the region isn't known yet, or the manager has no cache."""
    aws = FakeAWS(NAME)
    async with pool_of(aws) as pool:
        pool.manager(NAME).invalidate()
        pool.manager(NAME, "eu-west-1").invalidate(if_version="version-1")
        await pool.manager(NAME).secret()
        pool.manager(NAME, policy=None).invalidate()
        pool.manager(NAME, "eu-west-2").invalidate()
        await pool.manager(NAME).secret()
        assert len(aws.calls) == 1
        pool.manager(aws.secrets[NAME].arn).invalidate()
        await pool.manager(NAME).secret()
    assert len(aws.calls) == 2


async def test_invalidating_each_label() -> None:
    """`invalidate()` holds for each staging label and version id: a rotation moves labels, and this may be why."""
    aws = FakeAWS(NAME, "prod/other")
    async with pool_of(aws) as pool:
        manager, by_arn = pool.manager(NAME), pool.manager(aws.secrets[NAME].arn, version_stage="AWSPENDING")

        async def read() -> list[str]:
            secrets = [
                await manager.secret(),
                await manager.secret(version_stage="AWSPREVIOUS"),
                await manager.secret(version_id=aws.secrets[NAME].version_id, version_stage="AWSCURRENT"),
                await by_arn.secret(),
            ]
            return [secret.version_id for secret in secrets]

        await pool.manager("prod/other").secret()
        for invalidate in (manager.invalidate, by_arn.invalidate):
            await read()
            version = aws.rotate(NAME)
            invalidate()
            assert await read() == [version] * 4
        calls = len(aws.calls)
        await pool.manager("prod/other").secret()
        assert len(aws.calls) == calls


# Decoding


async def test_decoding_a_version() -> None:
    """`decoded` gives what `get` would for that version, with the version known; and spoils nothing for `get`."""
    aws = FakeAWS(NAME)
    async with pool_of(aws) as pool:
        manager, plain = pool.manager(NAME, decode=lambda text: [text]), pool.manager(NAME)
        one = await manager.get()
        first = await manager.secret()
        aws.rotate(NAME)
        second = await manager.secret(version_stage="AWSPENDING")
        assert [json.loads(text)["number"] for (text,) in map(manager.decoded, (first, second))] == [1, 2]
        assert [plain.decoded(secret)["number"] for secret in (first, second)] == [1, 2]
        assert await manager.get() is one
        refusing = pool.manager(NAME, decode=int)
        with pytest.raises(SecretFormatError):
            refusing.decoded(first)


async def test_decoding() -> None:
    """`decode` runs once a version: a refresh that finds the same one gives the object that was there."""
    aws, texts = FakeAWS(NAME), []

    def decode(text: str) -> object:
        texts.append(text)
        return object()

    async with pool_of(aws) as pool:
        manager = pool.manager(NAME, decode=decode)
        first = await manager.get()
        for _ in range(3):
            await manager.refresh()
            manager.invalidate()
            assert await manager.get() is await manager.get() is first
        aws.rotate(NAME)
        await manager.refresh()
        assert await manager.get() is not first
        assert await pool.manager(NAME, decode=decode).get() is not await manager.get()
    assert len(texts) == 3


@pytest.mark.parametrize(
    "decode",
    [int, lambda text: {}[text], lambda text: Path(text).read_text(encoding="utf-8")],
    ids=["int", "key", "path"],
)
async def test_decoding_fails(decode: Callable[[str], object]) -> None:
    """Whatever `decode` raises, nothing of the text is in the error, in what it is chained to, or in a frame."""
    async with pool_of(FakeAWS(NAME)) as pool:
        manager = pool.manager(NAME, decode=decode)
        await manager.secret()
        for _ in range(2):
            with pytest.raises(SecretFormatError) as info:
                await manager.get()
            error: BaseException | None = info.value
            assert error is not None
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            assert CANARY not in "".join(shown.format()) + repr(error) + str(vars(error))
            assert (error.__cause__, error.__context__) == (None, None)


async def test_values_without_decode() -> None:
    """Without `decode` each call gives an object of its own, which nobody else can spoil."""
    async with pool_of(FakeAWS(NAME)) as pool:
        manager = pool.manager(NAME)
        (await manager.get()).clear()
        (await manager.retrieve_secret_string()).clear()
        assert (await manager.get())["number"] == (await manager.retrieve_secret_string())["number"] == 1


# Numbers


async def test_stats() -> None:
    """The numbers count what happened: hits, misses, stale reads, fetches, failures, entries."""
    aws, clock = FakeAWS(NAME, "prod/redis"), Clock()
    async with pool_of(aws, clock=clock) as pool:
        assert pool.stats() == CacheStats(hits=0, misses=0, stale=0, fetches=0, failures=0, entries=0)
        manager = pool.manager(NAME)
        for _ in range(10):
            await manager.get()
        await pool.prefetch("prod/redis")
        assert pool.stats() == CacheStats(hits=9, misses=1, stale=0, fetches=2, failures=0, entries=2)
        aws.failures[NAME] = "InternalServiceError"
        clock.now += TTL
        for _ in range(5):
            await manager.get()
        assert pool.stats() == CacheStats(hits=9, misses=1, stale=5, fetches=3, failures=1, entries=2)
        manager.invalidate()
        with pytest.raises(CredentialsError):
            await manager.get()
        assert (pool.stats().hits, pool.stats().failures) == (9, 2)
    assert pool.stats().entries == 0


# A block of the manager's own


@pytest.mark.filterwarnings("error")
async def test_a_call_that_outlives_its_block() -> None:
    """A call that began in the block and ends after it leaves the manager as the block's end made it."""
    aws, clock = FakeAWS(NAME), Clock()
    manager = per_call(aws, clock)
    gone = SecretStore(aws, 10.0, pooled=True, clock=clock)
    kept, manager._store = manager._store, gone

    async def located(request: Any) -> Any:  # noqa: ANN401 - a request
        manager._store = kept  # what leaving the block does
        return request

    gone.located = located  # type: ignore[method-assign]
    await manager.secret()
    assert await manager.secret() is await manager.secret()
    assert (kept.stats().entries, gone.stats().entries) == (1, 1)


# What changes() gives


async def next_of(changes: AsyncGenerator[Secret]) -> str:
    """Wait for the next version."""
    return (await anext(changes)).version_id


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("policy", [POLICY, CachePolicy(ttl=TTL, refresh_ahead=None)], ids=["ahead", "not ahead"])
def test_changes(seed: int, policy: CachePolicy) -> None:
    """Each rotation gives one item, within a ttl, and nobody else needs to read; the first version isn't a change."""

    async def main() -> None:
        aws, loop = FakeAWS(NAME), asyncio.get_running_loop()
        aws.latency = 0.1
        async with pool_of(aws, policy=policy) as pool, aclosing(pool.manager(NAME).changes()) as changes:
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(5 * TTL)  # the same version comes in, again and again: no item
            assert not item.done()
            for _ in range(3):
                begin, version = loop.time(), aws.rotate(NAME)
                assert await item == version
                assert loop.time() - begin <= TTL + 1
                item = asyncio.create_task(next_of(changes))
                await asyncio.sleep(0.9 * TTL)
            item.cancel()
            await asyncio.wait([item])

    run(main(), seed=seed, leave_nothing=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_consumer(seed: int) -> None:
    """A consumer that takes its time misses no version that was fetched, and no reader waits for it."""

    async def main() -> None:
        aws, loop = FakeAWS(NAME), asyncio.get_running_loop()
        async with pool_of(aws) as pool, aclosing(pool.manager(NAME).changes()) as changes:
            manager = pool.manager(NAME)
            await manager.get()
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(1)
            versions = []
            for _ in range(5):
                versions.append(aws.rotate(NAME))
                await manager.refresh()
                await manager.refresh()
            assert loop.time() == 1
            assert [await item, *[await next_of(changes) for _ in range(4)]] == versions

    run(main(), seed=seed, leave_nothing=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_consumers(seed: int) -> None:
    """Each consumer gets each version, by name or ARN, and both together cost no more fetches than one."""

    async def main() -> None:
        aws = FakeAWS(NAME)
        async with (
            pool_of(aws) as pool,
            aclosing(pool.manager(NAME).changes()) as one,
            aclosing(pool.manager(aws.secrets[NAME].arn).changes()) as other,
        ):
            await pool.manager(NAME).get()
            items = [asyncio.create_task(next_of(changes)) for changes in (one, other)]
            await asyncio.sleep(1)
            version = aws.rotate(NAME)
            assert await asyncio.gather(*items) == [version, version]
            assert len(aws.calls) == 2

    run(main(), seed=seed, leave_nothing=True)


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_changes_while_aws_fails(seed: int, warm: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A transient error is for the listener; the iterator goes on, and finds what changed when AWS is back."""
    errors: list[Any] = []

    async def main() -> None:
        aws = FakeAWS(NAME)
        async with pool_of(aws, listener=errors.append) as pool, aclosing(pool.manager(NAME).changes()) as changes:
            if warm:
                await pool.manager(NAME).get()
            aws.failures[NAME] = "ThrottlingException"
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(2 * 3600 if warm else 300)  # past max_stale as well
            assert not item.done()
            assert len(aws.calls) < 4000
            aws.failures.clear()
            await asyncio.sleep(70)
            version = aws.rotate(NAME)
            assert await item == version

    run(main(), seed=seed, leave_nothing=True)
    assert ThrottledError in [type(event.error).__mro__[1] for event in errors if hasattr(event, "error")]


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_of_what_is_gone(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Promise 17: a permanent error doesn't end it: it is logged once per kind, and the next version isn't missed."""

    async def main() -> None:
        aws = FakeAWS(NAME)
        async with pool_of(aws) as pool, aclosing(pool.manager(NAME).changes()) as changes:
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(1)
            gone = aws.secrets.pop(NAME)
            await asyncio.sleep(3600)
            assert not item.done()
            aws.secrets[NAME] = gone
            version = aws.rotate(NAME)
            assert await item == version
            assert len(aws.calls) < 100
            assert (await pool.manager(NAME).secret()).version_id == version

    with caplog.at_level("INFO", logger="aiocredentials"):
        run(main(), seed=seed, leave_nothing=True)
    assert [(record.levelname, record.getMessage()[:58]) for record in caplog.records] == [
        ("WARNING", "Secret 'prod/db' in 'eu-west-1': a refresh failed (SecretN"),
        ("INFO", "Secret 'prod/db' in 'eu-west-1': refreshed again"),
    ]


@pytest.mark.parametrize("latency", [0, 5], ids=["waiting", "fetching"])
@pytest.mark.parametrize("seed", SEEDS)
def test_changes_until_the_pool_closes(seed: int, latency: float) -> None:
    """Closing the pool ends the iterator at once, whether it waits for time or for AWS."""

    async def main() -> None:
        aws, loop = FakeAWS(NAME), asyncio.get_running_loop()
        aws.latency = latency
        async with pool_of(aws) as pool:
            item = asyncio.create_task(next_of(pool.manager(NAME).changes()))
            await asyncio.sleep(1)
        with pytest.raises(PoolClosedError):
            await item
        assert loop.time() == 1
        with pytest.raises(PoolClosedError):
            await anext(pool.manager(NAME).changes())
        assert pool._store.cache._watchers == {}

    run(main(), seed=seed, leave_nothing=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_that_nobody_wants(seed: int) -> None:
    """An iterator that is closed, or whose consumer is cancelled, leaves nothing behind."""

    async def main() -> None:
        aws = FakeAWS(NAME)
        async with pool_of(aws) as pool:
            changes = pool.manager(NAME).changes()
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(1)
            aws.rotate(NAME)
            await item
            assert pool._store.cache._watchers
            await changes.aclose()
            assert pool._store.cache._watchers == {}
            waiting = asyncio.create_task(next_of(pool.manager(NAME).changes()))
            await asyncio.sleep(1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert pool._store.cache._watchers == {}

    run(main(), seed=seed, leave_nothing=True)


def test_changes_without_a_pool() -> None:
    """A manager without a pool can be watched too: each look is a fetch of its own, and no task is left."""

    async def main() -> None:
        aws, loop = FakeAWS(NAME), asyncio.get_running_loop()
        aws.latency = 0.1
        async with aclosing(per_call(aws, loop.time).changes()) as changes:
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(TTL / 2)
            version = aws.rotate(NAME)
            assert await item == version
            assert TTL <= loop.time() <= TTL + 1

    run(main(), seed=0, leave_nothing=True)


async def test_changes_without_a_cache() -> None:
    """Without a cache there is nothing to compare with, and it says so."""
    with pytest.raises(RuntimeError, match="give the manager a policy"):
        await anext(AsyncCredentialsManager[Any](NAME, policy=None).changes())


async def test_changes_that_another_loop_finds() -> None:
    """What another loop fetches wakes a consumer in this one."""
    asyncio.get_running_loop().set_debug(
        True
    )  # so that it refuses calls from other threads, but for the one that it allows
    aws = FakeAWS(NAME)
    async with pool_of(aws, policy=CachePolicy()) as pool, aclosing(pool.manager(NAME).changes()) as changes:
        await pool.manager(NAME).get()
        item = asyncio.create_task(next_of(changes))
        await asyncio.sleep(0)
        version = aws.rotate(NAME)
        await asyncio.to_thread(lambda: asyncio.run(pool.manager(NAME).refresh()))
        assert await item == version


async def test_changes_in_a_loop_that_died() -> None:
    """An iterator that its loop left behind, unclosed, doesn't hurt the fetches of other loops."""
    aws = FakeAWS(NAME)
    async with pool_of(aws, policy=CachePolicy()) as pool:
        changes = pool.manager(NAME).changes()

        def leave() -> None:
            loop = asyncio.new_event_loop()
            loop.run_until_complete(pool.manager(NAME).secret())
            item = loop.create_task(next_of(changes))
            loop.run_until_complete(asyncio.sleep(0))
            aws.rotate(NAME)
            loop.run_until_complete(pool.manager(NAME).refresh())
            assert loop.run_until_complete(item) == "version-2"
            loop.close()  # asyncio.run would have closed the iterator

        await asyncio.to_thread(leave)
        assert pool._store.cache._watchers
        aws.rotate(NAME)
        assert (await pool.manager(NAME).refresh()).version_id == "version-3"


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_after_an_invalidation(seed: int) -> None:
    """An invalidation wakes the iterator: it needn't sleep until the end of a ttl that counts no more."""

    async def main() -> None:
        aws, loop = FakeAWS(NAME), asyncio.get_running_loop()
        async with pool_of(aws) as pool, aclosing(pool.manager(NAME).changes()) as changes:
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(1)
            version = aws.rotate(NAME)
            pool.manager(aws.secrets[NAME].arn).invalidate()
            assert await item == version
            assert loop.time() == 1

    run(main(), seed=seed, leave_nothing=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_after_a_refresh_that_hung(seed: int) -> None:
    """Promise 8: a refresh that hung and then failed is tried again after the back-off, not after a whole ttl."""

    async def main() -> None:
        aws, loop = FakeAWS(NAME), asyncio.get_running_loop()
        late = CachePolicy(ttl=TTL, jitter=0, refresh_ahead=None)
        async with pool_of(aws, policy=late) as pool, aclosing(pool.manager(NAME).changes()) as changes:
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(1)
            aws.latency = 9
            await asyncio.sleep(TTL)
            aws.failures[NAME] = "ThrottlingException"
            await asyncio.sleep(9)
            aws.latency = 0
            aws.failures.clear()
            version, began = aws.rotate(NAME), loop.time()
            assert await item == version
            assert loop.time() - began < 15

    run(main(), seed=seed, leave_nothing=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_many_iterators_of_what_fails(seed: int) -> None:
    """Iterators over one secret that can't be fetched don't wake each other: they ask no more than one does."""

    async def main() -> None:
        aws = FakeAWS(NAME)
        aws.failures[NAME] = "ThrottlingException"
        async with pool_of(aws) as pool:
            items = [asyncio.create_task(next_of(pool.manager(NAME).changes())) for _ in range(5)]
            await asyncio.sleep(600)
            assert len(aws.calls) < 100
            for item in items:
                item.cancel()
            await asyncio.wait(items)

    run(main(), seed=seed, leave_nothing=True)


def test_changes_without_a_region(caplog: pytest.LogCaptureFixture) -> None:
    """Promise 17: a default region that can't be found is looked for again; the log says so once."""

    async def main() -> None:
        aws = FakeAWS(NAME)
        aws.failures["region"] = "UnrecognizedClientException"
        async with pool_of(aws) as pool, aclosing(pool.manager(NAME).changes()) as changes:
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(300)
            aws.failures.clear()
            await asyncio.sleep(61)
            assert len(aws.calls) == 1
            version = aws.rotate(NAME)
            await pool.manager(NAME).refresh()
            assert await item == version

    run(main(), seed=0, leave_nothing=True)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


async def test_changes_of_a_pool_that_is_not_open() -> None:
    """A pool that isn't open yet, and one that is closed, say so at once."""
    pool = CredentialsPool()
    with pytest.raises(PoolClosedError, match="isn't open yet"):
        await anext(pool.manager(NAME).changes())
    await pool.aclose()
    with pytest.raises(PoolClosedError, match="is closed"):
        await anext(pool.manager(NAME).changes())


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_that_came_before_the_pool_closed(seed: int) -> None:
    """Promise 17: versions that came in before the pool was closed are yielded before that is raised."""

    async def main() -> None:
        aws = FakeAWS(NAME)
        async with pool_of(aws) as pool:
            changes = pool.manager(NAME).changes()
            item = asyncio.create_task(next_of(changes))
            await asyncio.sleep(1)
            versions = []
            for _ in range(3):
                versions.append(aws.rotate(NAME))
                await pool.manager(NAME).refresh()
            assert await item == versions[0]
        assert [await next_of(changes), await next_of(changes)] == versions[1:]
        with pytest.raises(PoolClosedError):
            await next_of(changes)

    run(main(), seed=seed, leave_nothing=True)


async def test_a_version_that_was_forgotten_is_known() -> None:
    """Promise 17: the version that was invalidated before the iterator began isn't new when it comes again."""
    aws = FakeAWS(NAME)
    async with pool_of(aws) as pool, aclosing(pool.manager(NAME).changes()) as changes:
        manager = pool.manager(NAME)
        await manager.secret()
        manager.invalidate()
        item = asyncio.create_task(next_of(changes))
        await asyncio.sleep(0)
        await manager.refresh()
        version = aws.rotate(NAME)
        await manager.refresh()
        assert await item == version


# Whose error


async def test_errors_name_where_the_callers_region_came_from() -> None:
    """Callers that share a fetch, or a refusal that is remembered, read where their own region came from."""
    aws = FakeAWS()
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nobody-AbCd12"
    async with pool_of(aws) as pool:
        managers = [pool.manager("nobody"), pool.manager("nobody", "eu-west-1"), pool.manager(arn)]
        sources = ["the pool", "the region_name argument", "the secret's ARN"]
        for _ in range(2):
            errors = await asyncio.gather(*(one.secret() for one in managers), return_exceptions=True)
            for error, manager, source in zip(errors, managers, sources, strict=True):
                assert isinstance(error, SecretNotFoundError)
                assert error.region_source == source
                assert error.secret_name == manager.secret_name
                assert f"secret {manager.secret_name!r}, region 'eu-west-1' (from {source})" in str(error)
    assert len(aws.calls) == 2


async def test_a_refusal_belongs_to_what_was_asked() -> None:
    """The ARN of a secret that was created again is refused; readers by name aren't, and lose no value by it."""
    aws, clock = FakeAWS(NAME), Clock()
    old = aws.secrets[NAME].arn
    async with pool_of(aws, clock=clock) as pool:
        by_name, by_arn = pool.manager(NAME), pool.manager(old)
        first = await by_name.secret()
        aws.create(NAME)
        with pytest.raises(SecretNotFoundError):
            await by_arn.refresh()
        calls = len(aws.calls)
        assert await by_name.secret() is first
        with pytest.raises(SecretNotFoundError):
            await by_arn.secret()
        assert len(aws.calls) == calls
        # Joining a fetch that was begun by the old ARN doesn't make its refusal one's own.
        clock.now += 2 * TTL
        aws.latency = 0.01
        refused, named = await asyncio.gather(by_arn.refresh(), by_name.secret(), return_exceptions=True)
        assert isinstance(refused, SecretNotFoundError)
        assert not isinstance(named, BaseException)
        assert named.arn == aws.secrets[NAME].arn


# Prefetch; the calls themselves are tested over HTTP


@pytest.mark.parametrize("seed", range(50))
def test_prefetch_joins(seed: int) -> None:
    """A fetch that is on its way is joined; when its callers go or it is invalidated, the secret comes all the same."""

    async def main() -> None:
        aws = FakeAWS("a", "b", "c", "d")
        aws.latency = 1
        async with pool_of(aws) as pool:
            single = [asyncio.create_task(pool.manager(name).secret()) for name in "ab"]
            await asyncio.sleep(0.5)
            prefetching = asyncio.create_task(pool.prefetch("a", "b", "c", "d"))
            await asyncio.sleep(0.2)
            single[0].cancel()
            pool.manager("b").invalidate()
            pool.manager("c").invalidate()
            await prefetching
            secrets = [await pool.manager(name).secret() for name in "abcd"]
            assert [secret.name for secret in secrets] == list("abcd")
            await asyncio.wait(single)
        assert sorted(aws.calls[:3]) == ["a", "b", "c d"]
        assert aws.calls.count("a") == 1

    run(main(), seed=seed, leave_nothing=True)


def test_prefetch_joins_a_failure() -> None:
    """A fetch that is joined and fails is an error in the group, as any other, and isn't tried again for that."""

    async def main() -> None:
        aws = FakeAWS("a")
        aws.latency = 1
        async with pool_of(aws) as pool:
            single = asyncio.create_task(pool.manager("b").secret())
            await asyncio.sleep(0.5)
            with pytest.raises(ExceptionGroup) as info:
                await pool.prefetch("a", "b")
            assert isinstance(info.value.exceptions[0], SecretNotFoundError)
            with pytest.raises(SecretNotFoundError):
                await single
        assert sorted(aws.calls) == ["a", "b"]

    run(main(), seed=0, leave_nothing=True)


async def test_prefetch_of_nothing() -> None:
    """No names, no calls; but a pool that is closed says so, and without a cache there is nothing to prefetch for."""
    aws = FakeAWS()
    async with pool_of(aws) as pool:
        await pool.prefetch()
    with pytest.raises(PoolClosedError):
        await pool.prefetch()
    async with CredentialsPool(policy=None) as pool:
        with pytest.raises(ValueError, match="Prefetching needs a cache"):
            await pool.prefetch(NAME)
    assert aws.calls == []


async def test_prefetch_without_a_region() -> None:
    """Where the default region can't be found, each secret that needs it fails with an error of its own."""
    aws = FakeAWS("a", "b", NAME)
    aws.failures["region"] = "UnrecognizedClientException"
    async with pool_of(aws) as pool:
        with pytest.raises(ExceptionGroup, match="2 of 3 secrets could not be fetched") as info:
            await pool.prefetch("a", aws.secrets[NAME].arn, "b", "a")
        errors = [error for error in info.value.exceptions if isinstance(error, AuthenticationError)]
        assert [error.secret_name for error in errors] == ["a", "b"]
        assert (await pool.manager(NAME, "eu-west-1").secret()).name == NAME
    assert aws.calls == [aws.secrets[NAME].arn]


async def test_prefetch_in_no_region() -> None:
    """A region that isn't one is the error of each secret there."""
    async with CredentialsPool("nowhere") as pool:
        with pytest.raises(ExceptionGroup) as info:
            await pool.prefetch("a", "b")
    errors = [error for error in info.value.exceptions if isinstance(error, InvalidRegionError)]
    assert [(error.secret_name, error.region_source) for error in errors] == [("a", "the pool"), ("b", "the pool")]


async def test_failures_of_a_prefetch_are_the_callers() -> None:
    """The errors in a group belong to who prefetched: those who wait for the same call have errors of their own."""
    async with pool_of(FakeAWS()) as pool:
        prefetching = asyncio.create_task(pool.prefetch("a", "b"))
        reading = asyncio.create_task(pool.manager("a").secret())
        done = await asyncio.gather(prefetching, reading, return_exceptions=True)
        group, error = done
        assert isinstance(group, ExceptionGroup)
        assert isinstance(error, SecretNotFoundError)
        assert str(group.exceptions[0]) == str(error)
        with pytest.raises(SecretNotFoundError) as info:
            await pool.manager("a").secret()
        entry = pool._store.cache.entry(pool.manager("a")._store._located_if_known(SecretRequest("a")))
        assert entry is not None
        assert len({id(one) for one in (error, group.exceptions[0], info.value, entry.failure)}) == 4
        assert all(one.__traceback__ is None for one in group.exceptions)
