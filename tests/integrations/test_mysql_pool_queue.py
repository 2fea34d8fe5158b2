"""How callers of a pool of aiomysql or asyncmy wait for a connection: none waits in vain, and no slot is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from integrations.mariadb_drivers import adapter, driver, fetch, name, who

if TYPE_CHECKING:
    from types import ModuleType

    from integrations.mariadb import MariaPlace

__all__ = ["adapter", "driver", "name"]  # fixtures


class Gate:
    """In the place of a driver's `connect`: it waits while it is closed, fails if it is told to, and counts."""

    def __init__(self, driver: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connect = driver.connect
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.opened.set()
        self.error: Exception | None = None
        self.began = 0
        monkeypatch.setattr(driver, "connect", self)

    async def __call__(self, **options: Any) -> Any:  # noqa: ANN401
        """Connect."""
        self.began += 1
        self.reached.set()
        await self.opened.wait()
        if self.error is not None:
            raise self.error
        return await self.connect(**options)


@pytest.fixture
async def gate(driver: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate that is open."""
    return Gate(driver, monkeypatch)


# What the two drivers share is tested without a server in unit/test_mysql.py, and here with one driver.
one_driver = pytest.mark.parametrize("name", ["aiomysql"], indirect=True)


async def turns() -> None:
    """Let the others run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


@one_driver
async def test_nobody_waits_for_anothers_login(maria: MariaPlace, adapter: ModuleType, gate: Gate) -> None:
    """While a caller's connection is made, another caller gets one that is returned."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, maxsize=2) as pool:
        async with pool.acquire():
            gate.opened.clear()
            gate.reached.clear()
            slow = asyncio.create_task(who(pool))
            await gate.reached.wait()
            assert (pool.size, pool.freesize) == (2, 0)
        await who(pool)
        assert not slow.done()
        gate.opened.set()
        await slow
        assert pool.size == 2
    assert gate.began == 2


async def test_cancelled_while_it_waits(maria: MariaPlace, adapter: ModuleType) -> None:
    """A caller who gives up behind a full pool takes no slot along, also if it was just let in."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, maxsize=1) as pool:
        for just_let_in in (False, True):
            connection = await pool.acquire()
            waiting = [asyncio.create_task(who(pool)) for _ in range(3)]
            await turns()
            if just_let_in:
                pool.release(connection)
            waiting[0].cancel()
            if not just_let_in:
                await turns()
                pool.release(connection)
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert [result[0] for result in results[1:]] == ["app", "app"]
        assert pool.size == 1


async def test_cancelled_while_it_connects(maria: MariaPlace, adapter: ModuleType, gate: Gate) -> None:
    """A caller who gives up while its connection is made lets the next one in."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, minsize=0, maxsize=1) as pool:
        gate.opened.clear()
        first = asyncio.create_task(who(pool))
        await gate.reached.wait()
        second = asyncio.create_task(who(pool))
        await turns()
        first.cancel()
        gate.opened.set()
        assert (await second)[0] == "app"
        with pytest.raises(asyncio.CancelledError):
            await first
        assert pool.size == 1


async def test_a_login_that_fails(maria: MariaPlace, adapter: ModuleType, gate: Gate) -> None:
    """A connection that can't be made is an error of one caller, and the next one is let in."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, minsize=0, maxsize=1) as pool:
        gate.opened.clear()
        gate.error = OSError("no network")
        first = asyncio.create_task(who(pool))
        await gate.reached.wait()
        second = asyncio.create_task(who(pool))
        await turns()
        gate.opened.set()
        with pytest.raises(OSError, match="no network"):
            await first
        gate.error = None
        with pytest.raises(OSError, match="no network"):
            await second
        assert (await who(pool))[0] == "app"


@pytest.mark.parametrize("how", ["closed", "in a transaction"])
async def test_a_connection_that_cant_be_used_again(maria: MariaPlace, adapter: ModuleType, how: str) -> None:
    """A connection that is returned closed, or in a transaction, is dropped, and the next caller is let in."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, maxsize=1) as pool:
        connection = await pool.acquire()
        (number,) = await fetch(connection, "SELECT CONNECTION_ID()")
        waiting = asyncio.create_task(who(pool))
        await turns()
        if how == "closed":
            connection.close()
        else:
            await connection.begin()
        pool.release(connection)
        assert (await waiting)[1] != number


async def test_a_query_that_is_cancelled(maria: MariaPlace, adapter: ModuleType) -> None:
    """A caller who is cancelled in the middle of a query leaves the pool whole."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, maxsize=1) as pool:
        ready = asyncio.Event()
        _, number = await who(pool)

        async def sleeping() -> None:
            async with pool.acquire() as connection:
                ready.set()
                await fetch(connection, "SELECT SLEEP(60)")

        sleeper = asyncio.create_task(sleeping())
        await ready.wait()
        await turns()
        sleeper.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeper
        user, other = await who(pool)
        assert (user, other != number) == ("app", True)
        # Otherwise MariaDB would take up to 5 seconds to see that the client has gone.
        await maria.execute(f"KILL {number}")


async def test_a_connection_that_the_server_has_closed(maria: MariaPlace, adapter: ModuleType) -> None:
    """An idle connection that the server has ended isn't given to a caller."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager) as pool:
        _, number = await who(pool)
        await maria.execute(f"KILL {number}")
        assert await maria.all_closed()
        while pool._is_usable(pool._free[0]):  # noqa: ASYNC110 (it must hear of it)
            await asyncio.sleep(0)
        user, other = await who(pool)
        assert (user, other != number) == ("app", True)
        pool._free[0].close()
        assert (await who(pool))[1] not in {number, other}


@pytest.mark.parametrize(("recycle", "is_kept"), [(-1, True), (3600, True), (0, False)])
async def test_recycling(maria: MariaPlace, adapter: ModuleType, recycle: int, is_kept: bool) -> None:  # noqa: FBT001
    """A connection that was idle for longer than `pool_recycle` is replaced."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, pool_recycle=recycle) as pool:
        _, first = await who(pool)
        await maria.execute("SELECT 1")
        _, second = await who(pool)
        assert (first == second) is is_kept


async def test_closing_waits(maria: MariaPlace, adapter: ModuleType) -> None:
    """The block ends when all connections are returned; nobody else gets one meanwhile, nor afterwards."""
    await maria.app()
    held = asyncio.Event()
    returned = asyncio.Event()

    async def hold(pool: Any) -> None:  # noqa: ANN401
        async with pool.acquire():
            held.set()
            await returned.wait()

    async with maria.manager() as manager:
        async with adapter.create_pool(manager, maxsize=1) as pool:
            holder = asyncio.create_task(hold(pool))
            await held.wait()
            waiting = asyncio.create_task(who(pool))
            await turns()
            asyncio.get_running_loop().call_later(0.01, returned.set)
        assert returned.is_set()
        assert pool.closed if hasattr(pool, "closed") else pool._closed
        with pytest.raises(RuntimeError, match="The pool is closed"):
            await waiting
        with pytest.raises(RuntimeError, match="The pool is closed"):
            await who(pool)
        await holder
    assert await maria.all_closed()


async def test_closing_ends_attempts(maria: MariaPlace, adapter: ModuleType) -> None:
    """An attempt to connect that would search for its whole budget is ended with the block."""
    await maria.app()
    async with maria.manager() as manager:
        async with adapter.create_pool(manager) as pool:
            await maria.set_password("app", "another")
            async with pool.acquire():
                searching = asyncio.create_task(who(pool))
                await maria.refusals("app", 1)
        with pytest.raises(RuntimeError, match="The pool is closed"):
            await searching
    assert await maria.all_closed()


@pytest.mark.parametrize("error", [None, TimeoutError("the driver's own")])
async def test_a_connection_that_comes_too_late(
    maria: MariaPlace, adapter: ModuleType, gate: Gate, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """A connection that is made although the pool was closed meanwhile is closed; an error is raised as it is."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, minsize=0) as pool:
        gate.opened.clear()
        connecting = asyncio.create_task(who(pool))
        await gate.reached.wait()
        # As asyncio.wait_for does on Python 3.11, which may swallow a cancellation.
        monkeypatch.setattr(pool._attempts, "interrupt", lambda: None)
        pool.close()
        gate.error = error
        gate.opened.set()
        with pytest.raises(TimeoutError if error else RuntimeError, match="own" if error else "The pool is closed"):
            await connecting
    assert await maria.all_closed()


@one_driver
async def test_cancelled_while_it_closes(maria: MariaPlace, adapter: ModuleType) -> None:
    """A caller who is cancelled while the block waits for connections closes them all, and then hears of it."""
    await maria.app()
    closing = asyncio.Event()
    async with maria.manager() as manager:
        pools: list[Any] = []

        async def opened() -> None:
            async with adapter.create_pool(manager, minsize=2) as pool:
                pools.append((pool, await pool.acquire()))
                closing.set()

        task = asyncio.create_task(opened())
        await closing.wait()
        await turns()
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await maria.all_closed()
        pool, connection = pools[0]
        pool.release(connection)


async def test_terminating(maria: MariaPlace, adapter: ModuleType) -> None:
    """`terminate` closes what is idle, what is in use and what is being closed."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, minsize=3) as pool:
        connection = await pool.acquire()
        pool._quit(pool._free.popleft())
        pool.terminate()
        assert pool.freesize == 0
        pool.release(connection)
    assert await maria.all_closed()


async def test_waiting_without_closing(maria: MariaPlace, adapter: ModuleType) -> None:
    """A pool that wasn't closed can't be waited for."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager) as pool:
        with pytest.raises(RuntimeError, match=r"Call close\(\)"):
            await pool.wait_closed()


async def test_how_many(maria: MariaPlace, name: str, adapter: ModuleType) -> None:
    """With aiomysql, 0 is any number of connections; asyncmy would lose each connection that is returned."""
    await maria.app()
    async with maria.manager() as manager:
        if name == "asyncmy":
            with pytest.raises(ValueError, match="maxsize is 0"):
                async with adapter.create_pool(manager, minsize=0, maxsize=0):
                    """Isn't reached."""
            return
        async with adapter.create_pool(manager, maxsize=0) as pool, pool.acquire(), pool.acquire():
            assert pool.size == 2


@one_driver
async def test_max_wait(maria: MariaPlace, adapter: ModuleType, gate: Gate) -> None:
    """No caller waits longer than `max_wait`, and a connection that comes too late is given to the next one."""
    await maria.app()
    async with maria.manager() as manager:
        await manager.get()
        async with adapter.create_pool(manager, minsize=0, maxsize=1, max_wait=0.1) as pool:
            gate.opened.clear()
            with pytest.raises(TimeoutError, match=r"which is max_wait\. The caller waited for the server's answer"):
                await who(pool)
            gate.opened.set()
            async with pool.acquire():
                with pytest.raises(TimeoutError, match="a free connection of the pool"):
                    await who(pool)
            assert (await who(pool))[0] == "app"
        gate.opened.clear()
        with pytest.raises(TimeoutError, match="which is max_wait"):
            await adapter.connect(manager, max_wait=0.05)


async def test_a_driver_that_has_changed(
    name: str, driver: ModuleType, adapter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver whose pool has lost what the adapter needs is refused with a sentence, and doesn't half work."""
    manager: Any = object()
    if name == "asyncmy":
        # A class of Cython keeps its attributes where no test can remove them.
        monkeypatch.delattr(driver.Pool, "_acquire")
    else:
        init = driver.Pool.__init__

        def changed(pool: Any, **options: Any) -> None:  # noqa: ANN401
            init(pool, **options)
            del pool._recycle

        monkeypatch.setattr(driver.Pool, "__init__", changed)
    with pytest.raises(RuntimeError, match=r"has no _(acquire|recycle): install an older version"):
        async with adapter.create_pool(manager):
            """Isn't reached."""
