"""AWS credentials for our own signatures, loaded with the deadline and the errors of a call."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from aiocredentials._aws.gateway import UNNAMED, Gateway
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.session import Opened
from aiocredentials.errors import CredentialsError, without_doctor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from aiocredentials._aws.keys import AwsKeys
    from aiocredentials._aws.pooled import PooledSession
    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.responses import FetchStart
    from aiocredentials._aws.roles import Role


def keys_request(region: Region | None, role: Role | None) -> SecretRequest:
    """Return the request for AWS credentials that sign for a region. It is about no secret."""
    return SecretRequest(UNNAMED, region, role=role)


class KeyGateway(Gateway):
    """Loads the AWS credentials of a pool."""

    def __init__(self, session: PooledSession, timeout: float) -> None:
        super().__init__(_KeySource(session), timeout)

    async def keys(self, request: SecretRequest) -> AwsKeys:
        """Return the AWS credentials of this moment.

        Every failure is a `CredentialsError`. Needs sts:AssumeRole if the request has a role.
        """

        async def call(opened: Opened, _: FetchStart) -> AwsKeys:
            return cast("AwsKeys", opened.client)

        try:
            return await self._ask(request, call, None)
        except CredentialsError as error:
            # A service that uses only tokens has no secret.
            failure = without_doctor(error)
        raise failure


class _KeySource:
    """A `ClientSource` that lends AWS credentials in place of a client."""

    def __init__(self, session: PooledSession) -> None:
        self._session = session

    @property
    def closed(self) -> bool:
        return self._session.closed

    @property
    def profile(self) -> str | None:
        return self._session.profile

    async def region(self) -> Region:
        return await self._session.region()

    @asynccontextmanager
    async def client(
        self,
        region: Region | None,
        deadline: asyncio.Timeout,
        role: Role | None,
    ) -> AsyncGenerator[Opened]:
        # A signature names its region, so the request has one.
        where = cast("Region", region)
        keys: Any = await self._session.keys(where, deadline, role)
        yield Opened(keys, where)

    def forget(self) -> None:
        """Do nothing: the pool's own session forgets."""
