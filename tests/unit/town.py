"""A secret and the server that it is for, in virtual time: what rotates, and what is asked and tried.

The manager, its pool and its cache are the real ones. The secret's versions and the server's passwords are made here.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from aiocredentials import CachePolicy, DatabaseCredentials
from unit.fake_aws import FakeAWS, pool_of
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from aiocredentials import AsyncCredentialsManager, CredentialsPool

NAME = "prod/db"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-000001"
POLICY = CachePolicy(jitter=0)
FETCH, LOGIN = 0.02, 0.01  # seconds that each takes


class WrongPasswordError(Exception):
    """What a PostgreSQL client raises."""

    sqlstate = "28P01"


@dataclass(frozen=True)
class Version:
    """A version of the secret."""

    version_id: str
    user: str
    password: str
    text: str | None = None


class Town(FakeAWS):
    """A secret with its labels, and the server that it is for."""

    def __init__(self, *, alternating: bool = False) -> None:
        super().__init__()
        self.latency = FETCH
        self.alternating = alternating
        first = Version("v1", "app", "password-1")
        self.labels: dict[str, Version] = {"AWSCURRENT": first}
        self.accepted = {"app": "password-1"}
        self.logins: list[tuple[float, str]] = []
        self.denied_labels: set[str] = set()
        self.asked: list[str] = []
        self._number = 1

    def create_pending(self) -> Version:
        """Take the first step of a rotation: make a version that no server knows yet."""
        self._number += 1
        current = self.labels["AWSCURRENT"]
        other = "app" if current.user != "app" else "app_clone"
        user = other if self.alternating else current.user
        pending = Version(f"v{self._number}", user, f"password-{self._number}")
        self.labels["AWSPENDING"] = pending
        return pending

    def change_server(self, version: Version) -> None:
        """Set the password on the server: the user's old one is refused from now on."""
        self.accepted[version.user] = version.password

    def promote(self, version: Version) -> None:
        """Make a version the current one."""
        self.labels["AWSPREVIOUS"] = self.labels["AWSCURRENT"]
        self.labels["AWSCURRENT"] = version
        self.labels.pop("AWSPENDING", None)

    async def rotate(self, order: str = "server first", window: float = 0.0) -> None:  # type: ignore[override] # another kind
        """Rotate, with a window between the two changes."""
        pending = self.create_pending()
        steps = [self.change_server, self.promote]
        first, second = steps if order == "server first" else reversed(steps)
        first(pending)
        if window:
            await asyncio.sleep(window)
        second(pending)

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        """Answer as Secrets Manager does."""
        label = parameters["VersionStage"]
        self.asked.append(label)
        await self._travel()
        self._check("GetSecretValue")
        if label in self.denied_labels:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "No."}}, "GetSecretValue")
        version = self.labels.get(label)
        if version is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "No."}}, "GetSecretValue")
        text = json.dumps({"username": version.user, "password": version.password})
        return {
            "ARN": ARN,
            "Name": NAME,
            "VersionId": version.version_id,
            "SecretString": text if version.text is None else version.text,
            "VersionStages": [name for name, labelled in self.labels.items() if labelled is version],
        }

    async def login(self, credentials: DatabaseCredentials) -> str:
        """Be the server: take a user with the right password; return a connection, which is the user's name."""
        await asyncio.sleep(LOGIN)
        password = self.accepted.get(credentials.username)
        self.logins.append((asyncio.get_running_loop().time(), credentials.password))
        # Each pair that ever was is of one number.
        assert credentials.password.startswith("password-")
        if credentials.password != password:
            raise WrongPasswordError
        return credentials.username


@asynccontextmanager
async def managed(
    town: Town, policy: CachePolicy | None = POLICY
) -> AsyncIterator[tuple[CredentialsPool, AsyncCredentialsManager[DatabaseCredentials]]]:
    """Open a pool over the town's secrets, with a manager of the one there is."""
    async with pool_of(town, policy=POLICY) as pool:
        yield pool, pool.manager(NAME, "eu-west-1", decode=DatabaseCredentials.from_json, policy=policy)


def in_town(
    body: Callable[[Town, AsyncCredentialsManager[DatabaseCredentials]], Coroutine[Any, Any, None]],
    *,
    policy: CachePolicy | None = POLICY,
    seed: int = 0,
    alternating: bool = False,
) -> Town:
    """Run a test's body in virtual time, and see that it leaves nothing behind."""
    town = Town(alternating=alternating)

    async def main() -> None:
        async with managed(town, policy) as (_, manager):
            await body(town, manager)

    run(main(), seed=seed, leave_nothing=True, max_steps=1_000_000)
    return town


def now() -> float:
    """Tell the virtual time."""
    return asyncio.get_running_loop().time()
