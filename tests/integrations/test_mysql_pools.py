"""aiomysql and asyncmy against a real MariaDB: pools through rotations, and each way in which connecting fails."""

from __future__ import annotations

import asyncio
import logging
import ssl
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, SecretNotFoundError
from aiocredentials.rotation import is_auth_error
from integrations.mariadb_drivers import adapter, driver, fetch, name, who
from integrations.postgres import CANARY

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from integrations.mariadb import MariaPlace
    from server.certificates import Authority


__all__ = ["adapter", "driver", "name"]  # fixtures


async def test_first_connection(maria: MariaPlace, driver: ModuleType, adapter: ModuleType) -> None:
    """A pool, and a single connection, sign in with the secret's user and password, where the secret says."""
    await maria.app()
    async with maria.manager() as manager:
        async with adapter.create_pool(manager, minsize=2) as pool:
            assert isinstance(pool, driver.Pool)
            assert (pool.minsize, pool.maxsize, pool.size, pool.freesize) == (2, 10, 2, 2)
            assert (await who(pool))[0] == "app"
            assert len(await maria.sessions()) == 2
            assert CANARY not in f"{pool!r} {vars(pool)} {pool._conn_kwargs} {vars(pool._connector)}"
        assert await maria.all_closed()
        connection = await adapter.connect(manager)
        assert isinstance(connection, driver.Connection)
        assert await fetch(connection, "SELECT DATABASE()") == ("app",)
        await connection.ensure_closed()


async def test_what_the_caller_says_goes_first(maria: MariaPlace, adapter: ModuleType) -> None:
    """Host, port and database of the caller go before those of the secret; the driver's options arrive."""
    await maria.app()
    maria.secrets.create("db", maria.fields("app", CANARY, host="db.invalid", port=1, dbname="nowhere"))
    server = maria.server
    where = {"host": server.host, "port": server.port, "db": "app"}
    async with maria.manager() as manager:
        async with adapter.create_pool(manager, autocommit=True, **where) as pool, pool.acquire() as connection:
            assert await fetch(connection, "SELECT DATABASE(), @@autocommit") == ("app", 1)
        connection = await adapter.connect(manager, init_command="SET @mine = 7", **where)
        assert await fetch(connection, "SELECT @mine") == (7,)
        await connection.ensure_closed()


async def test_where_the_server_is(maria: MariaPlace, adapter: ModuleType, tmp_path: Path) -> None:
    """A secret without a host isn't signed in with at this machine; a socket or an option file of the caller's is."""
    await maria.app()
    maria.secrets.create("db", {"username": "app", "password": CANARY, "dbname": "app"})
    server = maria.server
    file = tmp_path / "my.cnf"
    file.write_text(f"[client]\nhost = {server.host}\nport = {server.port}\n[other]\nuser = me\n")
    async with maria.manager() as manager:
        for options in ({}, {"host": None}, {"port": server.port}):
            with pytest.raises(ValueError, match=r"names no host; .* give host="):
                await adapter.connect(manager, **options)
        for options in ({"unix_socket": str(server.socket)}, {"read_default_file": str(file)}):
            connection = await adapter.connect(manager, **options)
            assert await fetch(connection, "SELECT DATABASE()") == ("app",)
            await connection.ensure_closed()


@pytest.mark.parametrize("option", ["user", "password", "password_creator"])
async def test_a_login_of_the_callers_is_refused(adapter: ModuleType, option: str) -> None:
    """User and password come from the secret alone: who gives others is told, before anything is asked."""
    manager: Any = object()
    with pytest.raises(ValueError, match="come from the secret") as pooled:
        async with adapter.create_pool(manager, **{option: CANARY}):
            """Isn't reached."""
    with pytest.raises(ValueError, match="come from the secret") as single:
        await adapter.connect(manager, **{option: CANARY})
    assert CANARY not in f"{pooled.value!r} {single.value!r}"


