"""The search for a secret's name in other regions."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest, region_of
from aiocredentials.doctor.results import Elsewhere
from aiocredentials.doctor.wording import kms_denies
from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    CredentialsError,
    SecretDeletedError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiocredentials._aws.gateway import Gateway
    from aiocredentials._aws.roles import Role

    # The result of each region.
    Results: TypeAlias = Mapping[str, str]

# The limits of a search: for one region, and for all of them together.
REGION_SECONDS = 5.0
SEARCH_SECONDS = 30.0

# The results of a region. The last one means that it hasn't answered.
_FOUND = "found"
_DELETED = "deleted"
_ABSENT = "absent"
_REFUSED = "refused"
_SILENT = "silent"

# The result that an error means. A region that the account hasn't enabled rejects its credentials.
_RESULTS_BY_ERROR: Mapping[type[CredentialsError], str] = {
    SecretNotFoundError: _ABSENT,
    SecretDeletedError: _DELETED,
    AccessDeniedError: _REFUSED,
    AuthenticationError: _REFUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search for one secret, by DescribeSecret or by GetSecretValue."""

    secret_name: str
    by_value: bool
    """Whether GetSecretValue is called, because DescribeSecret is denied."""
    role: Role | None
    """The role that the regions are asked through."""
    gateway: Gateway
    calls: asyncio.Semaphore
    """Limits how many calls are made at once."""
    progress: Callable[[str], None]
    """Called with a sentence about the progress."""

    async def run(self, regions: Sequence[str]) -> Elsewhere:
        """Ask all these regions, within `SEARCH_SECONDS`."""
        results = dict.fromkeys(regions, _SILENT)

        async def search_in(region: str) -> None:
            async with self.calls:
                result = await self._result_in(region)
                results[region] = result
            self._report_progress(results)

        deadline = asyncio.timeout(SEARCH_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with deadline, asyncio.TaskGroup() as group:
                for region in regions:
                    group.create_task(search_in(region))

        return Elsewhere(
            name=name_in(self.secret_name),
            found=_regions_with(_FOUND, results),
            deleted=_regions_with(_DELETED, results),
            absent=_regions_with(_ABSENT, results),
            refused=_regions_with(_REFUSED, results),
            silent=_regions_with(_SILENT, results),
        )

    def _report_progress(self, results: Results) -> None:
        total = len(results)
        done = total - len(_regions_with(_SILENT, results))
        regions = f"{total} other regions for {self.secret_name}"
        self.progress(f"searching {regions}, {done} done")

    async def _result_in(self, region: str) -> str:
        name = name_in(self.secret_name)
        origin = Region(region, "the search")
        request = SecretRequest(name, origin, role=self.role)
        try:
            is_deleted = await self._is_deleted(request)
        except CredentialsError as error:
            return _result_of(error)
        if is_deleted:
            return _DELETED
        return _FOUND

    async def _is_deleted(self, request: SecretRequest) -> bool:
        """Whether a secret is scheduled for deletion. Raises if the region doesn't have it."""
        if self.by_value:
            # A deleted secret has no value: the call raises.
            await self.gateway.get(request)
            return False
        description = await self.gateway.describe(request)
        return description.deleted_at is not None


def _result_of(error: CredentialsError) -> str:
    # KMS is asked only for a secret that exists.
    if kms_denies(error):
        return _FOUND
    for cls, result in _RESULTS_BY_ERROR.items():
        if isinstance(error, cls):
            return result
    return _SILENT


def _regions_with(wanted: str, results: Results) -> tuple[str, ...]:
    regions = [region for region, result in results.items() if result == wanted]
    return tuple(regions)


def name_in(secret_name: str) -> str:
    """Return the name in an ARN, whose last six characters differ between regions; or the name."""
    if region_of(secret_name) is None:
        return secret_name
    name = secret_name.split(":", 6)[6]
    return re.sub(r"-[A-Za-z0-9]{6}$", "", name)
