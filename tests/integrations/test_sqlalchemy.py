"""SQLAlchemy's async engine, on both drivers, against a real PostgreSQL: through rotations, and where it fails."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, SecretNotFoundError
from aiocredentials.rotation import is_auth_error
from integrations.postgres import CANARY
from integrations.rotation_load import Adapter, check, measure

sqlalchemy = pytest.importorskip("sqlalchemy")
pytest.importorskip("greenlet")

from sqlalchemy import event, text  # noqa: E402 (after importorskip)
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio  # noqa: E402
from sqlalchemy.pool import NullPool  # noqa: E402

from aiocredentials.integrations.sqlalchemy import create_async_engine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiocredentials import DatabaseCredentials
    from integrations.postgres import Place
    from integrations.rotation_load import Query, Record

CHURN: dict[str, Any] = {"pool_size": 5, "max_overflow": 0, "pool_recycle": 1}


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver."""
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def url(driver: str) -> str:
    """A URL that names the driver, and leaves the rest to the secret."""
    return f"postgresql+{driver}://"


async def who(engine: sqlalchemy_asyncio.AsyncEngine) -> tuple[str, int]:
    """Return as whom a connection of the engine is signed in, and which process of the server it has."""
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT current_user, pg_backend_pid()"))).one()
    return row[0], row[1]


@pytest.mark.load
@pytest.mark.timeout(90)
async def test_rotations_under_load(place: Place, driver: str, url: str, record_rotation: Record) -> None:
    """Through five rotations with open windows no query fails or waits longer, where a password read once fails."""

    def querying(engine: sqlalchemy_asyncio.AsyncEngine) -> Query:
        async def query() -> None:
            async with engine.connect() as connection:
                await connection.execute(text(place.sleep))

        return query

    @asynccontextmanager
    async def bridged(manager: AsyncCredentialsManager[DatabaseCredentials]) -> AsyncIterator[Query]:
        async with create_async_engine(manager, url, **CHURN) as engine:
            yield querying(engine)

    @asynccontextmanager
    async def control(credentials: DatabaseCredentials) -> AsyncIterator[Query]:
        engine = sqlalchemy_asyncio.create_async_engine(credentials.as_dsn(scheme=f"postgresql+{driver}"), **CHURN)
        try:
            yield querying(engine)
        finally:
            await engine.dispose()

    runs = await measure(place, {f"sqlalchemy+{driver}": Adapter(bridged, control)})
    check(runs, await place.logins(), record_rotation)


async def test_first_connection(place: Place, url: str) -> None:
    """An engine signs in with the secret's user and password, where the secret says; it is closed with its block."""
    await place.app()
    async with place.manager() as manager:
        async with create_async_engine(manager, url) as engine:
            assert (await who(engine))[0] == "app"
            assert CANARY not in f"{engine!r} {engine.url!r} {vars(engine.sync_engine)} {vars(engine.pool)}"
        assert await place.all_closed()
        async with create_async_engine(manager, url, poolclass=NullPool) as engine:
            assert (await who(engine))[0] == "app"


async def test_what_the_caller_says_goes_first(place: Place, url: str) -> None:
    """Host, port and database of the URL go before those of the secret; options of URL and connect_args arrive."""
    await place.app()
    place.secrets.create("db", place.fields("app", CANARY, host="db.invalid", port=1))
    server = place.server
    options: dict[str, Any] = {"server_settings": {"application_name": "mine"}}
    if "psycopg" in url:
        options = {"application_name": "mine"}
    where = f"{url}{server.host}:{server.port}/postgres"
    async with (
        place.manager() as manager,
        create_async_engine(manager, where, connect_args=options) as engine,
        engine.connect() as connection,
    ):
        assert (await connection.execute(text("SHOW application_name"))).scalar() == "mine"


