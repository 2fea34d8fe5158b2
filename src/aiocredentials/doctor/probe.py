"""`Probe`: the single calls that the doctor makes, with the session of one diagnosis.

A method returns plain facts or one of our errors, which it doesn't raise. No value leaves this
module: the caller learns the kind of a secret's value, the number of its keys, and their names if
these are harmless or asked for.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

from aiocredentials._aws.gateway import Gateway
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.regions import SERVICE, Region, default_region
from aiocredentials._aws.requests import SecretRequest, region_of, role_for
from aiocredentials._aws.session import open_session
from aiocredentials._aws.settings import ClientSettings, core_of
from aiocredentials._field_names import is_field_name
from aiocredentials.doctor.identity import ask_sts, assume, load_credentials
from aiocredentials.doctor.results import Contents
from aiocredentials.doctor.route import find_route
from aiocredentials.doctor.search import REGION_SECONDS, Search
from aiocredentials.errors import CredentialsError, SecretFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocredentials import Secret, SecretDescription
    from aiocredentials.doctor.results import Elsewhere, Identity
    from aiocredentials.doctor.route import Route

CALLS_AT_ONCE = 8

# The partition of a region whose name belongs to none.
_USUAL_PARTITION = "aws"


class Probe:
    """Asks AWS with one session, as a pool does: same transport, same region, same credentials.

    If the session can't be opened, entering raises the error that a service would get.

    Args:
        region_name: The region of secrets whose identifier names none.
        endpoint_url: The endpoint to ask instead of AWS's own.
        timeout: The limit of one call, in seconds.
        show_keys: Whether all names of JSON keys are returned, or only those that can't be values.
        role: The ARN, the external id and the session name of the role that the secrets are read
            through; each may be None.

    Raises:
        TypeError: A setting has a wrong type.
        ValueError: A setting is malformed.
    """

    region: Region
    """The region of the secrets whose identifier names none."""

    def __init__(
        self,
        region_name: str | None,
        endpoint_url: str | None,
        timeout: float,
        *,
        show_keys: bool = False,
        role: tuple[str | None, str | None, str | None] = (None, None, None),
    ) -> None:
        self._role = role_for(*role)
        self._settings = ClientSettings(
            region_name,
            "--region",
            None,
            endpoint_url,
        )
        self._timeout = timeout
        self._show_keys = show_keys
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def __aenter__(self) -> Self:
        session = await open_session(self._settings)
        self.region = default_region(self._settings, session)
        self._session = core_of(session)

        self._opened_settings = replace(self._settings, session=self._session)
        self._source = PooledSession(self._opened_settings)
        self._source.open()

        self._gateway = Gateway(self._source, self._timeout)
        search_timeout = min(self._timeout, REGION_SECONDS)
        self._search_gateway = Gateway(self._source, search_timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._source.aclose()

    def region_of(self, secret_name: str) -> Region:
        """Return the region that is asked for a secret, and its source."""
        return region_of(secret_name) or self.region

    async def credentials(self) -> Identity:
        """Load the AWS credentials, once for all later calls, and return their source."""
        return await load_credentials(self._session, self._timeout)

    async def identity(self, known: Identity) -> Identity:
        """Add STS's answer to the source of the credentials."""
        return await ask_sts(
            self._session,
            self.region.name,
            self._timeout,
            known,
        )

    async def assumed(self, known: Identity) -> Identity:
        """Assume the role, if there is one, and return the identity that it became."""
        if self._role is None:
            return known
        return await assume(
            self._role,
            self._opened_settings,
            self.region,
            self._timeout,
            known,
        )

    async def route(self, region: Region) -> Route | None:
        """Return the route of a region's requests; None if no client can be made."""
        return await find_route(
            self._session,
            region,
            self._settings.endpoint_url,
            self._timeout,
        )

    async def get(self, secret_name: str) -> Contents | CredentialsError:
        """Get the secret, and keep the facts that may be shown."""
        return await self._contents(self._request_for(secret_name))

    async def get_replica(self, secret_name: str, region: str) -> Contents | CredentialsError:
        """Get the secret from another region, where it may have a replica."""
        there = Region(region, "--replica-region")
        return await self._contents(self._request_for(secret_name).in_region(there))

    async def _contents(self, request: SecretRequest) -> Contents | CredentialsError:
        try:
            async with self._calls:
                secret = await self._gateway.get(request)
                return _contents_of(secret, show_keys=self._show_keys)
        except CredentialsError as error:
            return copy.copy(error)

    async def describe(self, secret_name: str) -> SecretDescription | CredentialsError:
        """Describe the secret."""
        request = self._request_for(secret_name)
        try:
            async with self._calls:
                return await self._gateway.describe(request)
        except CredentialsError as error:
            return copy.copy(error)

    async def batch(self, secret_name: str) -> CredentialsError | None:
        """Ask for a batch of one; None if the call succeeded, even without the secret."""
        request = self._request_for(secret_name)
        try:
            async with self._calls:
                await self._gateway.get_many([request])
        except CredentialsError as error:
            return copy.copy(error)
        return None

    def _request_for(self, secret_name: str) -> SecretRequest:
        region = self.region_of(secret_name)
        return SecretRequest(secret_name, region, role=self._role)

    async def other_regions(self, region: Region) -> list[str]:
        """List the other regions of Secrets Manager in this partition, without a request."""
        try:
            partition = self._session.get_partition_for_region(region.name)
        except Exception:  # noqa: BLE001 (an emulator's region may have any name)
            partition = _USUAL_PARTITION

        # aiobotocore has a coroutine function here. botocore's stubs have a function.
        session: Any = self._session
        names: list[str] = await session.get_available_regions(SERVICE, partition)
        others = set(names) - {region.name}
        return sorted(others)

    async def search(
        self,
        secret_name: str,
        regions: Sequence[str],
        *,
        by_value: bool,
        progress: Callable[[str], None],
    ) -> Elsewhere:
        """Search other regions for the secret's name.

        Args:
            secret_name: A name, or an ARN whose name is searched.
            regions: The regions to ask.
            by_value: Whether GetSecretValue is called, and not DescribeSecret.
            progress: Called with a sentence about each step.
        """
        search = Search(
            secret_name=secret_name,
            by_value=by_value,
            role=self._role,
            gateway=self._search_gateway,
            calls=self._calls,
            progress=progress,
        )
        return await search.run(regions)


def _contents_of(secret: Secret, *, show_keys: bool) -> Contents:
    try:
        value: object = secret.json()
    except SecretFormatError:
        value = None

    kind = "binary" if secret.is_binary else "plain text"
    keys: tuple[str, ...] | None = None
    key_count: int | None = None
    if isinstance(value, dict):
        kind = "JSON object"
        key_names = sorted(cast("dict[str, object]", value))
        key_count = len(key_names)
        if show_keys or all(map(is_field_name, key_names)):
            keys = tuple(key_names)

    return Contents(
        arn=secret.arn,
        version_id=secret.version_id,
        created_at=secret.created_at,
        kind=kind,
        keys=keys,
        key_count=key_count,
    )
