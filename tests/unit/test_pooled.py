"""Clients that a pool shares: opened once, in nobody's context, and closed with the calls that use them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsPool, PoolClosedError
from aiocredentials._aws import clients as _clients, session as _session
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.regions import Region
from aiocredentials._aws.settings import ClientSettings
from aiocredentials.testing import FakeSecretsManager
from unit.lending import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_a_pool_shares_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool opens one client a region, also when many ask at once, and its repr says which."""
    asked: list[str] = []

    async def slow(stack: Any, session: Any, region: Region, settings: Any) -> Any:  # noqa: ANN401 (passed on)
        asked.append(region.name)
        await asyncio.sleep(0)
        return await open_client(stack, session, region, settings)

    open_client = _session.open_client
    monkeypatch.setattr(_clients, "open_client", slow)
    pooled = PooledSession(ClientSettings())
    pooled.open()

    async def lend(name: str | None) -> object:
        async with opened(pooled, Region(name, "") if name else None) as (client, _):
            return client

    one, same, other = await asyncio.gather(lend("eu-west-1"), lend("eu-west-1"), lend("eu-west-2"))
    assert one is same is await lend("eu-west-1")
    assert one is not other
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert other is await lend(None)
    assert asked == ["eu-west-1", "eu-west-2"]
    assert repr(pooled) == "open eu-west-1 eu-west-2"
    assert pooled.holds_clients
    await pooled.aclose()
    assert (repr(pooled), pooled.holds_clients) == ("closed", False)


CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


@pytest.mark.parametrize("factory", [None, lambda loop, coro: asyncio.Task(coro, loop=loop)], ids=["none", "old"])
async def test_an_opening_is_nobodys(factory: Any) -> None:  # noqa: ANN401 (what a loop takes)
    """A client is opened in no caller's context, and closed in none, also by a task factory that knows no contexts."""
    fake = FakeSecretsManager({"a": {}})
    seen: list[str] = []

    class Custom:
        region_name = "us-east-1"

        @asynccontextmanager
        async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
            seen.append(CALLER.get())
            async with fake.secretsmanager_client(region_name) as client:
                yield client
            seen.append(CALLER.get())

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        async with CredentialsPool(session=Custom(), policy=None) as pool:
            CALLER.set("me")
            fake.fail_next("ExpiredTokenException")
            assert await pool.manager("a").get() == {}
            while len(seen) < 3:  # noqa: ASYNC110 (until the old client is closed)
                await asyncio.sleep(0)
    finally:
        loop.set_task_factory(None)
    assert seen[:3] == ["nobody"] * 3


async def test_states() -> None:
    """A pool's session is new, open, closed; only the open one lends a client, and closing is final."""
    pooled = PooledSession(ClientSettings())
    with pytest.raises(PoolClosedError, match="isn't open yet: use `async with pool:` first"):
        await opened(pooled).__aenter__()
    pooled.open()
    pooled.open()
    await pooled.aclose()
    await pooled.aclose()
    with pytest.raises(PoolClosedError, match="The pool is closed: make a new one"):
        await opened(pooled).__aenter__()
    with pytest.raises(PoolClosedError, match="closing is final"):
        pooled.open()


async def test_closing_ends_the_calls() -> None:
    """Closing brings forward the deadlines of those who use a client, and waits for them; twice at a time, too."""
    pooled = PooledSession(ClientSettings())
    pooled.open()
    lent = asyncio.Semaphore(0)

    async def use() -> None:
        async with opened(pooled):
            lent.release()
            await asyncio.Event().wait()

    async def fail() -> None:
        async with opened(pooled):
            lent.release()
            try:
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError

    calls = [asyncio.create_task(call()) for call in (use, use, fail)]
    for _ in calls:
        await lent.acquire()
    await asyncio.gather(pooled.aclose(), pooled.aclose())
    for call, raised in zip(calls, (TimeoutError, TimeoutError, ZeroDivisionError), strict=True):
        with pytest.raises(raised):
            await call


async def test_closing_waits_for_those_who_are_late() -> None:
    """A call whose own deadline has passed, and which still tidies up, is waited for and not hurried."""
    pooled = PooledSession(ClientSettings())
    pooled.open()
    tidying, tidy = asyncio.Event(), asyncio.Event()

    async def use() -> None:
        async with asyncio.timeout(None) as deadline, pooled.client(None, deadline):
            deadline.reschedule(0)
            try:
                await asyncio.Event().wait()
            finally:
                tidying.set()
                await tidy.wait()

    call = asyncio.create_task(use())
    await tidying.wait()
    closing = asyncio.create_task(pooled.aclose())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    tidy.set()
    await closing
    with pytest.raises(TimeoutError):
        await call


async def test_errors_of_an_open_pool_pass() -> None:
    """What a call raises while the pool is open comes out as it is."""
    pooled = PooledSession(ClientSettings())
    pooled.open()
    with pytest.raises(ZeroDivisionError):
        async with opened(pooled):
            raise ZeroDivisionError
    await pooled.aclose()
