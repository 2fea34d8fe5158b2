"""The argument `replica_regions`: what a pool refuses, and what it warns of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import (
    CredentialsPool,
    InternalServiceError,
)
from unit.fake_regions import PRIMARY, REPLICA, THIRD, FakeRegions

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.stub import StubSecretsManager


def make(*replicas: Any, **settings: Any) -> Callable[[], CredentialsPool]:  # noqa: ANN401 - right and wrong arguments
    """Return a function that makes a pool."""
    listed = settings.pop("replica_regions", list(replicas))
    return lambda: CredentialsPool(**{"region_name": PRIMARY, "replica_regions": listed, **settings})


@pytest.mark.parametrize(
    ("pool", "kind", "sentence"),
    [
        (make(replica_regions="eu-central-1"), TypeError, r"is a string: give a list, such as \['eu-central-1'\]"),
        (make(replica_regions=""), TypeError, "is a string"),
        (make(replica_regions=None), TypeError, "is a NoneType: give a list"),
        (make(7), TypeError, "has a int: give the names"),
        (make(""), ValueError, "has '', which isn't the name of a region"),
        (make("eu-central1"), ValueError, "write it as 'eu-central-1'"),
        (make("Frankfurt"), ValueError, "'Frankfurt', which isn't the name"),
        (make(f"eu-{'a' * 70}-1"), ValueError, "isn't the name of a region"),
        (make(PRIMARY), ValueError, "which is the primary region: list the other regions"),
        (make(THIRD, config=AioConfig(region_name=THIRD)), ValueError, "which is the primary region"),
        (make(REPLICA, REPLICA), ValueError, "'eu-central-1' twice"),
        (make(REPLICA, endpoint_url="http://127.0.0.1:1"), ValueError, "endpoint_url is one endpoint"),
    ],
)
def test_wrong_arguments(pool: Callable[[], CredentialsPool], kind: type[Exception], sentence: str) -> None:
    """A list that can't work is refused when the pool is made, with what to do."""
    with pytest.raises(kind, match=sentence):
        pool()


async def test_a_region_that_nobody_knows(monkeypatch: pytest.MonkeyPatch, stub: StubSecretsManager) -> None:
    """A mistyped region is noticed at the first read, not in the first outage; the warning names the caller's line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", stub.url)
    pool = CredentialsPool(PRIMARY, replica_regions=["eu-centrall-1", REPLICA], policy=None)
    async with pool:
        with pytest.warns(UserWarning, match="did you mean 'eu-central-1'") as caught:
            await pool.manager("prod/db").secret()
        await pool.manager("prod/db").secret()
    (warning,) = caught
    assert warning.filename == __file__


async def test_no_replicas() -> None:
    """An empty list is a pool without replicas."""
    aws = FakeRegions()
    aws.primary.fail()
    async with CredentialsPool(PRIMARY, replica_regions=[], session=aws, policy=None) as pool:
        with pytest.raises(InternalServiceError) as info:
            await pool.manager("prod/db").secret()
    assert "replica" not in str(info.value)


async def test_the_same_list_in_each_region() -> None:
    """If the environment names the primary region, it may be in the list, which can be the same everywhere."""
    aws = FakeRegions()
    async with CredentialsPool(replica_regions=[PRIMARY, REPLICA], session=aws, policy=None) as pool:
        assert (await pool.manager("prod/db").secret()).region == PRIMARY
        aws.primary.fail()
        assert (await pool.manager("prod/db").secret()).region == REPLICA
    assert len(aws.primary.calls) == 2
