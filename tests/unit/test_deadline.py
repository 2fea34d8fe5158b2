"""The one deadline around a whole fetch."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from aiocredentials import CredentialSourceError, EndpointUnreachableError
from aiocredentials._aws import loading
from aiocredentials._aws.gateway import Gateway, Limits
from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.session import Opened
from unit.cache_model import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Hanging:
    """A source of clients that never gets to one."""

    closed = False
    profile: str | None = None

    @asynccontextmanager
    async def client(self, *_: object) -> AsyncIterator[Any]:
        """Hang for a day."""
        await asyncio.sleep(86_400)
        yield


@virtual
async def test_a_fetch_that_hangs() -> None:
    """A fetch that gets nowhere, wherever it hangs, ends at its deadline with an error that may be bridged."""
    hanging: Any = Hanging()
    gateway = Gateway(hanging, 10.0)
    loop = asyncio.get_running_loop()
    with pytest.raises(CredentialSourceError, match="within 10 s"):
        await gateway.get(SecretRequest("prod/db", Region("eu-west-1", "a test")))
    assert loop.time() == 10.0


@virtual
async def test_a_process_that_is_still_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the time went into importing, the error says so, with the region, and not that AWS credentials are missing."""
    monkeypatch.setattr(loading, "_is_loaded", False)
    monkeypatch.setattr(loading, "_is_begun", True)
    hanging: Any = Hanging()
    with pytest.raises(CredentialSourceError, match="still importing the libraries") as caught:
        await Gateway(hanging, 0.2).get(SecretRequest("prod/db", Region("eu-west-1", "a test")))
    error = caught.value
    assert (error.transient, error.region_name) == (True, "eu-west-1")
    assert "within 0.2 s" in str(error)
    assert "longer timeout=" in str(error)
    assert "source didn't answer" not in str(error)


WHERE = Region("eu-west-1", "a test")


class Slow:
    """A source whose client is open after some seconds, refuses the credentials once, and then hangs."""

    closed = False
    profile: str | None = None

    def __init__(self, opening: float, *, closes: bool = False) -> None:
        self.opening = opening
        self.closes = closes
        self.calls = 0

    @asynccontextmanager
    async def client(self, _: object, deadline: asyncio.Timeout, _role: object) -> AsyncIterator[Any]:
        """Lend itself."""
        await asyncio.sleep(self.opening)
        if self.closes:
            deadline.reschedule(0)
        client: Any = self
        yield Opened(client, WHERE)

    async def get_secret_value(self, **_: str) -> None:
        """Refuse, and hang."""
        self.calls += 1
        if self.calls == 1:
            await asyncio.sleep(1)
            raise ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "No."}}, "GetSecretValue")
        await asyncio.sleep(86_400)


async def error_of(source: Slow, limits: Limits) -> EndpointUnreachableError:
    """Give what a limited call raises."""
    gateway = Gateway(source, 100.0)  # type: ignore[arg-type]
    with pytest.raises(EndpointUnreachableError) as info:
        await gateway.get(SecretRequest("prod/db", WHERE), limits=limits)
    return info.value


@virtual
async def test_a_call_that_leaves_time_for_another() -> None:
    """A call has its share of the time once its client is open, and the second attempt has the rest of that."""
    source = Slow(2)
    error = await error_of(source, Limits(10, 0.5))
    # 2 seconds of opening, and half of the 8 seconds that are left.
    assert asyncio.get_running_loop().time() == 6
    assert "within 4 s" in str(error)
    assert source.calls == 2


@virtual
async def test_a_pool_that_closes_meanwhile() -> None:
    """A share doesn't put off the end of a call that closing has brought forward."""
    source = Slow(0, closes=True)
    await error_of(source, Limits(10, 0.5))
    assert asyncio.get_running_loop().time() == 0
