"""`pool.forget()` and `forget_all()`: nothing that was fetched is kept, and everything is fetched anew."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import weakref
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from aiocredentials import (
    AsyncCredentialsManager,
    CredentialsPool,
    PoolClosedError,
    RedisCredentials,
    Secret,
    SecretNotFoundError,
    forget_all,
)
from aiocredentials._aws import loading, tls
from aiocredentials._cache import AsyncCache
from aiocredentials._cache.policy import DEFAULT_POLICY
from aiocredentials._rotation.verdicts import Verdicts
from aiocredentials._store import lifetime_under
from aiocredentials.events import Fetched, FetchFailed, Rotated
from aiocredentials.rotation import connect_through_rotation, rotations_watched
from aiocredentials.testing import FakeClock, FakeSecretsManager

if TYPE_CHECKING:
    from aiocredentials.events import SecretEvent

NAME = "prod/database"


class Decoded:
    """What a test's `decode` makes; it can be referred to weakly."""

    def __init__(self, text: str) -> None:
        self.text = text


def fake_of(**more: str) -> FakeSecretsManager:
    """Return a fake with one secret, or some more."""
    return FakeSecretsManager({NAME: {"user": "old"}, **more})


def collected(reference: weakref.ref[object]) -> bool:
    """Return whether an object is gone, once the collector has run."""
    gc.collect()
    return reference() is None


async def calls_of(fake: FakeSecretsManager, count: int) -> None:
    """Wait until so many calls have arrived."""
    while len(fake.calls) < count:  # noqa: ASYNC110 (the time limit of the test is this one's, too)
        await asyncio.sleep(0)


async def turns() -> None:
    """Let the loop run what `forget` has left to it."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_everything_is_fetched_anew() -> None:
    """Values, decoded objects and remembered errors are gone, each read costs one fetch, and a rotation is noticed."""
    fake = fake_of()
    heard: list[SecretEvent] = []
    async with CredentialsPool(session=fake, listener=heard.append) as pool:
        plain, decoded = pool.manager(NAME), pool.manager(NAME, decode=Decoded)
        uncached = pool.manager(NAME, decode=Decoded, policy=None)
        missing = pool.manager("prod/missing")
        kept = [weakref.ref(await decoded.get()), weakref.ref(await plain.secret()), weakref.ref(await uncached.get())]
        assert await decoded.get() is kept[0]()
        with pytest.raises(SecretNotFoundError):
            await missing.get()
        fake.set(NAME, {"user": "new"})
        fake.set("prod/missing", {"user": "there"})
        fake.calls.clear()

        pool.forget()

        assert all(map(collected, kept))
        assert pool.stats().entries == 0
        assert pool._store._default is None
        assert await plain.get() == {"user": "new"}
        assert (await decoded.get()).text == '{"user": "new"}'
        assert await missing.get() == {"user": "there"}
        assert len(fake.calls) == 2
        assert await decoded.get() is await decoded.get()
    assert [type(event) for event in heard] == [Fetched, FetchFailed, Fetched, Rotated, Fetched]


async def test_a_fetch_that_has_just_ended() -> None:
    """A caller whose fetch has ended, and that hasn't run since, gets the value of a new fetch."""
    fake = fake_of()
    async with CredentialsPool(session=fake) as pool:
        manager = pool.manager(NAME, decode=Decoded)
        gate = fake.hold()
        waiting = asyncio.create_task(manager.get())
        await gate.reached()
        (flight,) = pool._store.cache.flights._under_way
        gate.release()
        while not flight.landed:  # noqa: ASYNC110 (nobody else may wait for it here)
            await asyncio.sleep(0)
        assert not waiting.done()
        fake.set(NAME, {"user": "new"})

        pool.forget()

        assert (await waiting).text == '{"user": "new"}'


async def test_a_fetch_under_way_is_begun_anew() -> None:
    """Callers that wait get the value of one new fetch; nobody keeps, reports or counts the outcome of the old one."""
    fake = fake_of(other="b")
    heard: list[SecretEvent] = []
    async with CredentialsPool(session=fake, listener=heard.append) as pool:
        manager = pool.manager(NAME)
        gate = fake.hold()
        waiting = [asyncio.create_task(manager.get()) for _ in range(3)]
        batch = asyncio.create_task(pool.prefetch("other"))
        await calls_of(fake, 2)
        forced = asyncio.create_task(manager.refresh())
        await turns()

        pool.forget()
        # One for all callers of the secret, as the forced refresh begins after the call, and one for the batch.
        await calls_of(fake, 4)
        fake.set(NAME, {"user": "new"})
        gate.release()

        assert await asyncio.gather(*waiting) == [{"user": "new"}] * 3
        assert (await forced).json() == {"user": "new"}
        await batch
        assert (len(fake.calls), pool.stats().entries, pool.stats().failures) == (4, 2, 0)
    assert {type(event) for event in heard} == {Fetched}


