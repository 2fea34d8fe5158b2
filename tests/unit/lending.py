"""What the tests of sessions share: a client as the gateway gets it, and the error of a fetch."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, CredentialsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.session import ClientSource, Opened

ONE_ATTEMPT = {"total_max_attempts": 1}


@asynccontextmanager
async def opened(source: ClientSource, region: Region | None = None) -> AsyncIterator[Opened]:
    """Lend a client as the gateway does: inside a deadline that closing may bring forward."""
    async with asyncio.timeout(20) as deadline, source.client(region, deadline) as lent:
        yield lent


async def error_of(manager: AsyncCredentialsManager[Any]) -> CredentialsError:
    """Give what a fetch raises."""
    with pytest.raises(CredentialsError) as info:
        await manager.secret()
    return info.value
