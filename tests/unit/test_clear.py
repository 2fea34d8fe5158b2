"""What the test kit clears between two tests: all that stores have fetched, and what they are about to."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from aiocredentials import AsyncCredentialsManager, CredentialsPool, SecretNotFoundError
from aiocredentials._store import clear_all
from aiocredentials.events import Fetched, FetchFailed
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from aiocredentials.events import SecretEvent

NAME = "prod/database"


async def test_values_and_failures_are_forgotten() -> None:
    """Neither a value nor a remembered failure survives; what comes in next is no rotation of it."""
    fake = FakeSecretsManager({NAME: {"user": "old"}})
    heard: list[SecretEvent] = []
    alone = AsyncCredentialsManager(NAME, session=fake)
    async with CredentialsPool(session=fake, listener=heard.append) as pool:
        missing = pool.manager("prod/missing")
        for manager in (alone, pool.manager(NAME)):
            assert await manager.get() == {"user": "old"}
        with pytest.raises(SecretNotFoundError):
            await missing.get()
        fake.set(NAME, {"user": "new"})
        fake.set("prod/missing", {"user": "there"})

        clear_all()

        assert pool.stats().entries == 0
        for manager in (alone, pool.manager(NAME)):
            assert await manager.get() == {"user": "new"}
        assert await missing.get() == {"user": "there"}
    assert [type(event) for event in heard] == [Fetched, FetchFailed, Fetched, Fetched]


async def test_a_fetch_under_way_is_not_kept() -> None:
    """A fetch that began before serves the callers who wait for it, and nobody later."""
    fake = FakeSecretsManager({NAME: {"user": "old"}})
    async with CredentialsPool(session=fake) as pool:
        manager = pool.manager(NAME)
        with fake.hold() as gate:
            waiting = asyncio.create_task(manager.get())
            await gate.reached()
            clear_all()
        assert await waiting == {"user": "old"}
        assert pool.stats().entries == 0
        fake.set(NAME, {"user": "new"})
        assert await manager.get() == {"user": "new"}


async def test_closed_pools_do_no_harm() -> None:
    """A pool that is closed stays closed and empty."""
    fake = FakeSecretsManager({NAME: {"user": "old"}})
    async with CredentialsPool(session=fake) as pool:
        await pool.manager(NAME).get()
    clear_all()
    assert pool.stats().entries == 0


def test_nothing_is_kept_alive() -> None:
    """Stores are known only as long as somebody else holds them."""
    store = weakref.ref(AsyncCredentialsManager(NAME)._store)
    gc.collect()
    assert store() is None
    clear_all()
