"""moto's in-process mock over code that uses the library: the error names it, and what to use instead."""

from __future__ import annotations

from typing import Any

import pytest
from moto import mock_aws

from aiocredentials import AsyncCredentialsManager, CredentialsPool, InvalidParameterError
from aiocredentials._aws.mapping import map_error
from aiocredentials.testing import FakeSecretsManager, MotoServer


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
async def test_mock_aws(pooled: bool) -> None:  # noqa: FBT001 (a table)
    """A test that goes on with `mock_aws` fails at once, for good, and says why; no request leaves this machine."""
    manager = AsyncCredentialsManager[Any]("prod/db", region_name="eu-west-1")
    with mock_aws():
        async with CredentialsPool("eu-west-1") as pool:
            with pytest.raises(InvalidParameterError) as caught:
                await (pool.manager("prod/db") if pooled else manager).get()
    error = caught.value
    assert (error.transient, error.asked) == (False, False)
    for words in ("moto's in-process mock (mock_aws)", "moto_secrets", "FakeSecretsManager"):
        assert words in str(error)


async def test_what_goes_together(moto: MotoServer) -> None:
    """The server of moto and the fake work inside of the mock, which catches requests to AWS's own hosts alone."""
    with mock_aws():
        fake = FakeSecretsManager({"prod/db": {"username": "app"}})
        assert await AsyncCredentialsManager[Any]("prod/db", session=fake).get() == {"username": "app"}
        manager = AsyncCredentialsManager[Any]("prod/db", endpoint_url=moto.url)
        with pytest.raises(Exception, match="can't find the specified secret"):
            await manager.get()


def test_without_the_mock() -> None:
    """An error is what it is where moto's mock isn't active, and so is another one where it is."""
    assert "moto" not in str(map_error(TypeError()))
    with mock_aws():
        assert "moto" not in str(map_error(KeyError()))
        assert "moto" in str(map_error(TypeError()))
