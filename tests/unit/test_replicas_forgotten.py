"""`pool.forget()` with replica regions: which region is the primary one, and which have failed, is found again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiocredentials import CredentialsPool
from aiocredentials._aws.regions import Region
from aiocredentials.testing import FakeClock
from unit.fake_regions import PRIMARY, REPLICA, THIRD, FakeRegions, pool_of


async def test_after_an_outage() -> None:
    """A region that has failed is asked again at once."""
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        manager = pool.manager("prod/db")
        aws.primary.fail()
        assert (await manager.secret()).region == REPLICA
        aws.primary.heal()
        assert (await manager.secret()).region == REPLICA
        pool.forget()
        assert (await manager.secret()).region == PRIMARY


async def test_known_versions_are_kept() -> None:
    """A replica that lags is refused after it, too."""
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        manager = pool.manager("prod/db")
        aws.store("prod/db", 2)
        assert (await manager.secret()).json() == {"number": 2}
        pool.forget()
        aws.primary.fail()
        with pytest.raises(Exception, match="an older version"):
            await manager.secret()


async def test_another_default_region() -> None:
    """If the default region has changed, the new one is the primary region, and fails over."""
    aws = FakeRegions()
    async with CredentialsPool(replica_regions=[REPLICA], policy=None, session=aws, clock=FakeClock()) as pool:
        manager = pool.manager("prod/db")
        assert (await manager.secret()).region == PRIMARY
        aws.region_name = THIRD
        pool.forget()
        assert (await manager.secret()).region == THIRD
        aws.third.fail()
        secret = await manager.secret()
    assert (secret.region, secret.arn.split(":")[3]) == (REPLICA, THIRD)


async def test_a_region_that_is_being_found() -> None:
    """A default region that was read before it is used by that call, and by no later one."""
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        gateway: Any = pool._store.gateway
        find = gateway._gateway.region
        asked = asyncio.Event()
        found = asyncio.Event()

        async def slow(_: object) -> Region:
            asked.set()
            await found.wait()
            return Region(THIRD, "a test")

        gateway._gateway.region = slow
        first = asyncio.create_task(pool.manager("prod/db").secret())
        await asked.wait()
        pool.forget()
        gateway._gateway.region = find
        found.set()
        await first
        await pool.manager("prod/db").secret()
    assert gateway._places[0].region.name == PRIMARY
