"""Roles in several regions: each region has an STS of its own, which may fail alone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialSourceError, InternalServiceError
from aiocredentials._aws.gateway import Gateway
from aiocredentials._aws.regions import Region
from aiocredentials._aws.replicas import ReplicatedGateway
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.roles import Role
from aiocredentials._aws.session import Opened
from aiocredentials._reports import Reporter
from aiocredentials.testing import FakeClock
from unit.cache_model import virtual
from unit.fake_regions import PRIMARY, REPLICA, FakeRegions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROLE = Role("arn:aws:iam::123456789012:role/reader")
AS_ITSELF = SecretRequest("prod/db")
AS_ROLE = AS_ITSELF._replace(role=ROLE)


class Source:
    """Lends clients, whose opening can fail or hang in a region as its STS does."""

    closed = False
    profile = None

    def __init__(self) -> None:
        self.aws: Any = FakeRegions()
        self.failing: dict[str, Exception] = {}
        self.hanging: set[str] = set()

    async def region(self) -> Region:
        """Return the default region."""
        return Region(PRIMARY, "a test")

    @asynccontextmanager
    async def client(self, region: Region | None, *_: object) -> AsyncIterator[Opened]:
        """Lend the client of a region."""
        where = region or await self.region()
        if where.name in self.hanging:
            await asyncio.sleep(86_400)
        if where.name in self.failing:
            raise self.failing[where.name]
        yield Opened(self.aws.regions[where.name], where)

    def forget(self) -> None:
        """Hold nothing."""


def gateway_of(source: Source) -> ReplicatedGateway:
    """Return a gateway with one replica region."""
    return ReplicatedGateway(
        Gateway(source, 10),
        [Region(REPLICA, "a test")],
        timeout=10,
        clock=FakeClock(),
        most_versions=10,
        reports=Reporter(None),
    )


async def test_sts_fails_in_the_primary_region() -> None:
    """The replica region is asked through its own STS; reads that need no STS still ask the primary region."""
    source = Source()
    gateway = gateway_of(source)
    source.failing[PRIMARY] = CredentialSourceError("STS is down.")
    assert (await gateway.get(AS_ROLE)).region == REPLICA
    # Without a role, AWS credentials that can't be loaded are missing in each region.
    with pytest.raises(CredentialSourceError):
        await gateway.get(AS_ITSELF)
    source.failing.clear()
    assert (await gateway.get(AS_ITSELF)).region == PRIMARY
    assert (await gateway.get(AS_ROLE)).region == PRIMARY


async def test_a_replica_that_refuses_a_roles_credentials() -> None:
    """It is still asked with other credentials."""
    source = Source()
    gateway = gateway_of(source)
    source.aws.primary.fail()
    source.aws.replica.fail("InvalidClientTokenId")
    with pytest.raises(InternalServiceError):
        await gateway.get(AS_ROLE)
    source.aws.replica.heal()
    with pytest.raises(InternalServiceError):
        await gateway.get(AS_ROLE)
    assert (await gateway.get(AS_ITSELF)).region == REPLICA


async def test_sts_fails_in_all_regions() -> None:
    """The error is the primary region's, and names what the replica region answered."""
    source = Source()
    for region in (PRIMARY, REPLICA):
        source.failing[region] = CredentialSourceError("STS is down.")
    with pytest.raises(CredentialSourceError, match=rf"{REPLICA} \(CredentialSourceError\)") as info:
        await gateway_of(source).get(AS_ROLE)
    assert info.value.region_name == PRIMARY


@virtual
async def test_sts_hangs_in_the_primary_region() -> None:
    """Opening has a share of the time if it assumes a role; without a role it may take all of it."""
    source = Source()
    gateway = gateway_of(source)
    source.hanging.add(PRIMARY)
    loop = asyncio.get_running_loop()
    assert (await gateway.get(AS_ROLE)).region == REPLICA
    assert loop.time() == 5.0
    with pytest.raises(CredentialSourceError, match="within 10 s"):
        await gateway.get(AS_ITSELF)
    assert loop.time() == 15.0


@virtual
@pytest.mark.parametrize("role", [None, ROLE])
async def test_callers_that_do_not_wait_for_credentials(role: Role | None) -> None:
    """A caller that gives up before a client is open has learned nothing of the region."""
    source = Source()
    gateway = gateway_of(source)
    source.hanging.add(PRIMARY)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4):
            await gateway.get(AS_ITSELF._replace(role=role))
    source.hanging.clear()
    assert (await gateway.get(AS_ITSELF)).region == PRIMARY
    source.aws.primary.seconds = 86_400
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4):
            await gateway.get(AS_ITSELF._replace(role=role))
    async with asyncio.timeout(1):
        assert (await gateway.get(AS_ITSELF)).region == REPLICA
