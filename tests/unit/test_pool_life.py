"""Opening, entering, closing and showing a pool and a manager: what two tasks do at once, and what is refused."""

from __future__ import annotations

import asyncio
import copy
import pickle
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

from aiocredentials import AsyncCredentialsManager, CachePolicy, CredentialsPool, PoolClosedError, SecretNotFoundError
from aiocredentials._aws.redact import LOGGERS
from aiocredentials.testing import FakeClock, FakeSecretsManager
from unit.fake_aws import CANARY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


async def test_two_tasks_enter_one_pool() -> None:
    """Only one of two tasks enters a pool, also while it still opens."""
    fake = FakeSecretsManager({"a": "x"})
    with fake.hold() as gate:
        pool = CredentialsPool(session=fake, prefetch=["a"])
        first = asyncio.create_task(pool.__aenter__())
        await gate.reached()
        with pytest.raises(RuntimeError, match="entered already"):
            await pool.__aenter__()
        gate.release()
        assert await first is pool
    await pool.__aexit__(None, None, None)


async def test_a_second_open_waits_for_prefetch() -> None:
    """Whoever opens a pool that is being opened returns when prefetching is done; and fails where that failed."""
    fake = FakeSecretsManager({"a": "x"})
    gate = fake.hold()
    pool = CredentialsPool(session=fake, prefetch=["a"])
    calls = [asyncio.create_task(pool.open()) for _ in range(3)]
    await gate.reached()
    calls[1].cancel()
    await asyncio.wait([calls[1]])
    assert [call.done() for call in calls] == [False, True, False]
    gate.release()
    await asyncio.gather(calls[0], calls[2])
    assert pool.stats().entries == 1
    await pool.open()
    await pool.aclose()

    failing = CredentialsPool(session=FakeSecretsManager(), prefetch=["nobody"])
    first, second = await asyncio.gather(failing.open(), failing.open(), return_exceptions=True)
    assert isinstance(first, ExceptionGroup)
    assert isinstance(first.exceptions[0], SecretNotFoundError)
    assert isinstance(second, PoolClosedError)


async def test_a_pool_that_is_closed_while_it_opens() -> None:
    """A pool that is closed at the end of its opening is closed for its caller, and isn't reported as open."""
    heard: list[str] = []

    class Listening:
        """A listener that notes which pools are open."""

        def __call__(self, event: object) -> None:
            """Take note of nothing."""

        def pool_opened(self, pool: CredentialsPool) -> None:
            """Note that."""
            heard.append(f"opened {pool!r}")

    pool = CredentialsPool(session=FakeSecretsManager({"a": "x"}), prefetch=["a"], listener=Listening())
    prefetch = pool.prefetch

    async def closing(*names: str) -> None:
        await prefetch(*names)
        await pool.aclose()

    pool.prefetch = closing  # type: ignore[method-assign]
    with pytest.raises(PoolClosedError, match="closing is final"):
        await pool.open()
    assert heard == []


async def test_entering_a_closed_pool() -> None:
    """A pool that was closed says so, and not that it is entered already."""
    async with CredentialsPool(session=FakeSecretsManager()) as pool:
        pass
    with pytest.raises(PoolClosedError, match="closing is final"):
        await pool.__aenter__()


def test_a_pool_that_was_never_made() -> None:
    """The repr of a pool whose constructor refused its arguments is a text, as debuggers need it."""
    assert repr(CredentialsPool.__new__(CredentialsPool)) == "<CredentialsPool not made>"


@pytest.mark.parametrize("make", [CredentialsPool, lambda: AsyncCredentialsManager[Any]("a")])
def test_nothing_is_pickled(make: Any) -> None:  # noqa: ANN401 (a class, or a function that makes one)
    """A pool or a manager that is pickled says in a sentence what to do instead."""
    with pytest.raises(TypeError, match=r"can't be pickled, because it may hold .*: make one in each proc"):
        pickle.dumps(make())


