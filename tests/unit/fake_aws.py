"""Secrets Manager without a socket, for tests of what is above the gateway's clients; and a pool that asks it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from aiocredentials import CachePolicy, CredentialsPool
from aiocredentials._aws.regions import Region
from aiocredentials._aws.session import Opened
from aiocredentials._identifiers import same_secret
from aiocredentials._store import SecretStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiocredentials.events import Listener

CANARY = "hunter2-canary"
TTL = 100.0
POLICY = CachePolicy(ttl=TTL, jitter=0)


@dataclass
class Version:
    """The current version of a secret."""

    number: int
    arn: str

    @property
    def version_id(self) -> str:
        """The version's id."""
        return f"version-{self.number}"

    @property
    def value(self) -> str:
        """The version's value."""
        return f'{{"password": "{CANARY}", "number": {self.number}}}'


class FakeAWS:
    """A `ClientSource` and its client in one. `failures` has a code by the name of a secret or of an operation."""

    def __init__(self, *names: str) -> None:
        self.closed = False
        self.profile: str | None = None
        self.latency = 0.0
        self.calls: list[str] = []
        self.failures: dict[str, str] = {}
        self.secrets: dict[str, Version] = {}
        self._made = 0
        for name in names:
            self.create(name)

    def create(self, name: str) -> Version:
        """Create a secret, or create it again after it was deleted: with an ARN of its own."""
        self._made += 1
        arn = f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{name}-{self._made:06}"
        self.secrets[name] = Version(1, arn)
        return self.secrets[name]

    def rotate(self, name: str) -> str:
        """Make another version current, and return its id."""
        self.secrets[name] = Version(self.secrets[name].number + 1, self.secrets[name].arn)
        return self.secrets[name].version_id

    def forget(self) -> None:
        """Do nothing: there are no clients to drop."""

    async def region(self) -> Region:
        """Tell the default region."""
        self._check("region")
        return Region("eu-west-1", "the pool")

    @asynccontextmanager
    async def client(
        self,
        region: Region | None,
        deadline: asyncio.Timeout,  # noqa: ARG002 (of the protocol)
        role: object = None,  # noqa: ARG002 (of the protocol)
    ) -> AsyncIterator[Opened]:
        """Lend itself."""
        yield Opened(cast("Any", self), region or await self.region())

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        """Answer as Secrets Manager does."""
        self.calls.append(parameters["SecretId"])
        await self._travel()
        self._check("GetSecretValue")
        self._check(parameters["SecretId"])
        return self._value(parameters["SecretId"], parameters.get("VersionStage", ""))

    async def batch_get_secret_value(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        """Answer as Secrets Manager does."""
        self.calls.append(" ".join(parameters["SecretIdList"]))
        await self._travel()
        self._check("BatchGetSecretValue")
        answer: dict[str, Any] = {"SecretValues": [], "Errors": []}
        for name in parameters["SecretIdList"]:
            try:
                self._check(name)
                answer["SecretValues"].append(self._value(name, "AWSCURRENT"))
            except ClientError as error:
                answer["Errors"].append({"SecretId": name, "ErrorCode": error.response["Error"]["Code"]})
        return answer

    async def _travel(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)

    def _check(self, what: str) -> None:
        if code := self.failures.get(what):
            raise ClientError({"Error": {"Code": code, "Message": "No."}}, "GetSecretValue")

    def _value(self, secret_id: str, stage: str) -> dict[str, Any]:
        for name, version in self.secrets.items():
            if same_secret(secret_id, name, version.arn):
                return {
                    "ARN": version.arn,
                    "Name": name,
                    "VersionId": version.version_id,
                    "SecretString": version.value,
                    "VersionStages": [stage],
                }
        raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "No."}}, "GetSecretValue")


@asynccontextmanager
async def pool_of(
    aws: FakeAWS,
    *,
    listener: Listener | None = None,
    max_secrets: int = 1024,
    policy: CachePolicy = POLICY,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[CredentialsPool]:
    """Open a pool that asks a fake, with the loop's clock."""
    async with CredentialsPool(policy=policy) as pool:
        clock = clock or asyncio.get_running_loop().time
        store = SecretStore(aws, 10.0, pooled=True, max_secrets=max_secrets, listener=listener, clock=clock)
        # The pool's own store goes on to open and close, and asks the fake.
        vars(pool._store).update(vars(store))
        yield pool
