"""psycopg against a real PostgreSQL: the pool through rotations, and each way in which connecting fails."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, PoolClosedError, SecretNotFoundError
from aiocredentials.rotation import is_auth_error
from integrations.postgres import CANARY
from integrations.rotation_load import Adapter, check, measure

psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")

from aiocredentials.integrations.psycopg import connect, create_pool  # noqa: E402 (after importorskip)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiocredentials import DatabaseCredentials
    from integrations.postgres import Place
    from integrations.rotation_load import Query, Record

CHURN: dict[str, Any] = {"min_size": 2, "max_size": 5, "max_lifetime": 1.0}


async def who(pool: psycopg_pool.AsyncConnectionPool[Any]) -> tuple[str, int]:
    """Return as whom a connection of the pool is signed in, and which process of the server it has."""
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT current_user, pg_backend_pid()")
        return await cursor.fetchone()


@pytest.mark.load
@pytest.mark.timeout(90)
async def test_rotations_under_load(place: Place, record_rotation: Record) -> None:
    """Through five rotations with open windows no query fails or waits longer, where a password read once fails."""

    def querying(pool: psycopg_pool.AsyncConnectionPool[Any]) -> Query:
        async def query() -> None:
            async with pool.connection() as connection:
                await connection.execute(place.sleep)

        return query

    @asynccontextmanager
    async def bridged(manager: AsyncCredentialsManager[DatabaseCredentials]) -> AsyncIterator[Query]:
        async with create_pool(manager, kwargs={"autocommit": True}, **CHURN) as pool:
            yield querying(pool)

    @asynccontextmanager
    async def control(credentials: DatabaseCredentials) -> AsyncIterator[Query]:
        options = {"kwargs": {"autocommit": True}, "timeout": 1.0, **CHURN}
        async with psycopg_pool.AsyncConnectionPool(credentials.as_dsn(), open=False, **options) as pool:
            yield querying(pool)

    runs = await measure(place, {"psycopg": Adapter(bridged, control)})
    check(runs, await place.logins(), record_rotation)


async def test_first_connection(place: Place) -> None:
    """A pool, and a single connection, sign in with the secret's user and password, where the secret says."""
    await place.app()
    async with place.manager() as manager:
        async with create_pool(manager, min_size=2) as pool:
            assert (await who(pool))[0] == "app"
            assert len(await place.sessions("app")) == 2
        assert await place.all_closed()
        async with await connect(manager) as connection:
            assert connection.info.user == "app"


async def test_what_the_caller_says_goes_first(place: Place) -> None:
    """Host, port and database of the caller go before those of the secret, which may have none; options arrive."""
    await place.app()
    secret = place.fields("app", CANARY, host="db.invalid", port=1)
    place.secrets.create("db", secret)
    server = place.server
    async with place.manager() as manager:
        conninfo = f"host={server.host} port={server.port} dbname=postgres application_name=mine"
        async with (
            create_pool(manager, conninfo, min_size=1, kwargs={"autocommit": True}) as pool,
            pool.connection() as one,
        ):
            assert one.autocommit
            assert (await (await one.execute("SHOW application_name")).fetchone()) == ("mine",)
        async with await connect(manager, host=server.host, port=server.port) as connection:
            assert connection.info.port == server.port


