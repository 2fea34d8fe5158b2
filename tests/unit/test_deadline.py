"""The one deadline around a whole fetch."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialSourceError
from aiocredentials._aws.gateway import Gateway
from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest
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
