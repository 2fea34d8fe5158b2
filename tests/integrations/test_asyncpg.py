"""asyncpg against a real PostgreSQL: the pool through rotations, and each way in which connecting fails."""

from __future__ import annotations

import asyncio
import logging
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, SecretNotFoundError
from integrations.postgres import CANARY
from integrations.rotation_load import Adapter, check, measure

asyncpg = pytest.importorskip("asyncpg")

from aiocredentials.integrations.asyncpg import connect, create_pool  # noqa: E402 (after importorskip)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiocredentials import DatabaseCredentials
    from integrations.postgres import Place
    from integrations.rotation_load import Query, Record

CHURN: dict[str, Any] = {"min_size": 2, "max_size": 5, "max_queries": 8}


@pytest.mark.load
@pytest.mark.timeout(90)
async def test_rotations_under_load(place: Place, record_rotation: Record) -> None:
    """Through five rotations with open windows no query fails or waits longer, where a password read once fails."""

    @asynccontextmanager
    async def bridged(manager: AsyncCredentialsManager[DatabaseCredentials]) -> AsyncIterator[Query]:
        async with create_pool(manager, **CHURN) as pool:
            yield lambda: pool.execute(place.sleep)

    @asynccontextmanager
    async def control(credentials: DatabaseCredentials) -> AsyncIterator[Query]:
        async with asyncpg.create_pool(credentials.as_dsn(), **CHURN) as pool:
            yield lambda: pool.execute(place.sleep)

    runs = await measure(place, {"asyncpg": Adapter(bridged, control)})
    check(runs, await place.logins(), record_rotation)


async def test_first_connection(place: Place) -> None:
    """A pool, and a single connection, sign in with the secret's user and password, where the secret says."""
    await place.app()
    async with place.manager() as manager:
        async with create_pool(manager, min_size=2) as pool:
            assert await pool.fetchval("SELECT current_user") == "app"
            assert len(await place.sessions("app")) == 2
            assert CANARY not in f"{pool!r} {pool._connect_kwargs} {pool._connect_args} {pool._connect!r}"
        assert await place.all_closed()
        connection = await connect(manager)
        assert await connection.fetchval("SELECT current_user") == "app"
        await connection.close()


async def test_what_the_caller_says_goes_first(place: Place) -> None:
    """Host, port and database of the caller go before those of the secret, each for itself."""
    await place.app()
    place.secrets.create("db", place.fields("app", CANARY, host="db.invalid", port=1))
    server = place.server
    dsn = f"postgresql://{server.host}:{server.port}/postgres?application_name=mine"
    async with place.manager() as manager:
        async with create_pool(manager, dsn, min_size=1) as pool:
            assert await pool.fetchval("SHOW application_name") == "mine"
        async with create_pool(manager, host=server.host, port=server.port, min_size=1) as pool:
            assert await pool.fetchval("SELECT current_user") == "app"


@pytest.mark.parametrize(
    ("dsn", "secret"),
    [
        ("postgresql:///?application_name=mine", {}),
        ("postgresql://?application_name=mine", {}),
        ("postgresql://{host}/?application_name=mine", {"host": "db.invalid"}),
        ("postgresql://{host}:{port}?application_name=mine", {"host": "db.invalid", "port": 1}),
        ("postgresql://{host}:{port},{host}:{port}?application_name=mine", {"host": None, "port": None}),
        ("postgresql:///postgres?application_name=mine", {"dbname": "nowhere"}),
        ("postgresql://?application_name=mine&dbname=postgres", {"dbname": "nowhere"}),
        ("postgresql:///?application_name=mine&host={host}:{port}", {"host": "db.invalid", "port": 1}),
        ("postgresql:///?application_name=mine&host={host}&port={port}", {"host": "db.invalid", "port": 1}),
        ("postgresql://:@/?application_name=mine", {}),
    ],
)
async def test_a_dsn_merges(place: Place, dsn: str, secret: dict[str, Any]) -> None:
    """What a DSN doesn't say of host, port and database, the secret says, each for itself."""
    await place.app()
    place.secrets.create("db", place.fields("app", CANARY, **secret))
    dsn = dsn.format(host=place.server.host, port=place.server.port)
    async with place.manager() as manager:
        connection = await connect(manager, dsn)
        assert await connection.fetchval("SELECT current_database()") == "postgres"
        assert await connection.fetchval("SHOW application_name") == "mine"
        await connection.close()


