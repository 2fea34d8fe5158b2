"""SQLAlchemy engines that other code makes, on both drivers, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import SecretNotFoundError
from aiocredentials.rotation import is_auth_error
from integrations.postgres import CANARY, SUPERUSER
from integrations.waiting import Source

pytest.importorskip("sqlalchemy")
pytest.importorskip("greenlet")

import sqlalchemy
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from aiocredentials.integrations import sqlalchemy as rotating_sqlalchemy
from aiocredentials.integrations.sqlalchemy import use_credentials

if TYPE_CHECKING:
    from integrations.postgres import Place


@pytest.fixture(params=["asyncpg", "psycopg"])
def url(request: pytest.FixtureRequest) -> str:
    """A URL for each driver; the rest is left to the secret."""
    pytest.importorskip(request.param)
    return f"postgresql+{request.param}://"


async def who(engine: AsyncEngine) -> tuple[str, int]:
    """Return as whom a connection of the engine is signed in, and which process of the server it has."""
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT current_user, pg_backend_pid()"))).one()
    return row[0], row[1]


async def test_engine_that_lives_longer_than_a_loop(place: Place, url: str) -> None:
    """An engine that is made without an event loop works in a block of each start of an app, and its end closes all."""
    await place.app()
    engine = await asyncio.to_thread(create_async_engine, url)

    async def app() -> str:
        async with place.manager() as manager, use_credentials(engine, manager) as same:
            assert same is engine
            return (await who(engine))[0]

    for _ in range(2):
        assert await asyncio.to_thread(asyncio.run, app()) == "app"
        assert await place.all_closed()
    assert CANARY not in f"{engine!r} {engine.url!r} {vars(engine.sync_engine)} {vars(engine.pool)}"


async def test_outside_of_the_block(place: Place, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after the block the engine connects by itself; so nothing of the library is left in it."""
    await place.app()
    engine = create_async_engine(url, poolclass=NullPool)
    login = {"HOST": place.server.host, "PORT": str(place.server.port), "USER": "postgres", "PASSWORD": SUPERUSER}
    for name, value in login.items():
        monkeypatch.setenv(f"PG{name}", value)
    async with place.manager() as manager:
        assert (await who(engine))[0] == "postgres"
        listeners = len(engine.pool.dispatch.connect)
        async with use_credentials(engine, manager):
            assert (await who(engine))[0] == "app"
        assert (await who(engine))[0] == "postgres"
        async with use_credentials(engine.execution_options(), manager):
            assert (await who(engine))[0] == "app"
        assert len(engine.pool.dispatch.connect) == listeners


@pytest.mark.parametrize("is_idle", [False, True])
async def test_connections_from_before_the_block(
    place: Place, url: str, monkeypatch: pytest.MonkeyPatch, *, is_idle: bool
) -> None:
    """A connection that was made before the block is replaced when it is next checked out in the block."""
    await place.app()
    login = {"HOST": place.server.host, "PORT": str(place.server.port), "USER": "postgres", "PASSWORD": SUPERUSER}
    for name, value in login.items():
        monkeypatch.setenv(f"PG{name}", value)
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    early = await engine.connect()
    assert (await early.execute(text("SELECT current_user"))).scalar() == "postgres"
    if is_idle:
        await early.close()
    async with place.manager() as manager, use_credentials(engine, manager):
        await early.close()
        user, process = await who(engine)
        assert user == "app"
        assert await who(engine) == (user, process)


@pytest.mark.parametrize("is_disposed", [False, True])
async def test_a_rotation_renews_the_connections(place: Place, url: str, *, is_disposed: bool) -> None:
    """With a new version, connections are replaced as they are next checked out, also after the user's `dispose()`."""
    await place.app()
    engine = create_async_engine(url)
    async with place.manager() as manager, use_credentials(engine, manager):
        if is_disposed:
            await engine.dispose()
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


async def test_the_window(place: Place, url: str) -> None:
    """A password that is pending is used where the current one is refused."""
    await place.app()
    await place.set_password("app", "new")
    place.secrets.pend("db", place.fields("app", "new"))
    engine = create_async_engine(url)
    async with place.manager() as manager, use_credentials(engine, manager):
        assert (await who(engine))[0] == "app"


async def test_the_budget(place: Place, url: str) -> None:
    """When the budget is spent, the server's refusal is raised, and it holds no value."""
    await place.app()
    await place.set_password("app", "another")
    engine = create_async_engine(url)
    async with place.manager() as manager, use_credentials(engine, manager, budget=0.2, stages=()):
        with pytest.raises(Exception, match="password authentication failed") as caught:
            await who(engine)
    assert is_auth_error(caught.value)
    assert CANARY not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert place.secrets.labels("db") == {"AWSCURRENT"}


async def test_what_the_caller_says_goes_first(place: Place, url: str) -> None:
    """The place in the URL goes before that of the secret; options of connect_args arrive; None is left out."""
    await place.app()
    place.secrets.create("db", place.fields("app", CANARY, host="db.invalid", port=1))
    options: dict[str, Any] = {"server_settings": {"application_name": "mine"}}
    if "psycopg" in url:
        options = {"application_name": "mine"}
    server = place.server
    engine = create_async_engine(
        f"{url}{server.host}:{server.port}/postgres",
        connect_args={**options, "user": None, "password": None},
    )
    async with place.manager() as manager, use_credentials(engine, manager), engine.connect() as connection:
        assert (await connection.execute(text("SHOW application_name"))).scalar() == "mine"