async def test_a_client_that_cannot_be_closed(caplog: pytest.LogCaptureFixture) -> None:
    """What a client raises when it is closed keeps nothing else open, and its text is in no log."""

    class Stuck:
        """A session whose clients raise when they are closed."""

        region_name = "us-east-1"
        fake = FakeSecretsManager({"a": "x"})

        @asynccontextmanager
        async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
            async with self.fake.secretsmanager_client(region_name) as client:
                yield client
                raise ZeroDivisionError(CANARY)

    before = list(LOGGERS[0].filters)
    async with CredentialsPool(session=Stuck()) as pool:
        assert await pool.manager("a", decode=str).get() == "x"
        assert LOGGERS[0].filters != before
    assert repr(pool) == "<CredentialsPool closed>"
    assert LOGGERS[0].filters == before
    assert caplog.messages == ["A client raised ZeroDivisionError when it was closed."]


def test_a_copied_manager() -> None:
    """A copy of a manager is the manager: it is the view of one secret, and shares what that has."""
    manager = AsyncCredentialsManager[Any]("a")
    assert copy.copy(manager) is copy.deepcopy(manager) is manager


async def test_entries_are_values() -> None:
    """`stats().entries` counts secrets in memory: neither refusals that are remembered, nor what was invalidated."""
    fake = FakeSecretsManager({"a": "x", "b": "y"})
    async with CredentialsPool(session=fake) as pool:
        await pool.prefetch("a", "b")
        with pytest.raises(SecretNotFoundError):
            await pool.manager("nobody").secret()
        assert pool.stats().entries == 2
        pool.manager("a").invalidate()
        assert pool.stats().entries == 1


async def test_one_truth_on_freshness() -> None:
    """Readers, `prefetch`, and the secret itself call a value fresh until the same moment, jitter included."""
    for _ in range(20):
        fake, clock = FakeSecretsManager({"a": "x"}), FakeClock()
        policy = CachePolicy(ttl=300, jitter=0.5, refresh_ahead=None)
        async with CredentialsPool(session=fake, clock=clock, policy=policy) as pool:
            manager = pool.manager("a")
            secret = await manager.secret()
            while not secret.is_stale:
                await pool.prefetch("a")
                assert await manager.secret() is secret
                assert len(fake.calls) == 1
                clock.advance(1)
            assert 150 <= secret.age <= 300
            await pool.prefetch("a")
            assert len(fake.calls) == 2
            assert not (await manager.secret()).is_stale


async def test_if_version_looks_at_one_secret() -> None:
    """Invalidating a version looks at the keys of its secret only, however much is cached."""
    fake = FakeSecretsManager({f"s{number}": "x" for number in range(200)})
    async with CredentialsPool(session=fake) as pool:
        await pool.prefetch(*(f"s{number}" for number in range(200)))
        manager = pool.manager("s7")
        secret = await manager.secret()
        request = manager._request
        assert len(pool._store._related(request, None)) == 1
        before = len(fake.calls)
        manager.invalidate(if_version="another")
        assert await manager.secret() is secret
        manager.invalidate(if_version=secret.version_id)
        assert await manager.secret() is not secret
        assert len(fake.calls) == before + 1


@pytest.mark.parametrize("how", ["arn", "partial arn", "region"])
async def test_invalidating_before_the_region_is_known(how: str) -> None:
    """`invalidate()` by a name whose region nobody has looked up yet reaches the value, by whatever it was read."""
    fake = FakeSecretsManager(region_name="eu-west-1")
    first = fake.set("prod/db", "old")
    async with CredentialsPool("eu-west-1", session=fake) as pool:
        asked = {"arn": first.arn, "partial arn": first.arn[:-7]}.get(how, "prod/db")
        reading = pool.manager(asked, "eu-west-1" if how == "region" else None, decode=str)
        assert await reading.get() == "old"
        fake.set("prod/db", "new")
        pool.manager("prod/db").invalidate()
        assert await reading.get() == "new"
    async with CredentialsPool("eu-west-1", session=fake) as pool:
        reading = pool.manager(asked, "eu-west-1" if how == "region" else None, decode=str)
        version = (await reading.secret()).version_id
        fake.set("prod/db", "newer")
        pool.manager("prod/db").invalidate(if_version=version)
        assert await reading.get() == "newer"