async def test_no_host(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret without a host isn't signed in with at this machine: the caller or PGHOST has to name one."""
    monkeypatch.delenv("PGHOST", raising=False)
    await place.app()
    place.secrets.create("db", {"username": "app", "password": CANARY, "hostname": place.server.host})
    where = {"port": place.server.port, "database": "postgres"}
    async with place.manager() as manager:
        for dsn in (None, "postgresql:///postgres"):
            with pytest.raises(ValueError, match=r"names no host; .* give host="):
                await connect(manager, dsn, **where)
            with pytest.raises(ValueError, match="names no host"):
                async with create_pool(manager, dsn, host=None, **where):
                    """Isn't reached."""
        monkeypatch.setenv("PGHOST", place.server.host)
        connection = await connect(manager, **where)
        await connection.close()
    assert "password" not in place.log()


async def test_what_is_none_is_not_given(place: Place) -> None:
    """Options that are None are as if they weren't there: libraries hand all of them on."""
    await place.app()
    nothing = dict.fromkeys(("user", "password", "host", "port", "database"))
    async with place.manager() as manager, create_pool(manager, min_size=1, **nothing) as pool:
        assert await pool.fetchval("SELECT current_user") == "app"


async def test_how_to_connect_is_the_adapters() -> None:
    """A `connect` of the caller's own is refused with a sentence."""
    manager: Any = object()
    with pytest.raises(ValueError, match=r"leave out connect=\."):
        async with create_pool(manager, connect=asyncpg.connect):
            """Isn't reached."""


@pytest.mark.parametrize(
    ("dsn", "options"),
    [
        (f"postgresql://me:{CANARY}@db.example/app", {}),
        ("postgresql://me@db.example/app", {}),
        (f"postgresql:///app?password={CANARY}", {}),
        (None, {"user": "me"}),
        (None, {"password": CANARY}),
    ],
)
async def test_a_password_of_the_callers_is_refused(dsn: str | None, options: dict[str, Any]) -> None:
    """User and password come from the secret alone: who gives others is told, before anything is asked."""
    manager: Any = object()
    with pytest.raises(ValueError, match="come from the secret") as pooled:
        async with create_pool(manager, dsn, **options):
            """Isn't reached."""
    with pytest.raises(ValueError, match="come from the secret") as single:
        await connect(manager, dsn, **options)
    assert CANARY not in f"{pooled.value!r} {single.value!r}"


async def test_without_decode(place: Place) -> None:
    """A manager that gives plain JSON is refused with what to do, and without the value in the error."""
    await place.app()
    async with place.manager() as other:
        manager: Any = AsyncCredentialsManager("db", pool=other._pool)
        with pytest.raises(TypeError, match="decode=DatabaseCredentials") as caught:
            await connect(manager)
        assert CANARY not in repr(vars(caught.value))


async def test_a_password_that_stays_wrong(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """When the budget is spent the server's refusal is raised, and no value with it, nor in a frame of ours."""
    await place.app()
    await place.set_password("app", "another")
    caplog.set_level(logging.DEBUG)
    async with place.manager() as manager:
        with pytest.raises(asyncpg.InvalidPasswordError) as caught:
            async with create_pool(manager, budget=0.2):
                """Isn't reached."""
    assert "Compare its user and password with the server's" in caught.value.__notes__[0]
    assert """It answered: InvalidPasswordError: password authentication failed for user "app\"""" in caplog.text
    assert CANARY not in f"{caught.value!r} {caplog.text}"
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if "aiocredentials" in frame.f_code.co_filename:
            assert CANARY not in repr(frame.f_locals)


async def test_other_errors(place: Place) -> None:
    """An error that isn't about the password is raised after one attempt, as asyncpg raises it."""
    await place.app()
    async with place.manager() as manager:
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await connect(manager, database="nowhere")
        with pytest.raises(ConnectionRefusedError):
            async with create_pool(manager, port=1):
                """Isn't reached."""
        async with place.rejecting("app"):
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match=r"pg_hba\.conf"):
                await connect(manager)
    assert place.secrets.fetches["db"] == 1


async def test_a_secret_that_is_missing(place: Place) -> None:
    """An error of Secrets Manager comes as it is."""
    async with place.manager("nothing") as manager:
        with pytest.raises(SecretNotFoundError):
            async with create_pool(manager):
                """Isn't reached."""


async def test_one_of_the_first_connections_fails(place: Place) -> None:
    """Where the server takes too few connections, those that were made are closed, and no task is left."""
    await place.app(options="CONNECTION LIMIT 2")
    async with place.manager() as manager:
        with pytest.raises(asyncpg.TooManyConnectionsError):
            async with create_pool(manager, min_size=5, max_size=5):
                """Isn't reached."""
    assert await place.all_closed()


async def test_a_rotation_renews_the_connections(place: Place) -> None:
    """With a new version, connections are replaced as they are next acquired; one that is in use goes on."""
    await place.app()
    async with place.manager() as manager, create_pool(manager, min_size=2, max_size=4) as pool:
        await place.role("app2", "new")
        place.secrets.pend("db", place.fields("app2", "new"))
        place.secrets.promote("db")
        async with pool.acquire() as held:
            await manager.refresh()
            while await pool.fetchval("SELECT current_user") != "app2":
                """The listener hasn't run."""
            assert await held.fetchval("SELECT current_user") == "app"
        assert {await pool.fetchval("SELECT current_user") for _ in range(4)} == {"app2"}
    assert await place.all_closed()
    assert await place.all_closed("app2")


async def test_a_version_that_cant_be_used(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """If the new version can't be decoded, open connections stay in use, until one comes that can be."""
    await place.app()
    async with place.manager() as manager, create_pool(manager, min_size=1, max_size=1) as pool:
        place.secrets.pend("db", {"user": "app2"})
        place.secrets.promote("db")
        await manager.refresh()
        while "can't be used, so open connections are kept" not in caplog.text:
            assert await pool.fetchval("SELECT current_user") == "app"
        assert await pool.fetchval("SELECT current_user") == "app"

        await place.role("app2", "new")
        place.secrets.pend("db", place.fields("app2", "new"))
        place.secrets.promote("db")
        await manager.refresh()
        while await pool.fetchval("SELECT current_user") != "app2":
            """The listener hasn't run."""


async def test_a_rotation_while_it_opens(place: Place) -> None:
    """A rotation that is fetched while the first connections are made isn't missed: they are replaced."""
    await place.app()
    await place.role("app2", "new")

    async def init(_: object) -> None:
        if "AWSPREVIOUS" not in place.secrets.labels("db"):
            place.secrets.pend("db", place.fields("app2", "new"))
            place.secrets.promote("db")
            await manager.refresh()

    options: dict[str, Any] = {"min_size": 2, "max_size": 2, "max_queries": 1_000_000_000}
    async with place.manager() as manager, create_pool(manager, init=init, **options) as pool, asyncio.timeout(10):
        while await pool.fetchval("SELECT current_user") != "app2":
            """The listener hasn't run."""
        async with pool.acquire() as one, pool.acquire() as two:
            assert {await each.fetchval("SELECT current_user") for each in (one, two)} == {"app2"}
        assert await place.all_closed()


@pytest.mark.parametrize("stages", [("AWSPENDING",), ()])
async def test_stages(place: Place, stages: tuple[str, ...]) -> None:
    """With AWSPENDING the window is bridged at once; without it, as AWSCURRENT moves."""
    await place.app()
    await place.set_password("app", "new")
    place.secrets.pend("db", place.fields("app", "new"))
    async with place.manager() as manager:
        opening = asyncio.create_task(connect(manager, stages=stages))
        if not stages:
            await place.refusals("app", 2)
            assert not opening.done()
            place.secrets.promote("db")
        connection = await opening
        assert await connection.fetchval("SELECT current_user") == "app"
        await connection.close()


async def test_the_pair_is_of_one_version(place: Place) -> None:
    """With another user comes that user's password, also where the old user's would be taken."""
    await place.app()
    await place.role("app2", "new")
    async with place.manager() as manager:
        assert (await manager.get()).username == "app"
        await place.set_password("app", "gone")
        place.secrets.pend("db", place.fields("app2", "new"))
        place.secrets.promote("db")
        connection = await connect(manager)
        assert await connection.fetchval("SELECT current_user") == "app2"
        await connection.close()
    assert place.secrets.fetches["db"] == 2


@pytest.mark.parametrize("refused", [True, False])
async def test_cancelled_while_it_opens(place: Place, *, refused: bool) -> None:
    """Who gives up while the pool opens leaves no task and no connection."""
    await place.app()
    if refused:
        await place.set_password("app", "another")
    ready = asyncio.Event()

    async def init(_: object) -> None:
        ready.set()
        await asyncio.Event().wait()

    async with place.manager() as manager:

        async def opened() -> None:
            async with create_pool(manager, init=init):
                """Isn't reached."""

        opening = asyncio.create_task(opened())
        await (place.refusals("app", 2) if refused else ready.wait())
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert await place.all_closed()


async def test_an_error_in_the_block(place: Place) -> None:
    """What the block raises goes through, and the pool is closed."""
    await place.app()
    async with place.manager() as manager:
        with pytest.raises(LookupError):
            async with create_pool(manager, min_size=1):
                raise LookupError
    assert await place.all_closed()