async def test_a_prefetch_is_begun_anew() -> None:
    """A prefetch asks for batches again, and gets their new values."""
    names = [f"app/{number:02}" for number in range(60)]
    fake = FakeSecretsManager(dict.fromkeys(names, "old"))
    async with CredentialsPool(session=fake) as pool:
        # As with a session of AWS, whose clients have no caches.
        pool._store.is_custom = False
        gate = fake.hold()
        prefetching = asyncio.create_task(pool.prefetch(*names))
        await calls_of(fake, 3)
        pool.forget()
        for name in names:
            fake.set(name, "new")
        gate.release()
        await prefetching
        assert [call.operation for call in fake.calls] == ["BatchGetSecretValue"] * 6
        assert await pool.manager(names[-1], decode=str).get() == "new"
        assert len(fake.calls) == 6


async def test_a_caller_that_would_be_served_stale() -> None:
    """A reader that waits for a refresh of a stale value waits for a new fetch, because no value is left."""
    fake, clock = fake_of(), FakeClock()
    async with CredentialsPool(session=fake, clock=clock) as pool:
        manager = pool.manager(NAME)
        await manager.get()
        clock.advance(DEFAULT_POLICY.ttl)
        gate = fake.hold()
        waiting = asyncio.create_task(manager.get())
        await gate.reached()
        fake.set(NAME, {"user": "new"})
        pool.forget()
        await turns()
        assert not waiting.done()
        gate.release()
        assert await waiting == {"user": "new"}


def test_without_a_loop() -> None:
    """It works while no loop runs: between two loops, with a loop that is stopped, on a new and on a closed pool."""
    fake = fake_of()
    pool = CredentialsPool(session=fake)
    pool.forget()
    manager = pool.manager(NAME, decode=Decoded)

    async def read() -> weakref.ref[Decoded]:
        await pool.open()
        return weakref.ref(await manager.get())

    for _ in range(2):
        reference = asyncio.run(read())
        pool.forget()
        assert collected(reference)
    assert len(fake.calls) == 2

    with asyncio.Runner() as runner:
        assert runner.run(read())() is not None
        gate = fake.hold()
        waiting = runner.get_loop().create_task(manager.refresh())
        runner.run(gate.reached())
        pool.forget()
        gate.release()
        # The stopped loop cancels its fetch, and begins a new one, when it runs again.
        assert runner.run(_result_of(waiting)).json() == {"user": "old"}
        assert len(fake.calls) == 5
        runner.run(pool.aclose())
    pool.forget()
    with pytest.raises(PoolClosedError):
        asyncio.run(manager.get())


async def _result_of(task: asyncio.Task[Secret]) -> Secret:
    return await task


async def test_from_another_thread() -> None:
    """A loop that runs in another thread begins its fetch anew, and closes the clients of before."""
    fake = fake_of()
    pool = CredentialsPool(session=fake)
    manager = pool.manager(NAME)
    gate = fake.hold()

    async def read() -> tuple[object, int]:
        async with pool:
            value = await manager.get()
            await turns()
            (state,) = [state.of(None) for _, state in pool._session._loops.living()]
            return value, len(state._replaced)

    reading = asyncio.create_task(asyncio.to_thread(asyncio.run, read()))
    await gate.reached()
    pool.forget()
    await calls_of(fake, 2)
    fake.set(NAME, {"user": "new"})
    gate.release()
    assert await reading == ({"user": "new"}, 0)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_eager_tasks() -> None:
    """Clients are closed, and nothing fails, if tasks run at once."""
    fake = fake_of()
    loop = asyncio.get_running_loop()
    failures: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, failure: failures.append(failure))
    async with CredentialsPool(session=fake) as pool:
        await pool.manager(NAME).get()
        loop.set_task_factory(asyncio.eager_task_factory)
        pool.forget()
        await turns()
        loop.set_task_factory(None)
        assert not pool._session._loops.get().of(None)._replaced
    assert not failures


async def test_changes_go_on() -> None:
    """An iterator reads at once, yields a version that came meanwhile, and not the one that it knew."""
    fake = fake_of()
    async with CredentialsPool(session=fake) as pool:
        manager = pool.manager(NAME)
        await manager.get()
        async with aclosing(manager.changes()) as changes:
            following = asyncio.create_task(anext(changes))
            await turns()
            pool.forget()
            await calls_of(fake, 2)
            await turns()
            assert not following.done()

            pool.forget()
            fake.set(NAME, {"user": "new"})
            assert (await following).json() == {"user": "new"}


