"""Prefetching from replica regions: a batch fails over as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from aiocredentials import (
    AccessDeniedError,
    CachePolicy,
    InternalServiceError,
)
from aiocredentials.testing import FakeClock
from unit.cache_model import virtual
from unit.fake_regions import PRIMARY, REPLICA, THIRD, FakeRegions, arn_of, error_of, pool_of

POLICY = CachePolicy(ttl=10, jitter=0, refresh_ahead=None, max_stale=1000)


async def test_batches_of_another_region() -> None:
    """A batch of another region fails alone, too."""
    aws = FakeRegions()
    aws.third.fail("InternalServiceError")
    async with pool_of(aws, policy=POLICY) as pool:
        with pytest.raises(ExceptionGroup):
            await pool.prefetch(arn_of("prod/db", THIRD))
    assert aws.primary.calls == aws.replica.calls == []


async def test_prefetch() -> None:
    """A batch fails over as a whole, by name and by ARN; what the replica refuses is the primary's failure."""
    aws = FakeRegions()
    for name in ("prod/arn", "prod/denied", "prod/late"):
        aws.store(name, 2)
    aws.replicate()
    aws.store("prod/new", 1)
    aws.replica.refused["prod/denied"] = "AccessDeniedException"
    async with pool_of(aws, policy=POLICY, clock=FakeClock()) as pool:
        await pool.prefetch("prod/late")
        aws.replica.secrets["prod/late"] = aws.primary.secrets["prod/db"]  # version 1: it lags
        pool.manager("prod/late").invalidate()
        aws.primary.fail("InternalServiceError")
        with pytest.raises(ExceptionGroup) as info:
            await pool.prefetch("prod/db", arn_of("prod/arn"), "prod/denied", "prod/late", "prod/new")
        assert pool.stats().entries == 2
        assert (await pool.manager("prod/db").secret()).region == REPLICA
        assert (await pool.manager("prod/arn").secret()).arn == arn_of("prod/arn")
    failures: dict[str | None, str] = {}
    for error in info.value.exceptions:
        assert isinstance(error, InternalServiceError)
        assert error.region_name == PRIMARY
        failures[error.secret_name] = str(error)
    assert failures.keys() == {"prod/denied", "prod/late", "prod/new"}
    assert f"{REPLICA} (AccessDeniedError)" in failures["prod/denied"]
    assert f"{REPLICA} (an older version)" in failures["prod/late"]
    assert f"{REPLICA} (SecretNotFoundError)" in failures["prod/new"]
    # A session of one's own may have a cache, so the secret that was invalidated is asked singly.
    assert aws.replica.calls == ["batch", "get"]


async def test_another_secret_of_the_same_name() -> None:
    """In a batch, too, another secret that only has the same name is no answer; a replica beside it is one."""
    aws = FakeRegions()
    aws.store("prod/other", 1)
    aws.replicate()
    clock = FakeClock()
    async with pool_of(aws, policy=POLICY, clock=clock) as pool:
        await pool.prefetch("prod/db")
        clock.advance(20)
        aws.primary.fail("InternalServiceError")
        aws.replica.suffix = "QqQqQq"
        with pytest.raises(ExceptionGroup) as info:
            await pool.prefetch("prod/db", "prod/other")
        assert (await pool.manager("prod/other").secret()).region == REPLICA
    (error,) = info.value.exceptions
    assert isinstance(error, InternalServiceError)
    assert error.secret_name == "prod/db"
    assert f"{REPLICA} (another secret of the same name)" in str(error)
    assert aws.replica.calls == ["batch"]


async def test_prefetch_from_the_primary() -> None:
    """As long as the primary region answers, its outcomes are those of the batch."""
    aws = FakeRegions()
    aws.primary.refused["prod/db"] = "AccessDeniedException"
    aws.store("prod/other", 1)
    async with pool_of(aws, policy=POLICY) as pool:
        with pytest.raises(ExceptionGroup) as info:
            await pool.prefetch("prod/db", "prod/other")
        assert (await pool.manager("prod/other").secret()).region == PRIMARY
    (error,) = info.value.exceptions
    assert isinstance(error, AccessDeniedError)


async def test_a_replica_that_refuses_batches() -> None:
    """If the replica allows no batches, the secrets are asked there singly, as in the primary region."""
    aws = FakeRegions()
    batch = aws.replica.batch_get_secret_value

    async def denied(**parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        await batch(**parameters)
        raise error_of("AccessDeniedException")

    aws.replica.batch_get_secret_value = denied  # type: ignore[method-assign]
    aws.primary.fail()
    async with pool_of(aws, policy=POLICY, clock=FakeClock()) as pool:
        await pool.prefetch("prod/db")
        assert (await pool.manager("prod/db").secret()).region == REPLICA
    assert aws.replica.calls == ["batch", "get"]


async def test_a_replica_that_refuses_our_credentials() -> None:
    """A replica that doesn't accept our AWS credentials has no answer; the failure is the primary's."""
    aws = FakeRegions()
    aws.primary.fail("InternalServiceError")
    aws.replica.fail("InvalidClientTokenId")
    async with pool_of(aws, policy=POLICY, clock=FakeClock()) as pool:
        with pytest.raises(ExceptionGroup) as info:
            await pool.prefetch("prod/db")
    (error,) = info.value.exceptions
    assert isinstance(error, InternalServiceError)
    assert "AuthenticationError" in str(error)


async def test_a_batch_that_leaves_a_secret_out() -> None:
    """What a batch has no answer for is asked singly, as without replicas."""
    aws = FakeRegions()

    async def empty(**_: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        return {}

    aws.primary.batch_get_secret_value = empty  # type: ignore[method-assign]
    async with pool_of(aws, policy=POLICY) as pool:
        await pool.prefetch("prod/db")
    assert aws.primary.calls == ["get"]


@virtual
@pytest.mark.parametrize("where", [PRIMARY, REPLICA])
async def test_a_throttled_batch(where: str) -> None:
    """It says nothing about single reads: its secrets are read singly in the same region, which isn't left alone."""
    aws = FakeRegions()
    region = aws.regions[where]
    if where == REPLICA:
        aws.primary.fail()
    batch = region.batch_get_secret_value

    async def throttled(**parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        await batch(**parameters)
        raise error_of("ThrottlingException")

    region.batch_get_secret_value = throttled  # type: ignore[method-assign]
    aws.store("prod/other", 1)
    aws.replicate()
    async with pool_of(aws, policy=POLICY, clock=FakeClock()) as pool:
        await pool.prefetch("prod/db")
        assert (await pool.manager("prod/db").secret()).region == where
        assert (await pool.manager("prod/other").secret()).region == where
    assert region.calls == ["batch", "get", "get"]


@virtual
async def test_a_batch_that_is_throttled_for_ever() -> None:
    """If single reads fail as well, the failure is the primary region's."""
    aws = FakeRegions()
    aws.primary.fail()
    aws.replica.fail("ThrottlingException")
    async with pool_of(aws, policy=POLICY, clock=FakeClock()) as pool:
        with pytest.raises(ExceptionGroup) as info:
            await pool.prefetch("prod/db")
    (error,) = info.value.exceptions
    assert isinstance(error, InternalServiceError)
    assert f"{REPLICA} (ThrottledError)" in str(error)