@pytest.mark.parametrize("option", ["user", "password"])
async def test_a_login_in_a_file_is_refused(adapter: ModuleType, option: str, tmp_path: Path) -> None:
    """A file with a user or a password isn't read: aiomysql would prefer them to the secret's."""
    manager: Any = object()
    file = tmp_path / "my.cnf"
    file.write_text(f"[client]\nskip-ssl\n{option} = {CANARY}\n")
    for more in ({}, {"read_default_group": "client"}):
        with pytest.raises(ValueError, match="remove them from the file that read_default_file names") as caught:
            await adapter.connect(manager, read_default_file=str(file), **more)
        frames = [str(frame.f_locals) for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        assert CANARY not in repr(caught.value) + "".join(frames[1:])


async def test_what_is_none_is_not_given(maria: MariaPlace, adapter: ModuleType) -> None:
    """Options that are None are as if they weren't there; a host that holds its port is refused."""
    await maria.app()
    nothing = dict.fromkeys(("user", "password", "host", "port", "db"))
    async with maria.manager() as manager:
        async with adapter.create_pool(manager, **nothing) as pool:
            assert (await who(pool))[0] == "app"
        with pytest.raises(ValueError, match=r"give it without its port, which is port=\."):
            await adapter.connect(manager, host="db.example:3306")


async def test_without_decode(maria: MariaPlace, adapter: ModuleType) -> None:
    """A manager that gives plain JSON is refused with what to do, and without the value in the error."""
    await maria.app()
    async with maria.manager() as other:
        manager: Any = AsyncCredentialsManager("db", pool=other._pool)
        with pytest.raises(TypeError, match="decode=DatabaseCredentials") as caught:
            await adapter.connect(manager)
        assert CANARY not in repr(vars(caught.value))


async def test_any_password(maria: MariaPlace, adapter: ModuleType) -> None:
    """A password that isn't Latin-1 is sent as the server got it; the drivers by themselves raise an error with it."""
    await maria.app("pä€𝄞")
    async with maria.manager() as manager:
        connection = await adapter.connect(manager)
        await connection.ensure_closed()


@pytest.mark.parametrize("is_encrypted", [False, True])
async def test_a_password_that_stays_wrong(
    maria: MariaPlace,
    mariadb_authority: Authority,
    adapter: ModuleType,
    caplog: pytest.LogCaptureFixture,
    is_encrypted: bool,  # noqa: FBT001 (of the table)
) -> None:
    """When the budget is spent the server's refusal is raised, and no value with it, nor in a frame of ours."""
    options = {"ssl": ssl.create_default_context(cafile=mariadb_authority.bundle)} if is_encrypted else {}
    await maria.app()
    await maria.set_password("app", "another")
    caplog.set_level(logging.DEBUG)
    async with maria.manager() as manager:
        with pytest.raises(Exception, match="Access denied") as caught:
            async with adapter.create_pool(manager, budget=0.2, **options):
                """Isn't reached."""
    assert is_auth_error(caught.value)
    assert "Compare its user and password with the server's" in caught.value.__notes__[0]
    assert "It answered: OperationalError: (1045, " in caplog.text
    assert CANARY not in f"{caught.value!r} {caplog.text}"
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if "aiocredentials" in frame.f_code.co_filename:
            assert CANARY not in repr(frame.f_locals)


async def test_other_refusals(maria: MariaPlace, adapter: ModuleType) -> None:
    """A locked account and an expired password are refusals: the version that is pending bridges them."""
    await maria.app(options="ACCOUNT LOCK")
    await maria.role("app2", "new")
    maria.secrets.pend("db", maria.fields("app2", "new"))
    await maria.execute("SET GLOBAL disconnect_on_expired_password = ON")
    async with maria.manager() as manager:
        for statement in ("ALTER USER app@'%' ACCOUNT LOCK", "ALTER USER app@'%' ACCOUNT UNLOCK PASSWORD EXPIRE"):
            await maria.execute(statement)
            connection = await adapter.connect(manager, budget=2)
            assert await fetch(connection, "SELECT CURRENT_USER()") == ("app2@%",)
            await connection.ensure_closed()


async def test_other_errors(maria: MariaPlace, adapter: ModuleType) -> None:
    """An error that isn't about the password is raised after one attempt; so is one of Secrets Manager."""
    await maria.app()
    async with maria.manager() as manager:
        with pytest.raises(Exception, match="to database 'nowhere'"):
            await adapter.connect(manager, db="nowhere")
        with pytest.raises(Exception, match="Can't connect"):
            async with adapter.create_pool(manager, port=1):
                """Isn't reached."""
    assert maria.secrets.fetches["db"] == 1
    async with maria.manager("nothing") as manager:
        with pytest.raises(SecretNotFoundError):
            async with adapter.create_pool(manager):
                """Isn't reached."""


async def test_one_of_the_first_connections_fails(maria: MariaPlace, adapter: ModuleType) -> None:
    """Where the server takes too few connections, those that were made are closed, and no task is left."""
    await maria.app(options="WITH MAX_USER_CONNECTIONS 2")
    async with maria.manager() as manager:
        with pytest.raises(Exception, match="max_user_connections"):
            async with adapter.create_pool(manager, minsize=3):
                """Isn't reached."""
    assert await maria.all_closed()


async def test_a_rotation_renews_the_connections(maria: MariaPlace, adapter: ModuleType) -> None:
    """With a new version, idle connections are replaced, and one that is in use goes on until it is returned."""
    await maria.app()
    async with maria.manager() as manager, adapter.create_pool(manager, minsize=3, maxsize=4) as pool:
        await maria.rotate("app2", "new")
        async with pool.acquire() as held:
            (number,) = await fetch(held, "SELECT CONNECTION_ID()")
            await manager.refresh()
            assert await maria.all_closed(but={number})
            assert (await who(pool))[0] == "app2"
            assert await fetch(held, "SELECT CONNECTION_ID()") == (number,)
        assert await maria.all_closed()
        assert {(await who(pool))[0] for _ in range(4)} == {"app2"}
        assert pool.size == 1
    assert await maria.all_closed("app2")
    assert "Aborted connection" not in maria.log()


async def test_a_rotation_while_it_connects(
    maria: MariaPlace, driver: ModuleType, adapter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was begun before a rotation, and is made after it, isn't taken for a new one."""
    await maria.app()
    connect, began, renewed = driver.connect, [0], asyncio.Event()
    renew = adapter._Pool.renew

    def noted(pool: Any) -> None:  # noqa: ANN401
        renew(pool)
        renewed.set()

    async def slow(**options: Any) -> Any:  # noqa: ANN401
        began[0] += 1
        connection = await connect(**options)
        if began[0] == 2:
            await maria.rotate("app2", "new")
            await manager.refresh()
            await renewed.wait()
        return connection

    monkeypatch.setattr(driver, "connect", slow)
    monkeypatch.setattr(adapter._Pool, "renew", noted)
    async with maria.manager() as manager, adapter.create_pool(manager, minsize=2) as pool:
        assert pool.size == 2
        async with pool.acquire() as one, pool.acquire() as two:
            users = {(await fetch(each, "SELECT CURRENT_USER()"))[0] for each in (one, two)}
        assert users == {"app2@%"}
        assert await maria.all_closed()
    assert began[0] == 4


@pytest.mark.parametrize("stages", [("AWSPENDING",), ()])
async def test_stages(maria: MariaPlace, adapter: ModuleType, stages: tuple[str, ...]) -> None:
    """With AWSPENDING the window is bridged at once; without it, as AWSCURRENT moves."""
    await maria.app()
    await maria.set_password("app", "new")
    maria.secrets.pend("db", maria.fields("app", "new"))
    async with maria.manager() as manager:
        opening = asyncio.create_task(adapter.connect(manager, stages=stages))
        if not stages:
            await maria.refusals("app", 2)
            assert not opening.done()
            maria.secrets.promote("db")
        connection = await opening
        assert await fetch(connection, "SELECT CURRENT_USER()") == ("app@%",)
        await connection.ensure_closed()


async def test_cancelled_while_it_opens(maria: MariaPlace, adapter: ModuleType) -> None:
    """Who gives up while the pool opens leaves no task and no connection."""
    await maria.app()
    async with maria.manager() as manager:
        await manager.get()

        async def opened() -> None:
            async with adapter.create_pool(manager, minsize=2):
                """Isn't reached."""

        await maria.set_password("app", "another")
        opening = asyncio.create_task(opened())
        await maria.refusals("app", 2)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert await maria.all_closed()


async def test_an_error_in_the_block(maria: MariaPlace, adapter: ModuleType) -> None:
    """What the block raises goes through, and the pool is closed."""
    await maria.app()
    async with maria.manager() as manager:
        with pytest.raises(LookupError):
            async with adapter.create_pool(manager):
                raise LookupError
    assert await maria.all_closed()
