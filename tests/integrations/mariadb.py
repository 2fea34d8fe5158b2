"""Fixtures: a real MariaDB, its users, and a Secrets Manager whose secrets rotate. The conftest imports them."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from integrations.mariadb_server import ADMIN, ADMIN_PASSWORD, LocalMariaDB, why_not
from integrations.postgres import CANARY, Place, RotatingSecrets
from integrations.rotation_load import Login
from server.certificates import Authority
from server.stub import StubSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
    from pathlib import Path

# The error log has whole seconds.
REFUSED = re.compile(r"^(\d{4}-\d\d-\d\d +\d+:\d\d:\d\d) .*Access denied for user '(\w+)'@", re.MULTILINE)


PAUSE = 0.02  # seconds between two looks at the server


@dataclass
class MariaPlace:
    """A database server and a Secrets Manager, and what tests change in both."""

    server: LocalMariaDB
    admin: Any
    """A pool of aiomysql, signed in as a user who may do everything."""
    connect_as_admin: Callable[[], Awaitable[Any]]
    secrets: RotatingSecrets
    url: str
    log_start: int
    server_name: ClassVar = "MariaDB"
    sleep: ClassVar = "DO SLEEP(0.02)"

    # How to open a pool of the library, and a manager.
    host = Place.host
    manager = Place.manager

    async def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Execute statements as the administrator, and return the rows of the last one."""
        async with self.admin.acquire() as connection, connection.cursor() as cursor:
            for statement in statements:
                await cursor.execute(statement)
            rows: list[tuple[Any, ...]] = list(await cursor.fetchall())
        return rows

    async def role(self, name: str, password: str, options: str = "") -> None:
        """Create a user."""
        await self.execute(
            f"CREATE OR REPLACE USER {name}@'%' IDENTIFIED BY '{password}' {options}",
            f"GRANT ALL ON app.* TO {name}@'%'",
            f"GRANT INSERT ON observed.logins TO {name}@'%'",
        )

    async def set_password(self, role: str, password: str) -> None:
        """Change a user's password."""
        await self.execute(f"ALTER USER {role}@'%' IDENTIFIED BY '{password}'")

    def fields(self, username: str, password: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return a secret's fields."""
        where = {"engine": "mariadb", "host": self.server.host, "port": self.server.port, "dbname": "app"}
        return {**where, "username": username, "password": password, **more}

    async def app(self, password: str = CANARY, options: str = "") -> None:
        """Create the user `app`, and its secret "db"."""
        await self.role("app", password, options)
        self.secrets.create("db", self.fields("app", password))

    async def rotate(self, role: str, password: str) -> None:
        """Let the secret name another user, who exists from then on."""
        await self.role(role, password)
        self.secrets.pend("db", self.fields(role, password))
        self.secrets.promote("db")

    async def sessions(self, role: str = "app") -> set[int]:
        """Return the numbers of a user's connections, as the server sees them."""
        rows = await self.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{role}'")  # noqa: S608
        return {row[0] for row in rows}

    async def connected_since(self, roles: str, moment: float) -> bool:
        """Say whether a user whose name begins so has connected since."""
        sql = f"SELECT COUNT(*) FROM observed.logins WHERE user LIKE '{roles}%' AND at > {moment}"  # noqa: S608
        return bool((await self.execute(sql))[0][0])

    async def connect_elsewhere(self) -> None:
        """Make a connection as the administrator, and close it."""
        connection = await self.connect_as_admin()
        await connection.ensure_closed()

    async def all_closed(self, role: str = "app", but: Collection[int] = ()) -> bool:
        """Wait until the server has no other connections of a user; the test's time limit ends it."""
        while await self.sessions(role) - set(but):  # noqa: ASYNC110 (the server has no event)
            await asyncio.sleep(PAUSE)
        return True

    async def refusals(self, role: str, times: int) -> None:
        """Wait until the server has refused a user this often since the fixture was made."""
        while len([login for login in self._refused() if login.user == role]) < times:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)

    async def logins(self) -> list[Login]:
        """Return the logins that the server has noted since the fixture was made."""
        rows = await self.execute("SELECT at, user FROM observed.logins")
        accepted = [Login(at, user, is_accepted=True) for at, user in rows]
        return accepted + self._refused()

    def _refused(self) -> list[Login]:
        """Return the refused logins, each at the end of its second: so none seems to be before what caused it."""
        found = REFUSED.findall(self.log())
        times = [time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S")) for at, _ in found]
        return [Login(at + 1, user, is_accepted=False, precision=1) for at, (_, user) in zip(times, found, strict=True)]

    def log(self) -> str:
        """Return what the server has written since the fixture was made."""
        with self.server.log.open() as file:
            file.seek(self.log_start)
            return file.read()


@pytest.fixture(scope="session")
def mariadb_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that has signed the certificate of the server."""
    return Authority(tmp_path_factory.mktemp("mariadb"), "mariadb")


@pytest.fixture(scope="session")
def mariadb_server(mariadb_authority: Authority) -> Iterator[LocalMariaDB]:
    """One MariaDB for the whole run, in each worker of pytest-xdist; without it the test is skipped."""
    if reason := why_not():
        pytest.skip(reason)
    leaf = mariadb_authority.leaf(LocalMariaDB.host)
    files: dict[str, Path] = {"ca": mariadb_authority.bundle, "cert": leaf.certificate, "key": leaf.key}
    with LocalMariaDB(*(f"--ssl-{name}={file}" for name, file in files.items())) as server:
        yield server


@pytest.fixture
async def maria(mariadb_server: LocalMariaDB) -> AsyncIterator[MariaPlace]:
    """An administrator's connections to MariaDB, and a Secrets Manager without a secret in it."""
    aiomysql = pytest.importorskip("aiomysql")
    where = {"host": mariadb_server.host, "port": mariadb_server.port, "autocommit": True}
    login = {"user": ADMIN, "password": ADMIN_PASSWORD}
    async with (
        aiomysql.create_pool(**where, **login) as admin,
        StubSecretsManager() as stub,
    ):
        secrets = stub.handler = RotatingSecrets()
        connect = partial(aiomysql.connect, **where, **login)
        place = MariaPlace(mariadb_server, admin, connect, secrets, stub.url, mariadb_server.log.stat().st_size)
        await place.execute("DELETE FROM observed.logins")
        yield place
    # aiomysql closes its sockets in the next turn of the loop.
    await asyncio.sleep(0)
