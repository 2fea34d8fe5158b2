"""Neither a value nor the agent's token gets out by itself, whatever is sent in place of the agent's answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, CredentialsError, CredentialsPool, Secret
from aiocredentials.agent import LocalAgent
from leaks.canary import TOKEN, LogKeeper, assert_silent, leaked, of_error, of_object, of_process
from leaks.test_leaks import ANSWERS, GOOD, STALLING
from leaks.wire import NAME, Wire

pytestmark = pytest.mark.exhaustive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


# The agent's client waits for more after these: for the end of the headers, or for a connection that isn't refused.
ENDLESS = {*STALLING, "headers end halfway", "429 text"}


@pytest.fixture(autouse=True)
def _only_what_is_new() -> Iterator[None]:
    """Hide from the collector's list what was there before, so that looking through it is quick."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def logs() -> AsyncIterator[LogKeeper]:
    """Log everything, asyncio's debug mode included; search it when the test is over."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    with LogKeeper() as keeper:
        yield keeper
    loop.set_debug(False)
    assert_silent(iter(keeper.texts))


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.usefixtures("logs")
async def test_answers(name: str) -> None:
    """An answer that the agent wouldn't send ends in a secret or in an error that shows nothing of it."""
    async with Wire(ANSWERS[name]) as wire:
        agent = LocalAgent(wire.url, token=TOKEN, region_name="us-east-1")
        timeout = 0.3 if name in ENDLESS else 5.0
        manager: Any = AsyncCredentialsManager(NAME, session=agent, policy=None, timeout=timeout)
        found: Secret | BaseException
        try:
            found = await manager.secret()
        except CredentialsError as error:
            found = error
        if isinstance(found, BaseException):
            assert_silent(of_error(found))
        else:
            assert_silent(of_object(found))
        assert_silent(of_process())


@pytest.mark.usefixtures("logs")
async def test_objects() -> None:
    """The session, its pool and a cancelled call can be printed, dumped and looked into."""
    async with Wire(GOOD, b"") as wire:
        agent = LocalAgent(wire.url, token=TOKEN, region_name="us-east-1")
        async with CredentialsPool(session=agent) as pool:
            manager = pool.manager(NAME)
            assert leaked((await manager.secret()).reveal())
            for thing in (agent, agent._state, agent._state.token, pool._store.session):
                assert_silent(of_object(thing))
            wire.arrived.clear()
            call = asyncio.create_task(manager.refresh())
            await wire.arrived.wait()
            assert_silent(of_process())
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            assert_silent(of_process())
