"""The fake's replicas: copies in other regions, and regions that fail."""

from __future__ import annotations

import pytest

from aiocredentials import CachePolicy, CredentialsPool, InternalServiceError
from aiocredentials.testing import FakeClock, FakeSecretsManager

PRIMARY, REPLICA = "eu-west-1", "eu-central-1"


@pytest.fixture
def fake() -> FakeSecretsManager:
    """A secret with a replica."""
    fake = FakeSecretsManager({"prod/db": {"number": 1}}, region_name=PRIMARY)
    fake.replicate("prod/db", REPLICA)
    return fake


def pool_of(fake: FakeSecretsManager, clock: FakeClock) -> CredentialsPool:
    """Make a pool with a cache."""
    policy = CachePolicy(ttl=10, jitter=0, max_stale=1000)
    return CredentialsPool(PRIMARY, replica_regions=[REPLICA], session=fake, policy=policy, clock=clock)


async def test_a_failover(fake: FakeSecretsManager) -> None:
    """If one region fails, the replica answers with the same version and the same ARN, except for the region."""
    clock = FakeClock()
    async with pool_of(fake, clock) as pool:
        before = await pool.manager("prod/db").secret()
        fake.fail_next("InternalServiceError", times=None, region_name=PRIMARY)
        clock.advance(20)
        after = await pool.manager("prod/db").secret()
        alone = await pool.manager("prod/db", REPLICA).secret()
    assert (before.region, after.region) == (PRIMARY, REPLICA)
    assert (before.arn, before.version_id) == (after.arn, after.version_id)
    assert alone.arn == before.arn.replace(PRIMARY, REPLICA)
    assert [call.region_name for call in fake.calls] == [PRIMARY, PRIMARY, REPLICA, REPLICA]


async def test_a_replica_that_lags(fake: FakeSecretsManager) -> None:
    """The replica has a rotation only after the next `replicate`, and the pool notices that it lags."""
    clock = FakeClock()
    async with pool_of(fake, clock) as pool:
        manager = pool.manager("prod/db")
        await manager.get()
        fake.rotate("prod/db", {"number": 2})
        assert (await manager.refresh()).json() == {"number": 2}
        fake.fail_next("InternalServiceError", times=None, region_name=PRIMARY)
        with pytest.raises(InternalServiceError, match="an older version"):
            await manager.refresh()
        fake.replicate("prod/db", REPLICA)
        assert (await manager.refresh()).region == REPLICA


@pytest.mark.parametrize("region", [PRIMARY, "Frankfurt", ""])
def test_regions_without_a_replica(fake: FakeSecretsManager, region: str) -> None:
    """The secret's own region and names that aren't regions have no replica."""
    with pytest.raises(ValueError, match=r"is the region of the secret|isn't the name of a region"):
        fake.replicate("prod/db", region)


def test_a_replica_is_read_only(fake: FakeSecretsManager) -> None:
    """As in AWS, a replica is changed in the primary region only, and copied from there."""
    with pytest.raises(ValueError, match="is a replica, which is read only: change it in 'eu-west-1'"):
        fake.set("prod/db", {"number": 2}, region_name=REPLICA)
    with pytest.raises(ValueError, match="is a replica"):
        fake.rotate("prod/db", {"number": 2}, region_name=REPLICA)
    with pytest.raises(ValueError, match="is a replica"):
        fake.replicate("prod/db", "us-east-1", region_name=REPLICA)
    fake.rotate("prod/db", {"number": 2})
    fake.replicate("prod/db", REPLICA)


def test_a_secret_that_is_missing(fake: FakeSecretsManager) -> None:
    """A test that forgot to create the secret is told so."""
    with pytest.raises(KeyError, match="prod/other"):
        fake.replicate("prod/other", REPLICA)
