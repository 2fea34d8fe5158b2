"""`max_wait`: no caller waits longer for its connection, whatever hangs, and nothing is lost when a wait is cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsError
from integrations.refusing_postgres import message, refusing_postgres
from integrations.waiting import ADAPTERS, PASSWORD, SHORT, Adapter, Source, freezing_proxy, silent_server

if TYPE_CHECKING:
    from integrations.postgres import Place

REFUSAL = ("FATAL", "28P01", 'password authentication failed for user "app"')
LIMIT = rf"No connection within {SHORT} s, which is max_wait\. The caller waited for "


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """Each adapter for PostgreSQL."""
    found = ADAPTERS[request.param]
    pytest.importorskip(found.module)
    return found


async def use(acquire: Any) -> None:  # noqa: ANN401
    """Get a connection as a request does, and give it back."""
    async with acquire():
        """Nothing is asked."""


@pytest.mark.parametrize("greeting", [(), (message(b"R", b"\0\0\0\x03"),)], ids=["connect", "login"])
async def test_a_silent_server(adapter: Adapter, greeting: tuple[bytes, ...]) -> None:
    """An attempt that hangs in the driver is cut, the socket is closed, and the slot serves the next caller."""
    async with silent_server(*greeting) as server:
        async with adapter.open(Source(), server.port, max_wait=SHORT) as acquire:
            for _ in range(3):
                with pytest.raises(adapter.error(), match=f"{LIMIT}the server's answer"):
                    await use(acquire)
        assert server.accepted


async def test_a_hung_secret(adapter: Adapter) -> None:
    """A fetch that hangs is cut for the caller."""
    source = Source()
    async with adapter.open(source, 1, max_wait=SHORT) as acquire:
        source.hangs = True
        with pytest.raises(adapter.error(), match=f"{LIMIT}the credentials from AWS"):
            await use(acquire)


async def test_refusals(adapter: Adapter) -> None:
    """A search is cut; the note has the server's last words, and no password."""
    async with (
        refusing_postgres("another", REFUSAL) as server,
        adapter.open(Source(), server.port, max_wait=0.1, budget=60) as acquire,
    ):
        with pytest.raises(adapter.error(), match=r"credentials that the server accepts") as caught:
            await use(acquire)
    (note,) = caught.value.__notes__
    assert 'password authentication failed for user "app"' in note
    assert PASSWORD not in repr(caught.value) + note


async def test_callers_behind_a_search(adapter: Adapter) -> None:
    """Callers that wait for the pool's one slot while another searches are cut too, with the same reason."""
    async with (
        refusing_postgres("another", REFUSAL) as server,
        adapter.open(Source(), server.port, max_wait=0.1, budget=60) as acquire,
    ):
        results = await asyncio.gather(*(use(acquire) for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {adapter.error()}
    notes = [result.__notes__[0] for result in results if isinstance(result, Exception)]
    assert all("password authentication failed" in note for note in notes)


async def test_an_unavailable_secret_is_the_reason(adapter: Adapter) -> None:
    """Where the secret can't be loaded, its error is raised at once, also with a limit."""
    source = Source()
    async with adapter.open(source, 1, max_wait=5) as acquire:
        source.error = CredentialsError("No credentials.")
        with pytest.raises(CredentialsError, match="No credentials"):
            await use(acquire)


async def test_a_full_pool(place: Place, adapter: Adapter) -> None:
    """A caller behind a full pool is cut, its place in the queue goes to the next, and the slot isn't lost."""
    await place.app(PASSWORD)
    async with adapter.open(Source(), place.server.port, max_wait=SHORT) as acquire:
        # The first connection needs longer than the others, and may be cut too.
        while True:
            try:
                await use(acquire)
                break
            except adapter.error():
                continue
        async with acquire():
            results = await asyncio.gather(*(use(acquire) for _ in range(3)), return_exceptions=True)
            assert {type(result) for result in results} == {adapter.error()}
            assert "a free connection of the pool" in str(results[0])
            waiting = asyncio.create_task(use(acquire))
            await asyncio.sleep(0)
        await waiting
        await use(acquire)
    assert await place.all_closed()


async def test_a_dead_network(place: Place, adapter: Adapter) -> None:
    """An idle connection whose network is dead holds no caller when the pool asks the server; then the slot is free."""
    await place.app(PASSWORD)
    async with (
        freezing_proxy(place.server.port) as proxy,
        adapter.open(Source(), proxy.port, max_wait=0.3, **adapter.checks) as acquire,
    ):
        await use(acquire)
        proxy.frozen = True
        began = asyncio.get_running_loop().time()
        with pytest.raises(adapter.error(), match=r"No connection within 0\.3 s"):
            await use(acquire)
        assert asyncio.get_running_loop().time() - began < 1
    assert await place.all_closed()