@pytest.mark.parametrize("name", ["application_name", "password"])
async def test_another_listener(place: Place, url: str, name: str) -> None:
    """What another listener to `do_connect` adds to the options arrives, except for a login, which is refused."""
    await place.app()
    engine = create_async_engine(url)

    @event.listens_for(engine.sync_engine, "do_connect")
    def add(_: object, __: object, ___: object, options: dict[str, Any]) -> None:
        if name == "application_name" and "asyncpg" in url:
            options["server_settings"] = {name: "mine"}
        else:
            options[name] = "mine"

    async with place.manager() as manager, use_credentials(engine, manager):
        if name == "password":
            with pytest.raises(ValueError, match="come from the secret"):
                await who(engine)
            return
        async with engine.connect() as connection:
            assert (await connection.execute(text("SHOW application_name"))).scalar() == "mine"


async def test_no_host(place: Place, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret without a host isn't signed in with at this machine."""
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    place.secrets.create("db", {"username": "app", "password": CANARY})
    engine = create_async_engine(url)
    async with place.manager() as manager, use_credentials(engine, manager):
        with pytest.raises(ValueError, match=r"names no host; .*: name it in the engine's URL"):
            await who(engine)


async def test_a_start_without_the_secret(url: str) -> None:
    """If the secret is missing, the block is entered all the same, and each connection raises that error."""
    source = Source()
    source.error = SecretNotFoundError("There is no such secret.")
    engine = create_async_engine(url)
    async with use_credentials(engine, source):
        for _ in range(2):
            with pytest.raises(SecretNotFoundError):
                await who(engine)


@pytest.mark.parametrize("rest", [f"me:{CANARY}@db.example/app", "me@db.example/app", f"/?password={CANARY}"])
async def test_a_login_in_the_url_is_refused(url: str, rest: str) -> None:
    """User and password come from the secret alone: a block isn't entered with others, and doesn't repeat them."""
    manager: Any = object()
    with pytest.raises(ValueError, match="come from the secret") as caught:
        async with use_credentials(create_async_engine(url + rest), manager):
            """Isn't reached."""
    assert CANARY not in repr(caught.value)


@pytest.mark.parametrize("name", ["user", "password"])
async def test_a_login_in_connect_args_is_refused(place: Place, url: str, name: str) -> None:
    """SQLAlchemy shows `connect_args` when it connects: then they are refused, and not repeated."""
    await place.app()
    engine = create_async_engine(url, connect_args={name: "mine"})
    async with place.manager() as manager, use_credentials(engine, manager):
        with pytest.raises(ValueError, match="come from the secret") as caught:
            await who(engine)
    assert "mine" not in repr(caught.value)


@pytest.mark.parametrize("mode", ["disable", "require"])
async def test_encryption(place: Place, url: str, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Where the manager needs encryption, `connect_args` decide as well as the URL: in clear nothing is sent."""
    monkeypatch.delenv("PGSSLMODE", raising=False)
    await place.app()
    option = "ssl" if "asyncpg" in url else "sslmode"
    other = {"disable": "require", "require": "disable"}[mode]
    engine = create_async_engine(f"{url}/?{option}={other}", connect_args={option: mode})
    expected = "must be encrypted" if mode == "disable" else "SSL"
    async with place.manager() as manager:
        setattr(manager, "needs_encryption", True)  # noqa: B010 (as managers for IAM tokens have it)
        async with use_credentials(engine, manager):
            # This server has no TLS, so the driver's own error shows that the options were accepted.
            with pytest.raises(Exception, match=expected):
                await who(engine)
    assert 'user "app"' not in place.log()
    assert "user=app" not in place.log()


@pytest.mark.parametrize("name", ["creator", "async_creator"])
async def test_an_engine_that_connects_by_itself(url: str, name: str) -> None:
    """An engine that would never ask the library is refused, and not left with its own login."""
    engine = create_async_engine(url, **{name: lambda: None})
    manager: Any = object()
    with pytest.raises(ValueError, match="make it without creator=, async_creator= and pool="):
        async with use_credentials(engine, manager):
            """Isn't reached."""


async def test_an_engine_of_the_adapter(place: Place, url: str) -> None:
    """An engine of `create_async_engine` has credentials already."""
    async with place.manager() as manager, rotating_sqlalchemy.create_async_engine(manager, url) as engine:
        with pytest.raises(ValueError, match="The engine connects by itself"):
            async with use_credentials(engine, manager):
                """Isn't reached."""


async def test_another_kind_of_engine() -> None:
    """A sync engine, and another driver, are refused with what is accepted."""
    manager: Any = object()
    engine: Any = sqlalchemy.create_engine("sqlite://")
    with pytest.raises(TypeError, match=r"sqlalchemy\.engine\.base\.Engine: give one of sqlalchemy\.ext\.asyncio"):
        async with use_credentials(engine, manager):
            """Isn't reached."""
    module = SimpleNamespace(sqlite_version_info=(3, 45, 0), paramstyle="qmark", has_stop=True)  # in place of aiosqlite
    with pytest.raises(ValueError, match="asyncpg, psycopg, aiomysql or asyncmy"):
        async with use_credentials(create_async_engine("sqlite+aiosqlite://", module=module), manager):
            """Isn't reached."""


async def test_two_blocks(place: Place, url: str) -> None:
    """A second block with the same engine is refused, and doesn't end the first one."""
    await place.app()
    engine = create_async_engine(url)
    async with place.manager() as manager, use_credentials(engine, manager):
        with pytest.raises(RuntimeError, match="enter one block per engine"):
            async with use_credentials(engine.execution_options(), manager):
                """Isn't reached."""
        assert (await who(engine))[0] == "app"
