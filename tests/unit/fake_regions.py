"""Secrets Manager in several regions, in memory: a primary, and replicas that are copied when the test says so."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError, EndpointConnectionError

from aiocredentials import CredentialsPool
from aiocredentials._identifiers import same_secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

PRIMARY = "eu-west-1"
REPLICA = "eu-central-1"
THIRD = "us-east-1"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Version(NamedTuple):
    """A version of a secret: the later it was created, the higher its number."""

    number: int
    created_at: datetime | None

    @property
    def version_id(self) -> str:
        """The version's id."""
        return f"version-{self.number}"


def version(number: int) -> Version:
    """Return a version that was created in this minute."""
    return Version(number, EPOCH + timedelta(minutes=number))


def arn_of(name: str, region: str = PRIMARY, *, suffix: str = "AbCdEf") -> str:
    """Return the ARN of a secret in a region: a replica's has the same suffix."""
    return f"arn:aws:secretsmanager:{region}:123456789012:secret:{name}-{suffix}"


class FakeRegion:
    """One region: what it holds, how it fails, and what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arn_region = name
        """The region in its ARNs."""
        self.suffix = "AbCdEf"
        """The random end of its ARNs: another one for secrets that aren't replicas."""
        self.secrets: dict[str, Version] = {}
        self.failure: Exception | None = None
        self.refused: dict[str, str] = {}
        """By secret, the error code that it gets."""
        self.seconds = 0.0
        """How long each call takes."""
        self.calls: list[str] = []
        """The operations that were asked."""
        self.reached = asyncio.Event()
        """Set once a call is held."""
        self.is_holding = False

    def fail(self, failure: Exception | str = "InternalServiceError") -> None:
        """Fail all calls, with an exception or with a code of AWS."""
        self.failure = error_of(failure) if isinstance(failure, str) else failure

    def be_unreachable(self) -> None:
        """Refuse all connections."""
        self.fail(EndpointConnectionError(endpoint_url=f"https://secretsmanager.{self.name}.amazonaws.com"))

    def heal(self) -> None:
        """Answer again."""
        self.failure = None
        self.seconds = 0.0

    async def _arrive(self, operation: str) -> None:
        self.calls.append(operation)
        await asyncio.sleep(self.seconds)
        if self.is_holding:
            self.reached.set()
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        """Answer as Secrets Manager does."""
        await self._arrive("get")
        return self._value(parameters["SecretId"], parameters)

    async def batch_get_secret_value(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        """Answer as Secrets Manager does."""
        await self._arrive("batch")
        answer: dict[str, Any] = {"SecretValues": [], "Errors": []}
        for secret_id in parameters["SecretIdList"]:
            try:
                answer["SecretValues"].append(self._value(secret_id, {}))
            except ClientError as error:
                answer["Errors"].append({"SecretId": secret_id, "ErrorCode": error.response["Error"]["Code"]})
        return answer

    async def describe_secret(self, **parameters: str) -> dict[str, Any]:
        """Answer as Secrets Manager does."""
        await self._arrive("describe")
        value = self._value(parameters["SecretId"], {})
        return {"ARN": value["ARN"], "Name": value["Name"], "VersionIdsToStages": {value["VersionId"]: ["AWSCURRENT"]}}

    def _value(self, secret_id: str, parameters: dict[str, str]) -> dict[str, Any]:
        for name, current in self.secrets.items():
            arn = arn_of(name, self.arn_region, suffix=self.suffix)
            if not same_secret(secret_id, name, arn):
                continue
            if name in self.refused:
                raise error_of(self.refused[name])
            return {
                "ARN": arn,
                "Name": name,
                "VersionId": parameters.get("VersionId", current.version_id),
                "SecretString": f'{{"number": {current.number}}}',
                "VersionStages": [parameters.get("VersionStage", "AWSCURRENT")],
                "CreatedDate": current.created_at,
            }
        raise error_of("ResourceNotFoundException")


def error_of(code: str) -> ClientError:
    """Return an error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "GetSecretValue")


class FakeRegions:
    """A `CustomSession` with a client per region."""

    region_name = PRIMARY

    def __init__(self) -> None:
        self.regions = {name: FakeRegion(name) for name in (PRIMARY, REPLICA, THIRD)}
        self.primary = self.regions[PRIMARY]
        self.replica = self.regions[REPLICA]
        self.third = self.regions[THIRD]
        self.store("prod/db", 1)
        self.replicate()

    def store(self, name: str, number: int, *, dated: bool = True) -> None:
        """Make a version current in the primary region."""
        self.primary.secrets[name] = version(number) if dated else Version(number, None)

    def replicate(self) -> None:
        """Copy all secrets to the other regions."""
        for region in self.regions.values():
            region.secrets = dict(self.primary.secrets)

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[FakeRegion]:
        """Lend the client of a region."""
        return nullcontext(self.regions[region_name])


def pool_of(
    aws: FakeRegions,
    *replicas: str,
    clock: Callable[[], float] | None = None,
    **settings: Any,  # noqa: ANN401 - the pool's
) -> CredentialsPool:
    """Make a pool that keeps nothing, unless it has a policy, and has one replica region, unless others are named."""
    settings = {"policy": None, "session": aws, "clock": clock, **settings}
    return CredentialsPool(PRIMARY, replica_regions=replicas or [REPLICA], **settings)