@pytest.mark.parametrize("region_name", ["eu-west-1", None])
@pytest.mark.parametrize("by_version", [False, True])
async def test_invalidating_a_fetch_by_another_identifier(by_version: bool, region_name: str | None) -> None:  # noqa: FBT001 (a parameter)
    """`invalidate()` by name reaches a fetch by ARN that is under way, before anybody knows that they are one.

    Nobody may have looked up the default region yet.
    """
    fake = FakeSecretsManager(region_name="eu-west-1")
    first = fake.set("prod/db", "old")
    async with CredentialsPool("eu-west-1", session=_Late(fake)) as pool:
        late = pool.manager(first.arn, decode=str)
        call = asyncio.create_task(late.get())
        await _Late.reading.wait()
        fake.set("prod/db", "new")
        by_name = pool.manager("prod/db", region_name, decode=str)
        by_name.invalidate(if_version=first.version_id if by_version else None)
        joined = asyncio.create_task(late.get())
        await asyncio.sleep(0)
        _Late.go.set()
        assert await call == "old"
        assert await joined == "new"
        assert await by_name.get() == "new"
        assert len(fake.calls) == 2


class _Late:
    """A session whose answers are read at once, and take their time on the way back."""

    region_name = "eu-west-1"
    reading: asyncio.Event
    go: asyncio.Event

    def __init__(self, fake: FakeSecretsManager) -> None:
        self._fake = fake
        _Late.reading, _Late.go = asyncio.Event(), asyncio.Event()

    def secretsmanager_client(self, region_name: str) -> Any:  # noqa: ANN401 (a context manager)
        """Make a client whose answers are late."""
        return _LateClient(self._fake.secretsmanager_client(region_name))


class _LateClient:
    def __init__(self, made: Any) -> None:  # noqa: ANN401 (a context manager)
        self._made = made

    async def __aenter__(self) -> Self:
        self._client = await self._made.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._made.__aexit__(*exc)

    async def get_secret_value(self, **parameters: Any) -> Any:  # noqa: ANN401 (botocore's)
        """Answer late."""
        answer = await self._client.get_secret_value(**parameters)
        _Late.reading.set()
        await _Late.go.wait()
        return answer


async def test_closed_at_the_end_of_opening() -> None:
    """A pool that is closed while it opens is closed for the caller that opens it, however late that was."""
    for turns in range(30):
        fake = FakeSecretsManager({"a": "1"}, region_name="eu-west-1")
        pool = CredentialsPool(session=fake, prefetch=["a"])
        opening = asyncio.create_task(pool.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        was_open = opening.done()
        await pool.aclose()
        if was_open:
            await opening
        else:
            with pytest.raises((PoolClosedError, asyncio.CancelledError)):
                await opening


@pytest.fixture
def abandoned() -> Iterator[tuple[CredentialsPool, asyncio.AbstractEventLoop]]:
    """A pool that opens in a loop which doesn't go on."""
    fake = FakeSecretsManager({"a": "1"}, region_name="eu-west-1")
    pool = CredentialsPool(session=fake, prefetch=["a"])
    gate = fake.hold()
    loop = asyncio.new_event_loop()
    opening = loop.create_task(pool.open())
    loop.run_until_complete(gate.reached())
    gate.release()
    yield pool, loop
    # What the garbage collector does with the task of a dead loop: it must not close the pool.
    opening.get_coro().close()
    assert pool.stats().entries == 1
    asyncio.run(pool.aclose())


def test_a_loop_that_ends_while_it_opens(abandoned: tuple[CredentialsPool, asyncio.AbstractEventLoop]) -> None:
    """An opening whose loop was closed is carried out anew by a later caller."""
    pool, loop = abandoned
    loop.close()
    asyncio.run(pool.open())
    assert pool.stats().entries == 1


def test_a_loop_that_ends_while_others_wait(abandoned: tuple[CredentialsPool, asyncio.AbstractEventLoop]) -> None:
    """An opening whose loop was closed is carried out anew by a caller that waits for it."""
    pool, loop = abandoned

    async def wait_for_it() -> None:
        waiting = asyncio.create_task(pool.open())
        await asyncio.sleep(0)
        assert not waiting.done()
        loop.close()
        await waiting

    asyncio.run(wait_for_it())
    assert pool.stats().entries == 1
