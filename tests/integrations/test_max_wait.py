"""`max_wait`: no caller waits longer for its connection, whatever hangs, and nothing is lost when a wait is cut."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsError
from integrations.waiting import ADAPTERS, HOST, PASSWORD, SHORT, Adapter, Source, freezing_proxy, silent_server

if TYPE_CHECKING:
    from integrations.mariadb import MariaPlace
    from integrations.postgres import Place

LIMIT = rf"No connection within {SHORT} s, which is max_wait\. The caller waited for "


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """Each adapter."""
    found = ADAPTERS[request.param]
    pytest.importorskip(found.module)
    return found


@pytest.fixture
def database(adapter: Adapter, request: pytest.FixtureRequest) -> Place | MariaPlace:
    """A real server for the adapter."""
    found: Place | MariaPlace = request.getfixturevalue(adapter.kind.fixture)
    return found


async def use(acquire: Any) -> None:  # noqa: ANN401
    """Get a connection as a request does, and give it back."""
    async with acquire():
        """Nothing is asked."""


async def patiently(acquire: Any, error: type[Exception]) -> None:  # noqa: ANN401
    """Get a first connection, which needs longer than the others, and may be cut too."""
    while True:
        with contextlib.suppress(error):
            return await use(acquire)


@pytest.mark.parametrize("when", ["connect", "login"])
async def test_a_silent_server(adapter: Adapter, when: str) -> None:
    """An attempt that hangs in the driver is cut, the socket is closed, and the slot serves the next caller."""
    hanging = silent_server() if when == "connect" else adapter.kind.hung_login()
    async with hanging as server:
        async with adapter.open(Source(), server.port, max_wait=0.05) as acquire:
            for _ in range(2):
                with pytest.raises(adapter.error(), match=r"No connection within 0\.05 s, which is max_wait"):
                    await use(acquire)
        assert server.accepted


async def test_a_hung_secret(adapter: Adapter) -> None:
    """A fetch that hangs is cut for the caller."""
    source = Source()
    async with adapter.open(source, 1, max_wait=SHORT) as acquire:
        source.hangs = True
        with pytest.raises(adapter.error(), match=f"{LIMIT}the credentials from AWS"):
            await use(acquire)


async def test_refusals(adapter: Adapter) -> None:
    """A search is cut; the note has the server's last words, and no password."""
    async with (
        adapter.kind.refusing() as server,
        adapter.open(Source(), server.port, max_wait=0.1, budget=60) as acquire,
    ):
        with pytest.raises(adapter.error(), match=r"credentials that the server accepts") as caught:
            await use(acquire)
    (note,) = caught.value.__notes__
    assert adapter.kind.words in note
    assert PASSWORD not in repr(caught.value) + note


