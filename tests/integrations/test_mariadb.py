"""MySQL's protocol without an adapter: a MariaDB that is on the machine, through `connect_through_rotation` alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.rotation import connect_through_rotation, is_auth_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aiocredentials import DatabaseCredentials
    from integrations.postgres import Place

HOST = "127.0.0.1"
ROLES = f"""
CREATE USER admin@'{HOST}' IDENTIFIED BY 'admin';
GRANT ALL ON *.* TO admin@'{HOST}' WITH GRANT OPTION;
CREATE USER app@'{HOST}' IDENTIFIED BY 'first';
"""


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A MariaDB on a free port, which is given; without the server's programs the test is skipped."""
    programs = [program for name in ("mariadb-install-db", "mariadbd") if (program := shutil.which(name))]
    if len(programs) < 2:
        pytest.skip("mariadbd and mariadb-install-db aren't on this machine")
    with closing(socket.socket()) as one:
        one.bind((HOST, 0))
        port = one.getsockname()[1]
    folder = tmp_path_factory.mktemp("mariadb")
    (folder / "roles.sql").write_text(ROLES)
    common = ["--no-defaults", f"--datadir={folder / 'data'}"] + (["--user=root"] if os.geteuid() == 0 else [])
    subprocess.run([programs[0], *common], check=True, capture_output=True)
    where = [f"--port={port}", f"--bind-address={HOST}", "--skip-name-resolve", f"--socket={folder / 'socket'}"]
    process = subprocess.Popen(
        [programs[1], *common, *where, f"--init-file={folder / 'roles.sql'}", "--log-warnings=0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        said = next((line for line in process.stderr if "ready for connections" in line), None)
        try:
            assert said is not None
            yield port
        finally:
            process.kill()


async def _asyncmy(port: int, user: str, password: str) -> Any:  # noqa: ANN401
    return await pytest.importorskip("asyncmy").connect(host=HOST, port=port, user=user, password=password)


async def _aiomysql(port: int, user: str, password: str) -> Any:  # noqa: ANN401
    return await pytest.importorskip("aiomysql").connect(host=HOST, port=port, user=user, password=password)


async def execute(connection: Any, sql: str) -> str:  # noqa: ANN401
    """Execute a statement, and close the connection."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql)
        row = await cursor.fetchone()
    connection.close()
    return row[0] if row else ""


@pytest.mark.parametrize("driver", [_asyncmy, _aiomysql])
async def test_a_rotation(place: Place, mariadb: int, driver: Callable[..., Awaitable[Any]]) -> None:
    """A password that changes is bridged by what is pending; one that stays wrong ends in MySQL's own error."""
    admin = await driver(mariadb, "admin", "admin")
    await execute(admin, f"ALTER USER app@'{HOST}' IDENTIFIED BY 'first'")
    place.secrets.create("db", {"engine": "mariadb", "username": "app", "password": "first"})

    async def connect(credentials: DatabaseCredentials) -> Any:  # noqa: ANN401
        return await driver(mariadb, credentials.username, credentials.password)

    async with place.manager() as manager:
        assert await execute(await connect_through_rotation(manager, connect), "SELECT user()") == f"app@{HOST}"
        await execute(await driver(mariadb, "admin", "admin"), f"ALTER USER app@'{HOST}' IDENTIFIED BY 'second'")
        place.secrets.pend("db", {"engine": "mariadb", "username": "app", "password": "second"})
        assert await execute(await connect_through_rotation(manager, connect), "SELECT user()") == f"app@{HOST}"
        await execute(await driver(mariadb, "admin", "admin"), f"ALTER USER app@'{HOST}' IDENTIFIED BY 'third'")
        with pytest.raises(Exception, match="Access denied") as caught:
            await connect_through_rotation(manager, connect, budget=0.2)
    assert is_auth_error(caught.value)