async def test_no_host(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret without a host isn't signed in with at this machine: the caller or the environment has to name one."""
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE"):
        monkeypatch.delenv(name, raising=False)
    await place.app()
    place.secrets.create("db", {"username": "app", "password": CANARY, "hostname": place.server.host})
    where = {"port": place.server.port, "dbname": "postgres"}
    async with place.manager() as manager:
        with pytest.raises(ValueError, match=r"names no host; .* give host="):
            await connect(manager, "sslmode=prefer", **where)
        with pytest.raises(ValueError, match="names no host"):
            async with create_pool(manager, kwargs={**where, "host": None}):
                """Isn't reached."""
        async with await connect(manager, hostaddr=place.server.host, **where) as connection:
            assert connection.info.user == "app"
        for name in ("PGHOST", "PGHOSTADDR"):
            monkeypatch.setenv(name, place.server.host)
            async with await connect(manager, **where) as connection:
                assert connection.info.user == "app"
            monkeypatch.delenv(name)


@pytest.mark.parametrize("by_environment", [True, False])
async def test_a_service(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_environment: bool
) -> None:
    """A service of libpq's service file names the host where the secret has none."""
    await place.app()
    place.secrets.create("db", {"username": "app", "password": CANARY})
    service = f"[mine]\nhost={place.server.host}\nport={place.server.port}\ndbname=postgres\n"
    (tmp_path / "services").write_text(service)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    conninfo = "service=mine"
    if by_environment:
        monkeypatch.setenv("PGSERVICE", "mine")
        conninfo = ""
    async with place.manager() as manager, await connect(manager, conninfo) as connection:
        assert connection.info.port == place.server.port


async def test_what_is_none_is_not_given(place: Place) -> None:
    """Options that are None are as if they weren't there: libraries hand all of them on."""
    await place.app()
    nothing = dict.fromkeys(("user", "password", "host", "port", "dbname"))
    async with place.manager() as manager:
        async with await connect(manager, **nothing, prepare_threshold=None) as connection:
            assert connection.info.user == "app"
            assert connection.prepare_threshold is None
        async with create_pool(manager, kwargs=nothing, min_size=1) as pool:
            assert (await who(pool))[0] == "app"


async def async_name() -> str:
    """Return a conninfo, later."""
    return "application_name=mine"


async def async_options() -> dict[str, Any]:
    """Return options, later."""
    return {"autocommit": True}


@pytest.mark.parametrize("conninfo", [lambda: "application_name=mine", async_name], ids=["sync", "async"])
@pytest.mark.parametrize("kwargs", [lambda: {"autocommit": True}, async_options], ids=["sync", "async"])
async def test_callables(place: Place, conninfo: Callable[[], Any], kwargs: Callable[[], Any]) -> None:
    """Callables for conninfo and kwargs, which psycopg_pool knows, are asked for each connection."""
    await place.app()
    async with (
        place.manager() as manager,
        create_pool(manager, conninfo, kwargs=kwargs, min_size=1) as pool,
        pool.connection() as one,
    ):
        assert one.autocommit
        assert (await (await one.execute("SHOW application_name")).fetchone()) == ("mine",)


async def test_callables_that_fail(place: Place) -> None:
    """What a callable raises, and a password that it returns, is told to those that wait for a connection, at once."""
    await place.app()

    def failing() -> str:
        raise LookupError("no conninfo")

    async with place.manager() as manager:
        with pytest.raises(LookupError, match="no conninfo"):
            async with create_pool(manager, failing):
                """Isn't reached."""
        with pytest.raises(ValueError, match="come from the secret"):
            async with create_pool(manager, kwargs=lambda: {"password": CANARY}):
                """Isn't reached."""


async def test_opening_is_the_blocks(place: Place) -> None:
    """`open=False` is refused with a sentence, since the block opens the pool; `open=True` asks for nothing else."""
    manager: Any = object()
    with pytest.raises(ValueError, match=r"leave out open=\."):
        async with create_pool(manager, open=False):
            """Isn't reached."""
    await place.app()
    async with place.manager() as manager, create_pool(manager, min_size=1, open=True) as pool:
        assert (await who(pool))[0] == "app"


@pytest.mark.parametrize(
    ("conninfo", "kwargs"),
    [
        ("user=me", {}),
        (f"postgresql://me:{CANARY}@db.example/app", {}),
        ("", {"user": "me"}),
        ("", {"password": CANARY}),
    ],
)
async def test_a_password_of_the_callers_is_refused(conninfo: str, kwargs: dict[str, Any]) -> None:
    """User and password come from the secret alone: who gives others is told, before anything is asked."""
    manager: Any = object()
    with pytest.raises(ValueError, match="come from the secret") as pooled:
        async with create_pool(manager, conninfo, kwargs=kwargs):
            """Isn't reached."""
    with pytest.raises(ValueError, match="come from the secret") as single:
        await connect(manager, conninfo, **kwargs)
    assert CANARY not in f"{pooled.value!r} {single.value!r}"


async def test_without_decode(place: Place) -> None:
    """A manager that gives plain JSON is refused with what to do, and without the value in the error."""
    await place.app()
    async with place.manager() as other:
        manager: Any = AsyncCredentialsManager("db", pool=other._pool)
        with pytest.raises(TypeError, match="decode=DatabaseCredentials") as caught:
            async with create_pool(manager):
                """Isn't reached."""
        assert CANARY not in repr(vars(caught.value))


async def test_a_password_that_stays_wrong(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Those who wait get the server's refusal when the budget is spent, in place of a PoolTimeout, and no value."""
    await place.app()
    await place.set_password("app", "another")
    caplog.set_level(logging.DEBUG)
    async with place.manager() as manager:
        before = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed") as caught:
            async with create_pool(manager, budget=0.3):
                """Isn't reached."""
        assert 0.3 <= time.monotonic() - before < 5
        assert is_auth_error(caught.value)
        assert not isinstance(caught.value, psycopg_pool.PoolTimeout)
        assert "Compare its user and password with the server's" in caught.value.__notes__[0]
        assert CANARY not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
        assert CANARY not in f"{vars(caught.value)} {caught.value.pgconn!r}"
        assert caught.value.pgconn.used_password
    assert 'FATAL: password authentication failed for user "app"' in caplog.text


async def test_a_refusal_before_the_budget_is_spent(place: Place) -> None:
    """Who waits for less than the budget gets the refusal as well, when the pool's own time limit ends."""
    await place.app()
    await place.set_password("app", "another")
    async with place.manager() as manager:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            async with create_pool(manager, timeout=0.3):
                """Isn't reached."""
    assert await place.all_closed()


async def test_it_heals(place: Place) -> None:
    """A pool that lost its password works again when the secret has the right one; each caller gets its own error."""
    await place.app()
    async with (
        place.manager() as manager,
        create_pool(manager, min_size=0, max_size=2, budget=0.5, timeout=20) as pool,
    ):
        await place.set_password("app", "new")
        errors = await asyncio.gather(who(pool), who(pool), return_exceptions=True)
        assert [is_auth_error(error) for error in errors if isinstance(error, Exception)] == [True, True]
        assert errors[0] is not errors[1]
        place.secrets.create("db", place.fields("app", "new"))
        assert (await who(pool))[0] == "app"


async def test_other_errors(place: Place) -> None:
    """An error that isn't about the password is the pool's to bridge: the caller sees it when its time is up."""
    await place.app()
    async with place.manager() as manager:
        with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist') as caught:
            async with create_pool(manager, "dbname=nowhere", timeout=0.2):
                """Isn't reached."""
        assert isinstance(caught.value.__cause__, psycopg_pool.PoolTimeout)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            await connect(manager, dbname="nowhere")
        with pytest.raises(psycopg.OperationalError, match=r"[Cc]onnection refused"):
            await connect(manager, port=1)
        with pytest.raises(psycopg.OperationalError, match="invalid sslmode value") as caught:
            await connect(manager, sslmode="maybe")
        with pytest.raises(psycopg.OperationalError, match="closed"):
            caught.value.pgconn.password  # noqa: B018 (libpq's own object, which had it)
        async with place.rejecting("app"):
            with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf"):
                await connect(manager)
    assert place.secrets.fetches["db"] == 1


async def test_a_secret_that_is_missing(place: Place) -> None:
    """A lasting error of Secrets Manager comes at once, as it is."""
    async with place.manager("nothing") as manager:
        with pytest.raises(SecretNotFoundError):
            async with create_pool(manager):
                """Isn't reached."""


async def test_an_exhausted_pool(place: Place) -> None:
    """Where nothing keeps the pool from connecting, a PoolTimeout is a PoolTimeout."""
    await place.app()
    async with place.manager() as manager, create_pool(manager, min_size=1) as pool, pool.connection():
        with pytest.raises(psycopg_pool.PoolTimeout):
            await pool.getconn(timeout=0.05)


async def test_a_rotation_renews_the_connections(place: Place) -> None:
    """With a new version, idle connections are replaced at once and others as they come back."""
    await place.app()
    async with place.manager() as manager, create_pool(manager, min_size=2) as pool:
        old = await place.sessions("app")
        await place.role("app2", "new")
        place.secrets.pend("db", place.fields("app2", "new"))
        place.secrets.promote("db")
        async with pool.connection() as held:
            await manager.refresh()
            assert await place.all_closed(but=[held.info.backend_pid])
        assert await place.all_closed()
        assert (await who(pool))[0] == "app2"
        assert not old & await place.sessions("app2")


class Rotating(psycopg.AsyncConnection[Any]):
    """A connection during whose making, once, a rotation is fetched and acted on."""

    rotate: Callable[[], Any]

    @classmethod
    async def connect(cls, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Connect, and then be slow."""
        connection = await super().connect(*args, **options)
        await Rotating.rotate()
        return connection


async def rotate_once(place: Place, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
    """Rotate, and fetch that, if it wasn't done yet."""
    if "AWSPREVIOUS" not in place.secrets.labels("db"):
        place.secrets.pend("db", place.fields("app2", "new"))
        place.secrets.promote("db")
        await manager.refresh()


async def test_a_rotation_while_it_opens(place: Place) -> None:
    """A rotation that is fetched while the first connections are made isn't missed: they are replaced."""
    await place.app()
    await place.role("app2", "new")

    async def configure(_: object) -> None:
        await rotate_once(place, manager)

    async with place.manager() as manager, create_pool(manager, configure=configure, min_size=2) as pool:
        while (await who(pool))[0] != "app2":
            """The listener hasn't run."""
        assert await place.all_closed()


async def test_a_rotation_while_it_connects(place: Place) -> None:
    """A connection that was begun before a rotation, and is made after it, isn't taken for a new one."""
    await place.app()
    await place.role("app2", "new")
    renewed = asyncio.Event()

    async def rotate() -> None:
        await rotate_once(place, manager)
        await renewed.wait()

    Rotating.rotate = rotate
    async with (
        place.manager() as manager,
        create_pool(manager, min_size=0, max_size=1, connection_class=Rotating) as pool,
    ):
        drain = pool.drain

        async def drained() -> None:
            await drain()
            renewed.set()

        pool.drain = drained
        assert (await who(pool))[0] == "app2"
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
        async with await opening as connection:
            assert connection.info.user == "app"


async def test_cancelled_while_it_opens(place: Place) -> None:
    """Who gives up while the pool opens leaves no task and no connection."""
    await place.app()
    await place.set_password("app", "another")
    async with place.manager() as manager:

        async def opened() -> None:
            async with create_pool(manager):
                """Isn't reached."""

        opening = asyncio.create_task(opened())
        await place.refusals("app", 2)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert await place.all_closed()


async def test_cancelled_while_it_closes(place: Place) -> None:
    """A caller who is cancelled while the pool closes waits until it is closed."""
    await place.app()
    async with place.manager() as manager:

        async def opened() -> None:
            async with create_pool(manager, min_size=2) as pool:
                me, close = asyncio.current_task(), pool.close

                async def cancelling() -> None:
                    me.cancel()
                    await close()

                pool.close = cancelling

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(opened())
    assert await place.all_closed()


async def test_closed_while_it_connects(place: Place) -> None:
    """Closing doesn't wait for an attempt's budget: who waits for a connection hears that the pool is closed."""
    await place.app()
    async with place.manager() as manager:
        async with create_pool(manager, min_size=0, max_size=1) as pool:
            await place.set_password("app", "another")
            waiting = asyncio.create_task(pool.getconn())
            await place.refusals("app", 2)
        with pytest.raises(psycopg_pool.PoolClosed):
            await waiting


async def test_a_timeout_of_ones_own(place: Place) -> None:
    """A TimeoutError that `configure` or the driver raises isn't taken for the end of the pool."""
    await place.app()

    class Slow(psycopg.AsyncConnection[Any]):
        @classmethod
        async def connect(cls, *_: Any, **__: Any) -> Any:  # noqa: ANN401
            raise TimeoutError("mine")

    async with place.manager() as manager:
        with pytest.raises(TimeoutError, match="mine"):
            async with create_pool(manager, connection_class=Slow):
                """Isn't reached."""


async def test_the_secrets_pool_is_closed_first(place: Place) -> None:
    """A connection that is made when the library's own pool is closed says so."""
    await place.app()
    async with place.manager() as manager:
        pool = create_pool(manager, min_size=0, max_size=1)
        opened = await pool.__aenter__()
    with pytest.raises(PoolClosedError):
        await opened.getconn()
    await pool.__aexit__(None, None, None)


async def test_without_a_cache(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A manager without a policy serves too; rotations are met as connections are made, which is one warning."""
    await place.app()
    async with place.manager(policy=None) as manager, create_pool(manager, min_size=1) as pool:
        assert (await who(pool))[0] == "app"
    assert [record.levelname for record in caplog.records if "aren't watched" in record.message] == ["WARNING"]


async def test_an_error_that_cant_be_copied(place: Place) -> None:
    """An error that makes no copy of itself is raised as it is."""
    await place.app()

    class OddError(Exception):
        def __init__(self, one: object, two: object) -> None:
            super().__init__(f"{one} and {two}")

    class Odd(psycopg.AsyncConnection[Any]):
        @classmethod
        async def connect(cls, *_: Any, **__: Any) -> Any:  # noqa: ANN401
            raise OddError(1, 2)

    async with place.manager() as manager:
        with pytest.raises(OddError, match="1 and 2"):
            async with create_pool(manager, connection_class=Odd, min_size=2):
                """Isn't reached."""