async def test_no_host(place: Place, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret without a host isn't signed in with at this machine: the URL or PGHOST has to name one."""
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    await place.app()
    place.secrets.create("db", {"username": "app", "password": CANARY, "hostname": place.server.host})
    where = {"port": place.server.port}
    async with place.manager() as manager:
        async with create_async_engine(manager, f"{url}/postgres", connect_args={"host": None, **where}) as engine:
            with pytest.raises(ValueError, match=r"names no host; .*: name it in the engine's URL"):
                await who(engine)
            monkeypatch.setenv("PGHOST", place.server.host)
            assert (await who(engine))[0] == "app"
        monkeypatch.delenv("PGHOST")
        query = f"?host={place.server.host}&port={place.server.port}"
        async with create_async_engine(manager, f"{url}/postgres{query}") as engine:
            assert (await who(engine))[0] == "app"


async def test_what_is_none_is_not_given(place: Place, url: str) -> None:
    """User, password and place that are None are as if they weren't there: libraries hand all of them on."""
    await place.app()
    nothing = dict.fromkeys(("user", "password", "host", "port", "dbname" if "psycopg" in url else "database"))
    async with place.manager() as manager, create_async_engine(manager, url, connect_args=nothing) as engine:
        assert (await who(engine))[0] == "app"


@pytest.mark.parametrize("name", ["creator", "async_creator"])
async def test_how_to_connect_is_the_adapters(url: str, name: str) -> None:
    """A creator of the caller's own is refused with a sentence."""
    manager: Any = object()
    with pytest.raises(ValueError, match=r"leave out creator= and async_creator=\."):
        async with create_async_engine(manager, url, **{name: lambda: None}):
            """Isn't reached."""


async def test_a_host_with_a_port(url: str) -> None:
    """A host that holds its port is refused with what to do."""
    manager: Any = object()
    with pytest.raises(ValueError, match=r"give it without its port, which is port=\."):
        async with create_async_engine(manager, url, connect_args={"host": "db.example:5432"}):
            """Isn't reached."""


async def test_the_dialects_own_options(place: Place) -> None:
    """Options that the dialect takes for itself do reach it, as in a URL without a creator."""
    pytest.importorskip("asyncpg")
    await place.app()
    url = "postgresql+asyncpg://?prepared_statement_cache_size=0"
    async with place.manager() as manager, create_async_engine(manager, url) as engine, engine.connect() as connection:
        raw = await connection.get_raw_connection()
        assert raw.dbapi_connection._prepared_statement_cache is None


@pytest.mark.parametrize(
    ("rest", "connect_args"),
    [
        (f"me:{CANARY}@db.example/app", {}),
        ("me@db.example/app", {}),
        (f"db.example/app?password={CANARY}", {}),
        ("", {"user": "me"}),
        ("", {"password": CANARY}),
    ],
)
async def test_a_password_of_the_callers_is_refused(url: str, rest: str, connect_args: dict[str, Any]) -> None:
    """User and password come from the secret alone: who gives others is told, without seeing them."""
    manager: Any = object()
    with pytest.raises(ValueError, match="come from the secret") as caught:
        async with create_async_engine(manager, url + rest, connect_args=connect_args):
            """Isn't reached."""
    assert CANARY not in repr(caught.value)


async def test_another_driver_is_refused() -> None:
    """A driver that this isn't made for is refused with those that it is made for."""
    manager: Any = object()
    module = SimpleNamespace(sqlite_version_info=(3, 45, 0), paramstyle="qmark", has_stop=True)  # in place of aiosqlite
    with pytest.raises(ValueError, match="asyncpg, psycopg, aiomysql or asyncmy"):
        async with create_async_engine(manager, "sqlite+aiosqlite://", module=module):
            """Isn't reached."""


async def test_without_decode(place: Place, url: str) -> None:
    """A manager that gives plain JSON is refused with what to do, and without the value in the error."""
    await place.app()
    async with place.manager() as other:
        manager: Any = AsyncCredentialsManager("db", pool=other._pool)
        async with create_async_engine(manager, url) as engine:
            with pytest.raises(TypeError, match="decode=DatabaseCredentials") as caught:
                await who(engine)
        assert CANARY not in repr(vars(caught.value))


async def test_a_password_that_stays_wrong(place: Place, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """When the budget is spent, the server's refusal comes, and no value with it, in a chain of any length.

    SQLAlchemy 2.1 and psycopg's dialect wrap it as a `DBAPIError`; 2.0 lets asyncpg's own error through.
    """
    await place.app()
    await place.set_password("app", "another")
    caplog.set_level(logging.DEBUG)
    async with place.manager() as manager, create_async_engine(manager, url, budget=0.2, echo_pool="debug") as engine:
        with pytest.raises(Exception, match="password authentication failed") as caught:
            await who(engine)
    assert is_auth_error(caught.value)
    assert CANARY not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    orig = getattr(caught.value, "orig", caught.value)
    assert CANARY not in f"{vars(orig)}"
    assert caplog.text.count("the server refused version") == 1


async def test_other_errors(place: Place, url: str) -> None:
    """An error that isn't about the password comes after one attempt."""
    await place.app()
    async with place.manager() as manager:
        async with create_async_engine(manager, f"{url}/nowhere") as engine:
            with pytest.raises(Exception, match='database "nowhere" does not exist'):
                await who(engine)
        async with create_async_engine(manager, f"{url}127.0.0.1:1/postgres") as engine:
            with pytest.raises(Exception, match=r"[Cc]onnect"):
                await who(engine)
    assert place.secrets.fetches["db"] == 1


async def test_a_secret_that_is_missing(place: Place, url: str) -> None:
    """An error of Secrets Manager comes as it is."""
    async with place.manager("nothing") as manager, create_async_engine(manager, url) as engine:
        with pytest.raises(SecretNotFoundError):
            await who(engine)


async def test_a_rotation_renews_the_connections(place: Place, url: str) -> None:
    """With a new version, connections are replaced as they are next checked out; one that is in use goes on."""
    await place.app()
    async with place.manager() as manager, create_async_engine(manager, url) as engine:
        _, old = await who(engine)
        await place.role("app2", "new")
        place.secrets.pend("db", place.fields("app2", "new"))
        place.secrets.promote("db")
        async with engine.connect() as held:
            await manager.refresh()
            while (await who(engine))[0] != "app2":
                """The listener hasn't run."""
            assert (await held.execute(text("SELECT pg_backend_pid()"))).scalar() == old
        assert {(await who(engine))[0] for _ in range(3)} == {"app2"}
    assert await place.all_closed("app2")


async def test_a_rotation_while_it_connects(place: Place, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was begun before a rotation, and is made after it, isn't taken for a new one."""
    await place.app()
    await place.role("app2", "new")
    async with place.manager() as manager, create_async_engine(manager, url, pool_size=2) as engine:
        owner: Any = pytest.importorskip(engine.dialect.driver)
        if engine.dialect.driver == "psycopg":
            owner = owner.AsyncConnection
        connect, began, renewed = owner.connect, [0], asyncio.Event()

        async def slow(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            began[0] += 1
            connection = await connect(*args, **options)
            if began[0] == 2:
                place.secrets.pend("db", place.fields("app2", "new"))
                place.secrets.promote("db")
                await manager.refresh()
                await renewed.wait()
            return connection

        monkeypatch.setattr(owner, "connect", slow)
        async with engine.connect() as first:
            assert (await first.execute(text("SELECT current_user"))).scalar() == "app"
            event.listen(engine.sync_engine, "soft_invalidate", lambda *_: renewed.set())
            async with engine.connect() as second:
                assert (await second.execute(text("SELECT current_user"))).scalar() == "app2"
        assert began[0] == 3
        assert (await who(engine))[0] == "app2"


@pytest.mark.parametrize("stages", [("AWSPENDING",), ()])
async def test_stages(place: Place, url: str, stages: tuple[str, ...]) -> None:
    """With AWSPENDING the window is bridged at once; without it, as AWSCURRENT moves."""
    await place.app()
    await place.set_password("app", "new")
    place.secrets.pend("db", place.fields("app", "new"))
    async with place.manager() as manager, create_async_engine(manager, url, stages=stages) as engine:
        connecting = asyncio.create_task(who(engine))
        if not stages:
            await place.refusals("app", 2)
            assert not connecting.done()
            place.secrets.promote("db")
        assert (await connecting)[0] == "app"


async def test_cancelled_while_it_connects(place: Place, url: str) -> None:
    """Who gives up while it connects leaves no task and no connection."""
    await place.app()
    await place.set_password("app", "another")
    async with place.manager() as manager, create_async_engine(manager, url) as engine:
        connecting = asyncio.create_task(who(engine))
        await place.refusals("app", 2)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
    assert await place.all_closed()


async def test_cancelled_while_it_closes(place: Place, url: str) -> None:
    """A caller who is cancelled while the engine is disposed of waits until that is done."""
    await place.app()
    async with place.manager() as manager:

        async def opened() -> None:
            async with create_async_engine(manager, url) as engine:
                await asyncio.gather(who(engine), who(engine))
                me = asyncio.current_task()
                event.listen(engine.sync_engine, "engine_disposed", lambda _: me.cancel())

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(opened())
    assert await place.all_closed()
