"""SQLAlchemy's async engine with aiomysql and asyncmy, against a real MariaDB."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.rotation import is_auth_error
from integrations.mariadb_drivers import driver, name
from integrations.postgres import CANARY

sqlalchemy = pytest.importorskip("sqlalchemy")
pytest.importorskip("greenlet")

from sqlalchemy import event, text  # noqa: E402 (after importorskip)
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio  # noqa: E402

from aiocredentials.integrations.sqlalchemy import create_async_engine, use_credentials  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from sqlalchemy.ext.asyncio import AsyncEngine

    from integrations.mariadb import MariaPlace

__all__ = ["driver", "name"]  # fixtures


@pytest.fixture(params=["mysql", "mariadb"])
def url(name: str, request: pytest.FixtureRequest) -> str:
    """A URL that names the driver, and leaves the rest to the secret."""
    return f"{request.param}+{name}://"


async def who(engine: AsyncEngine) -> tuple[str, int]:
    """Return as whom a connection of the engine is signed in, and its number in the server."""
    sql = "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), CONNECTION_ID()"
    async with engine.connect() as connection:
        row = (await connection.execute(text(sql))).one()
    return row[0], row[1]


async def test_first_connection(maria: MariaPlace, url: str) -> None:
    """An engine signs in with the secret's user and password, where the secret says; it is closed with its block."""
    await maria.app("pä€𝄞")
    async with maria.manager() as manager:
        async with create_async_engine(manager, url) as engine:
            assert (await who(engine))[0] == "app"
            assert CANARY not in f"{engine!r} {engine.url!r} {vars(engine.sync_engine)} {vars(engine.pool)}"
        assert await maria.all_closed()


async def test_what_the_caller_says_goes_first(maria: MariaPlace, url: str) -> None:
    """Host, port and database of the URL go before those of the secret; options of URL and connect_args arrive."""
    await maria.app()
    maria.secrets.create("db", maria.fields("app", CANARY, host="db.invalid", port=1, dbname="nowhere"))
    server = maria.server
    where = f"{url}{server.host}:{server.port}/app?charset=utf8mb4"
    options = {"init_command": "SET @mine = 7"}
    async with (
        maria.manager() as manager,
        create_async_engine(manager, where, connect_args=options) as engine,
        engine.connect() as connection,
    ):
        row = (await connection.execute(text("SELECT DATABASE(), @mine, @@character_set_client"))).one()
        assert tuple(row) == ("app", 7, "utf8mb4")


async def test_where_the_server_is(maria: MariaPlace, url: str) -> None:
    """A secret without a host isn't signed in with at this machine; a socket of the caller's is."""
    await maria.app()
    maria.secrets.create("db", {"username": "app", "password": CANARY})
    async with maria.manager() as manager:
        async with create_async_engine(manager, url) as engine:
            with pytest.raises(ValueError, match=r"names no host; .*: name it in the engine's URL"):
                await who(engine)
        query = f"/app?unix_socket={maria.server.socket}"
        async with create_async_engine(manager, url + query) as engine:
            assert (await who(engine))[0] == "app"


async def test_a_login_of_the_callers_is_refused(url: str, tmp_path: Path) -> None:
    """User and password come from the secret alone: who gives others is told, without seeing them."""
    manager: Any = object()
    file = tmp_path / "my.cnf"
    file.write_text(f"[client]\npassword = {CANARY}\n")
    for rest, options in [
        (f"me:{CANARY}@db.example/app", {}),
        (f"db.example/app?password={CANARY}", {}),
        ("", {"user": "me"}),
        ("", {"read_default_file": str(file)}),
    ]:
        with pytest.raises(ValueError, match="come from the secret") as caught:
            async with create_async_engine(manager, url + rest, connect_args=options):
                """Isn't reached."""
        assert CANARY not in repr(caught.value)


async def test_an_engine_of_other_code(maria: MariaPlace, url: str, tmp_path: Path) -> None:
    """An engine that other code has made connects as the secret's user while a block lasts; its files have no login."""
    await maria.app()
    file = tmp_path / "my.cnf"
    file.write_text(f"[client]\npassword = {CANARY}\n")
    async with maria.manager() as manager:
        engine = sqlalchemy_asyncio.create_async_engine(url)
        async with use_credentials(engine, manager):
            assert (await who(engine))[0] == "app"
        assert await maria.all_closed()
        engine = sqlalchemy_asyncio.create_async_engine(url, connect_args={"read_default_file": str(file)})
        async with use_credentials(engine, manager):
            with pytest.raises(ValueError, match="come from the secret"):
                await who(engine)


async def test_a_password_that_stays_wrong(maria: MariaPlace, url: str) -> None:
    """When the budget is spent, the server's refusal comes, and no value with it; other errors come at once."""
    await maria.app()
    async with maria.manager() as manager:
        async with create_async_engine(manager, f"{url}/nowhere") as engine:
            with pytest.raises(Exception, match="to database 'nowhere'"):
                await who(engine)
        assert maria.secrets.fetches["db"] == 1
        await maria.set_password("app", "another")
        async with create_async_engine(manager, url, budget=0.2) as engine:
            with pytest.raises(Exception, match="Access denied") as caught:
                await who(engine)
    assert is_auth_error(caught.value)
    assert CANARY not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_rotation_renews_the_connections(maria: MariaPlace, url: str) -> None:
    """With a new version, connections are replaced as they are next checked out; one that is in use goes on."""
    await maria.app()
    async with maria.manager() as manager, create_async_engine(manager, url) as engine:
        _, old = await who(engine)
        await maria.rotate("app2", "new")
        async with engine.connect() as held:
            await manager.refresh()
            while (await who(engine))[0] != "app2":
                """The listener hasn't run."""
            assert (await held.execute(text("SELECT CONNECTION_ID()"))).scalar() == old
        assert {(await who(engine))[0] for _ in range(3)} == {"app2"}
    assert await maria.all_closed("app2")


async def test_a_rotation_while_it_connects(
    maria: MariaPlace, url: str, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was begun before a rotation, and is made after it, is closed and made anew."""
    await maria.app()
    connect, began, renewed = driver.connect, [0], asyncio.Event()

    async def slow(**options: Any) -> Any:  # noqa: ANN401
        began[0] += 1
        connection = await connect(**options)
        if began[0] == 2:
            await maria.rotate("app2", "new")
            await manager.refresh()
            await renewed.wait()
        return connection

    monkeypatch.setattr(driver, "connect", slow)
    async with maria.manager() as manager, create_async_engine(manager, url, pool_size=2) as engine:
        async with engine.connect() as first:
            assert (await first.execute(text("SELECT CURRENT_USER()"))).scalar() == "app@%"
            event.listen(engine.sync_engine, "soft_invalidate", lambda *_: renewed.set())
            assert (await who(engine))[0] == "app2"
        assert began[0] == 3
    assert await maria.all_closed()
