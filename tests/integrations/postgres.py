"""Fixtures: a real PostgreSQL, its roles, and a Secrets Manager whose secrets rotate. The conftest imports them."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import CachePolicy, CredentialsPool, DatabaseCredentials
from integrations.rotation_load import Login
from server.stub import CREATED, Answer, StubSecretsManager

sys.path.append(str(Path(__file__).parents[2] / "examples"))

from local_postgres import LocalPostgres, why_not

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

    from aiocredentials import AsyncCredentialsManager
    from server.stub import Request

CANARY = "hunter2-canary"
SUPERUSER = "superuser's password"
POLICY = CachePolicy()
ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})


class RotatingSecrets:
    """Versions and their staging labels, as Secrets Manager keeps them: the handler of a stub."""

    def __init__(self) -> None:
        self.fetches: Counter[str] = Counter()
        self._versions: dict[str, dict[str, str]] = {}
        self._labels: dict[str, dict[str, str]] = {}
        self._numbers = count(1)

    def create(self, name: str, fields: dict[str, Any]) -> None:
        """Create a secret, with one version."""
        self._versions[name], self._labels[name] = {}, {}
        self._labels[name]["AWSCURRENT"] = self._add(name, fields)

    def pend(self, name: str, fields: dict[str, Any]) -> None:
        """Add a version as AWSPENDING."""
        self._labels[name]["AWSPENDING"] = self._add(name, fields)

    def promote(self, name: str) -> None:
        """Move AWSCURRENT to the version that is pending, and AWSPREVIOUS to the one before."""
        labels = self._labels[name]
        labels["AWSPREVIOUS"], labels["AWSCURRENT"] = labels["AWSCURRENT"], labels.pop("AWSPENDING")

    def labels(self, name: str) -> set[str]:
        """Return the labels that are on a version."""
        return set(self._labels[name])

    def _add(self, name: str, fields: dict[str, Any]) -> str:
        version_id = f"version-{next(self._numbers):024d}"
        self._versions[name][version_id] = json.dumps(fields)
        return version_id

    def __call__(self, request: Request) -> Answer:
        """Answer GetSecretValue."""
        name = request.body["SecretId"]
        self.fetches[name] += 1
        labels = self._labels.get(name, {})
        version_id = request.body.get("VersionId") or labels.get(request.body.get("VersionStage", "AWSCURRENT"))
        if version_id is None:
            return Answer(400, {"__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find it."})
        return Answer(
            body={
                "ARN": f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf",
                "Name": name,
                "VersionId": version_id,
                "SecretString": self._versions[name][version_id],
                "VersionStages": [label for label, one in labels.items() if one == version_id],
                "CreatedDate": CREATED,
            }
        )


class Rules:
    """The server's pg_hba.conf, and what was in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.text = path.read_text()

    def write(self, text: str) -> None:
        """Change it."""
        self._path.write_text(text)


