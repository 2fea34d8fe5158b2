"""A CancelledError that comes out of a client: whose it is, and what a caller gets.

No socket is opened here.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, CredentialsPool, EndpointUnreachableError, PoolClosedError
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

VALUE = {"password": "hunter2-canary"}


async def cancelled_task() -> None:
    """Await a task of one's own that was cancelled, as clients with a reading task do."""
    task = asyncio.create_task(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


class Session:
    """A `CustomSession` of which parts can be cancelled from inside, or hang."""

    region_name = "us-east-1"

    def __init__(self) -> None:
        self._fake = FakeSecretsManager({"a": VALUE})
        self.opening: Callable[[], Any] | None = None
        self.calling: Callable[[], Any] | None = None
        self.reached = asyncio.Event()

    async def hang(self) -> None:
        """Wait for ever."""
        self.reached.set()
        await asyncio.Event().wait()

    @contextlib.asynccontextmanager
    async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
        """Lend a client."""
        if self.opening is not None:
            await self.opening()
        async with self._fake.secretsmanager_client(region_name) as client:
            outer = self

            class Client:
                async def get_secret_value(self, **asked: Any) -> Any:  # noqa: ANN401 (as botocore has it)
                    if outer.calling is not None:
                        await outer.calling()
                    return await client.get_secret_value(**asked)

            yield Client()


@pytest.fixture
def session() -> Session:
    """A session that isn't broken yet."""
    return Session()


@contextlib.asynccontextmanager
async def manager_of(session: Session, way: str) -> AsyncIterator[AsyncCredentialsManager[Any]]:
    """Lend a manager: without a pool, or of one with or without a cache."""
    if way == "no pool":
        yield AsyncCredentialsManager("a", session=session, policy=None)
    else:
        async with CredentialsPool(session=session) as pool:
            yield pool.manager("a") if way == "cached" else pool.manager("a", policy=None)


WAYS = pytest.mark.parametrize("way", ["no pool", "uncached", "cached"])


@WAYS
@pytest.mark.parametrize("part", ["opening", "calling"])
async def test_from_inside(session: Session, way: str, part: str) -> None:
    """Nobody cancelled the call: it is a transient error, and the pool isn't called closed."""
    setattr(session, part, cancelled_task)
    async with manager_of(session, way) as manager:
        with pytest.raises(EndpointUnreachableError, match="The call was cancelled from inside the client") as info:
            await manager.get()
        assert info.value.transient
        assert info.value.secret_name == "a"
        assert (info.value.__cause__, info.value.__context__) == (None, None)
        setattr(session, part, None)
        if way != "cached":  # there a failed fetch is remembered for a while
            assert await manager.get() == VALUE


@WAYS
@pytest.mark.parametrize("part", ["opening", "calling"])
async def test_the_callers_own(session: Session, way: str, part: str) -> None:
    """A caller that is cancelled gets its CancelledError, wherever the call is."""
    setattr(session, part, session.hang)
    async with manager_of(session, way) as manager:
        call = asyncio.create_task(manager.get())
        await session.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert call.cancelled()


@pytest.mark.parametrize("way", ["uncached", "cached"])
@pytest.mark.parametrize("part", ["opening", "calling"])
async def test_closing(session: Session, way: str, part: str) -> None:
    """A call that closing ends is still told that the pool was closed."""
    setattr(session, part, session.hang)
    async with manager_of(session, way) as manager:
        call = asyncio.create_task(manager.get())
        await session.reached.wait()
    with pytest.raises(PoolClosedError, match="closed during the call"):
        await call


@pytest.mark.parametrize("part", ["opening", "calling"])
async def test_closing_while_it_is_cancelled_from_inside(session: Session, part: str) -> None:
    """If the pool closes at the same time, closing is the reason that counts."""
    gate = asyncio.Event()

    async def cancelled_later() -> None:
        session.reached.set()
        with contextlib.suppress(asyncio.CancelledError):
            await gate.wait()
        raise asyncio.CancelledError

    setattr(session, part, cancelled_later)
    async with manager_of(session, "uncached") as manager:
        call = asyncio.create_task(manager.get())
        await session.reached.wait()
    gate.set()
    with pytest.raises(PoolClosedError):
        await call


async def test_the_opening_of_others(session: Session) -> None:
    """Somebody cancels all tasks of the loop but the callers'.

    Each caller gets the transient error, and can go on.
    """
    session.opening = session.hang
    async with CredentialsPool(session=session, policy=None) as pool:
        before = asyncio.all_tasks()
        calls = [asyncio.create_task(pool.manager("a").get()) for _ in range(3)]
        await session.reached.wait()
        for task in asyncio.all_tasks() - before - set(calls):
            task.cancel()
        for call in calls:
            with pytest.raises(EndpointUnreachableError, match="from inside the client"):
                await call
        session.opening = None
        assert await pool.manager("a").get() == VALUE


async def test_looking_for_the_region(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds for a call that only looks for the region, too; its own cancellation passes."""
    async with CredentialsPool(session=session) as pool:
        monkeypatch.setattr(pool._session, "region", cancelled_task)
        with pytest.raises(EndpointUnreachableError, match="from inside the client"):
            await pool.manager("a").get()
        monkeypatch.setattr(pool._session, "region", session.hang)
        call = asyncio.create_task(pool.manager("a").get())
        await session.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