async def test_callers_behind_a_search(adapter: Adapter) -> None:
    """Callers that wait for the pool's one slot while another searches are cut too, with the same reason."""
    async with (
        adapter.kind.refusing() as server,
        adapter.open(Source(), server.port, max_wait=0.1, budget=60) as acquire,
    ):
        results = await asyncio.gather(*(use(acquire) for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {adapter.error()}
    notes = [result.__notes__[0] for result in results if isinstance(result, Exception)]
    assert all(adapter.kind.words in note for note in notes)


async def test_an_unavailable_secret_is_the_reason(adapter: Adapter) -> None:
    """Where the secret can't be loaded, its error is raised at once, also with a limit."""
    source = Source()
    async with adapter.open(source, 1, max_wait=5) as acquire:
        source.error = CredentialsError("No credentials.")
        with pytest.raises(CredentialsError, match="No credentials"):
            await use(acquire)


async def test_a_full_pool(database: Place | MariaPlace, adapter: Adapter) -> None:
    """A caller behind a full pool is cut, its place in the queue goes to the next, and the slot isn't lost."""
    await database.app(PASSWORD)
    async with adapter.open(Source(), database.server.port, max_wait=SHORT) as acquire:
        await patiently(acquire, adapter.error())
        async with acquire():
            results = await asyncio.gather(*(use(acquire) for _ in range(3)), return_exceptions=True)
            assert {type(result) for result in results} == {adapter.error()}
            assert "a free connection of the pool" in str(results[0])
            waiting = asyncio.create_task(use(acquire))
            await asyncio.sleep(0)
        await waiting
        await use(acquire)
    assert await database.all_closed()


@pytest.mark.parametrize("adapter", [name for name, adapter in ADAPTERS.items() if adapter.checks], indirect=True)
async def test_a_dead_network(place: Place, adapter: Adapter) -> None:
    """An idle connection whose network is dead holds no caller when the pool asks the server; then the slot is free."""
    await place.app(PASSWORD)
    async with (
        freezing_proxy(place.server.port) as proxy,
        adapter.open(Source(), proxy.port, max_wait=SHORT, **adapter.checks) as acquire,
    ):
        await patiently(acquire, adapter.error())
        proxy.frozen = True
        began = asyncio.get_running_loop().time()
        with pytest.raises(adapter.error(), match=f"{LIMIT}the server's answer to the pool, which checks"):
            await use(acquire)
        assert asyncio.get_running_loop().time() - began < 1
    assert await place.all_closed()


BUDGET, POOL_TIMEOUT = 0.05, 0.3  # what the page calls B and T
ONE_AFTER_THE_OTHER = [BUDGET, 2 * BUDGET, 3 * BUDGET, 4 * BUDGET]
ADDED_UP = {
    "asyncpg": ONE_AFTER_THE_OTHER,
    "aiomysql": ONE_AFTER_THE_OTHER,
    "asyncmy": ONE_AFTER_THE_OTHER,
    # A permanent error ends the waits of all callers.
    "psycopg": [BUDGET] * 4,
    # A caller that waits isn't woken when another one's attempt fails.
    "sqlalchemy": [BUDGET, POOL_TIMEOUT, POOL_TIMEOUT, POOL_TIMEOUT + BUDGET],
}


async def test_the_waits_add_up(adapter: Adapter) -> None:
    """Without `max_wait`, callers behind a full pool wait as long as the page says: the budget is one connection's."""

    async def waited() -> float:
        began = time.monotonic()
        with pytest.raises(Exception, match=f"{adapter.kind.words}|QueuePool limit"):
            await use(acquire)
        return time.monotonic() - began

    options = {"pool_timeout": POOL_TIMEOUT} if adapter.module == "sqlalchemy" else {}
    module = adapter.module.removesuffix("_pool")
    async with (
        adapter.kind.refusing() as server,
        adapter.open(Source(), server.port, budget=BUDGET, **options) as acquire,
    ):
        waits = sorted(await asyncio.gather(*(waited() for _ in range(4))))
    for wait, expected in zip(waits, ADDED_UP[module], strict=True):
        assert wait > expected * 0.95


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_connect(driver: str) -> None:
    """A single connection has the same limit, and leaves no socket open."""
    module = pytest.importorskip(f"aiocredentials.integrations.{driver}")
    where = {"host": HOST, "ssl": False} if driver == "asyncpg" else {"host": HOST, "sslmode": "disable"}
    async with silent_server() as server:
        with pytest.raises(Exception, match=f"{LIMIT}the server's answer") as caught:
            await module.connect(Source(), port=server.port, max_wait=SHORT, **where)
    assert type(caught.value).__name__ in {"TimeoutError", "ConnectionTimeout"}


class Stubborn(Source):
    """A secret of which one fetch hangs, and goes on when it is cancelled."""

    async def secret(self, *, version_stage: str | None = None) -> Any:  # noqa: ANN401
        """Return the one version."""
        if self.hangs:
            self.hangs = False
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return await super().secret(version_stage=version_stage)


async def finished(before: set[asyncio.Task[Any]]) -> None:
    """Wait until no other tasks are left than before."""
    while others := asyncio.all_tasks() - before:
        await asyncio.wait(others)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_connect_too_late(place: Place, driver: str) -> None:
    """A single connection that is made although its caller has gone is closed."""
    await place.app(PASSWORD)
    module = pytest.importorskip(f"aiocredentials.integrations.{driver}")
    base = pytest.importorskip(driver)
    closed: list[object] = []

    def terminate(self: Any) -> None:  # noqa: ANN401
        closed.append(self)
        base.Connection.terminate(self)

    async def close(self: Any) -> None:  # noqa: ANN401
        closed.append(self)
        await base.AsyncConnection.close(self)

    options = {"host": HOST, "port": place.server.port}
    if driver == "asyncpg":
        cls = type("Connection", (base.Connection,), {"terminate": terminate})
        options |= {"database": "postgres", "connection_class": cls}
    else:
        cls = type("Connection", (base.AsyncConnection,), {"close": close})
        options |= {"dbname": "postgres", "connection_class": cls}
    before = asyncio.all_tasks()
    source = Stubborn()
    source.hangs = True
    with pytest.raises(Exception, match=f"{LIMIT}the credentials from AWS"):
        await module.connect(source, max_wait=SHORT, **options)
    await finished(before)
    assert len(closed) == 1
    assert await place.all_closed()


async def test_too_late_for_a_pool(database: Place | MariaPlace, adapter: Adapter) -> None:
    """A connection that is made although its caller has gone is the pool's, for the next caller."""
    await database.app(PASSWORD)
    source = Stubborn()
    async with adapter.open(source, database.server.port, max_wait=SHORT) as acquire:
        before = asyncio.all_tasks()
        source.hangs = True
        with pytest.raises(adapter.error(), match="the credentials from AWS"):
            await use(acquire)
        if adapter.module != "psycopg_pool":  # its attempts go on in any case
            await finished(before)
            assert len(await database.sessions("app")) == 1
            await use(acquire)
            assert len(await database.sessions("app")) == 1
    assert await database.all_closed()


async def test_acquiring(place: Place) -> None:
    """All of asyncpg's ways to get a connection are limited, and its own `timeout` holds if it is shorter."""
    create_pool = pytest.importorskip("aiocredentials.integrations.asyncpg").create_pool
    await place.app(PASSWORD)
    where = {"host": HOST, "port": place.server.port, "database": "postgres"}
    async with create_pool(Source(), min_size=1, max_size=1, max_wait=SHORT, **where) as pool:
        assert await pool.fetchval("SELECT current_user") == "app"
        connection = await pool.acquire()
        ways = [
            pool.fetch("SELECT 1"),
            pool.fetchrow("SELECT 1"),
            pool.fetchval("SELECT 1"),
            pool.execute("SELECT 1"),
            pool.executemany("SELECT $1", [["1"]]),
            pool.acquire(),
            pool.acquire(timeout=5),
        ]
        results = await asyncio.gather(*ways, return_exceptions=True)
        assert {type(result) for result in results} == {TimeoutError}
        assert {str(result)[:32] for result in results} == {"No connection within 0.1 s, whic"}
        with pytest.raises(TimeoutError) as caught:
            await pool.acquire(timeout=0.01)
        assert not str(caught.value)
        await pool.release(connection)
        assert await pool.fetchval("SELECT current_user") == "app"


async def test_an_engine_of_other_code(place: Place) -> None:
    """An engine that other code made has the limit while the block lasts, with any pool, and not afterwards."""
    sqlalchemy = pytest.importorskip("sqlalchemy.ext.asyncio")
    pool = pytest.importorskip("sqlalchemy.pool")
    adapter = pytest.importorskip("aiocredentials.integrations.sqlalchemy")
    await place.app(PASSWORD)
    url = f"postgresql+asyncpg://{HOST}:{place.server.port}/postgres"
    engine = sqlalchemy.create_async_engine(url, poolclass=pool.NullPool)
    source = Source()
    for _ in range(2):
        source.hangs = False
        async with adapter.use_credentials(engine, source, max_wait=SHORT):
            await patiently(engine.connect, ADAPTERS["sqlalchemy+asyncpg"].error())
            await engine.dispose()
            source.hangs = True
            with pytest.raises(ADAPTERS["sqlalchemy+asyncpg"].error(), match="the credentials from AWS"):
                await use(engine.connect)
        assert type(engine.pool) is pool.NullPool
    assert await place.all_closed()


async def test_outside_of_a_greenlet(place: Place) -> None:
    """Sync code that gets an idle connection from the pool, which needs no waiting, gets it with a limit as well."""
    adapter = ADAPTERS["sqlalchemy+asyncpg"]
    pytest.importorskip(adapter.module)
    util = pytest.importorskip("sqlalchemy.util")
    await place.app(PASSWORD)
    async with adapter.open(Source(), place.server.port, max_wait=5) as acquire:
        await use(acquire)
        connection = acquire.__self__.pool.connect()
        await util.greenlet_spawn(connection.close)
        await use(acquire)
    assert await place.all_closed()