@dataclass
class Place:
    """A database server and a Secrets Manager, and what tests change in both."""

    asyncpg: Any
    server: LocalPostgres
    superuser: Any
    secrets: RotatingSecrets
    url: str
    log_start: int
    server_name: ClassVar = "PostgreSQL"
    sleep: ClassVar = "SELECT pg_sleep(0.02)"

    async def role(self, name: str, password: str, options: str = "") -> None:
        """Create a role."""
        await self.superuser.execute(f"DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN {options}")
        await self.set_password(name, password)

    async def set_password(self, name: str, password: str) -> None:
        """Change a role's password."""
        await self.superuser.execute(f"ALTER ROLE {name} PASSWORD '{password}'")

    def fields(self, username: str, password: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return a secret's fields."""
        where = {"engine": "postgres", "host": self.server.host, "port": self.server.port, "dbname": "postgres"}
        return {**where, "username": username, "password": password, **more}

    async def app(self, password: str = CANARY, options: str = "") -> None:
        """Create the role `app`, and its secret "db"."""
        await self.role("app", password, options)
        self.secrets.create("db", self.fields("app", password))

    async def sessions(self, role: str) -> set[int]:
        """Return the process ids of a role's connections, as the server sees them."""
        rows = await self.superuser.fetch("SELECT pid FROM pg_stat_activity WHERE usename = $1", role)
        return {row["pid"] for row in rows}

    async def connected_since(self, roles: str, moment: float) -> bool:
        """Say whether a role whose name begins so has connected since."""
        sql = (
            "SELECT count(*) FROM pg_stat_activity WHERE starts_with(usename, $1) AND backend_start > to_timestamp($2)"
        )
        return bool(await self.superuser.fetchval(sql, roles, moment))

    async def connect_elsewhere(self) -> None:
        """Make a connection as the superuser, and close it."""
        where = {"host": self.server.host, "port": self.server.port, "database": "postgres"}
        connection = await self.asyncpg.connect(**where, user="postgres", password=SUPERUSER)
        await connection.close()

    async def all_closed(self, role: str = "app", but: Collection[int] = ()) -> bool:
        """Wait until the server has no other connections of a role; the test's time limit ends it."""
        while await self.sessions(role) - set(but):
            pass
        return True

    async def refusals(self, role: str, times: int) -> None:
        """Wait until the server has refused a role's password this often since the fixture was made."""
        while self.log().count(f'password authentication failed for user "{role}"') < times:
            await self.superuser.execute("SELECT 1")  # the loop goes on, and so do those who are refused

    @asynccontextmanager
    async def rejecting(self, role: str) -> AsyncIterator[None]:
        """Have pg_hba.conf refuse a role, whatever its password is, while the block lasts."""
        rules = Rules(Path(await self.superuser.fetchval("SHOW hba_file")))
        try:
            rules.write(f"host all {role} 0.0.0.0/0 reject\n{rules.text}")
            await self._reload()
            yield
        finally:
            rules.write(rules.text)
            await self._reload()

    async def _reload(self) -> None:
        since = await self.superuser.fetchval("SELECT pg_conf_load_time()")
        await self.superuser.execute("SELECT pg_reload_conf()")
        while await self.superuser.fetchval("SELECT pg_conf_load_time()") == since:
            """The server hasn't read it."""

    async def logins(self) -> list[Login]:
        """Return the logins that the server has noted since the fixture was made."""
        pattern = r"^([\d.]+) (\w+) \w+: +(connection authorized|password authentication failed)"
        found = re.findall(pattern, self.log(), re.MULTILINE)
        return [Login(float(at), role, is_accepted=what == "connection authorized") for at, role, what in found]

    def log(self) -> str:
        """Return what the server has written since the fixture was made."""
        with self.server.log.open() as file:
            file.seek(self.log_start)
            return file.read()

    @asynccontextmanager
    async def host(self, policy: CachePolicy | None = POLICY) -> AsyncIterator[CredentialsPool]:
        """Open a pool of the library, as each host has one."""
        async with CredentialsPool("us-east-1", endpoint_url=self.url, config=ONE_ATTEMPT, policy=policy) as pool:
            yield pool

    @asynccontextmanager
    async def manager(
        self, name: str = "db", policy: CachePolicy | None = POLICY
    ) -> AsyncIterator[AsyncCredentialsManager[DatabaseCredentials]]:
        """Open a pool of the library for one secret."""
        async with self.host(policy) as pool:
            yield pool.manager(name, decode=DatabaseCredentials.from_json)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[LocalPostgres]:
    """One PostgreSQL for the whole run, in each worker of pytest-xdist; without it the test is skipped."""
    if reason := why_not():
        pytest.skip(reason)
    with LocalPostgres(SUPERUSER) as server:
        yield server


@pytest.fixture
async def place(postgres_server: LocalPostgres) -> AsyncIterator[Place]:
    """A superuser's connections to PostgreSQL, and a Secrets Manager without a secret in it."""
    asyncpg = pytest.importorskip("asyncpg")
    where = {"host": postgres_server.host, "port": postgres_server.port, "database": "postgres"}
    async with (
        asyncpg.create_pool(**where, user="postgres", password=SUPERUSER, min_size=1) as superuser,
        StubSecretsManager() as stub,
    ):
        secrets = stub.handler = RotatingSecrets()
        yield Place(asyncpg, postgres_server, superuser, secrets, stub.url, postgres_server.log.stat().st_size)