async def test_versions_that_wait_for_a_slow_iterator() -> None:
    """They are dropped, and the one that is still current is fetched again and yielded: it isn't missed."""
    fake = fake_of()
    async with CredentialsPool(session=fake) as pool:
        manager = pool.manager(NAME)
        await manager.get()
        async with aclosing(manager.changes()) as changes:
            following = asyncio.create_task(anext(changes))
            await turns()
            fake.set(NAME, {"user": "second"})
            await manager.refresh()
            assert (await following).json() == {"user": "second"}
            kept = []
            for user in ("third", "fourth"):
                fake.set(NAME, {"user": user})
                kept.append(weakref.ref(await manager.refresh()))
            # asyncio itself holds a result until the step that it has woken ends.
            await turns()

            pool.forget()

            assert all(map(collected, kept))
            assert (await anext(changes)).json() == {"user": "fourth"}


async def test_an_iterator_holds_no_version_while_it_waits() -> None:
    """Neither `changes()` nor a watched rotation holds the version that it has yielded, once the next is asked for."""
    fake = fake_of()
    seen: asyncio.Queue[weakref.ref[Secret]] = asyncio.Queue()

    async def act(secret: Secret) -> None:
        seen.put_nowait(weakref.ref(secret))

    async with CredentialsPool(session=fake) as pool:
        manager = pool.manager(NAME)
        async with rotations_watched(manager, act):
            fake.set(NAME, {"user": "new"})
            await manager.refresh()
            reference = await seen.get()
            await turns()
            gate = fake.hold()
            pool.forget()
            await gate.reached()
            assert collected(reference)
            gate.release()


async def test_all_of_the_process() -> None:
    """`forget_all` reaches managers without a pool, those with a block of their own, and pools that nobody names."""
    fake = fake_of()
    per_call = AsyncCredentialsManager(NAME, session=fake, decode=Decoded)
    async with (
        AsyncCredentialsManager(NAME, session=fake, decode=Decoded) as own,
        CredentialsPool(session=fake) as pool,
    ):
        managers = [per_call, own, pool.manager(NAME, decode=Decoded)]
        kept = [weakref.ref(await manager.get()) for manager in managers]
        await turns()
        forget_all()
        assert all(map(collected, kept))
        fake.calls.clear()
        for manager in managers:
            await manager.get()
        assert len(fake.calls) == 3


async def test_a_manager_that_reads_elsewhere_now() -> None:
    """A manager in a block of its own keeps what it has read there when the store of before forgets everything."""
    fake = fake_of()
    manager = AsyncCredentialsManager(NAME, session=fake, decode=Decoded)
    await manager.get()
    former = manager._store
    async with manager:
        current = await manager.get()
        former.forget_everything()
        assert await manager.get() is current


async def test_what_a_server_said() -> None:
    """The versions that a database accepted or refused are forgotten with all others."""
    fake = fake_of()

    async def connect(decoded: Decoded) -> str:
        return decoded.text

    async with CredentialsPool(session=fake) as pool:
        manager = pool.manager(NAME, decode=Decoded)
        await connect_through_rotation(manager, connect)
        secret = weakref.ref(await manager.secret())
        await turns()
        pool.forget()
        assert collected(secret)
        assert await connect_through_rotation(manager, connect) == '{"user": "old"}'


async def test_the_arguments_of_a_login_at_redis() -> None:
    """The adapter for Redis keeps no password: it decodes a version for each connection."""
    pytest.importorskip("redis")
    from aiocredentials.integrations._redis_versions import Versions  # noqa: PLC0415 (redis may be missing)

    fake = FakeSecretsManager({NAME: {"username": "app", "password": "mock_password"}})
    async with CredentialsPool(session=fake) as pool:
        versions = Versions(pool.manager(NAME, decode=RedisCredentials.from_text))
        arguments = weakref.ref(versions.decoded(await versions.secret()))
        await turns()
        assert collected(arguments)


def test_nothing_is_imported_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as nothing was fetched, no private key is looked for, because that would import the transport."""
    looked: list[bool] = []
    monkeypatch.setattr(tls, "forget_private_keys", lambda: looked.append(loading.is_loaded()))
    for is_loaded in (False, True):
        monkeypatch.setattr(loading, "_is_loaded", is_loaded)
        CredentialsPool().forget()
    assert looked == [True]


def test_copies_of_a_process_have_their_own_jitter() -> None:
    """What spreads the load of a fleet doesn't depend on Python's generator, which is the same in restored copies."""
    lifetime = lifetime_under(DEFAULT_POLICY)
    verdicts = Verdicts()
    cache: AsyncCache[str] = AsyncCache(FakeClock(), max_entries=1)

    async def draw() -> set[float]:
        random.seed(0)
        return {lifetime().jitter_share, verdicts.pause(), cache._outcomes._rng(), cache._outcomes._share_of("")}

    first = asyncio.run(draw())
    assert not first & asyncio.run(draw())
