"""Fixtures for pytest: a fake Secrets Manager, a pool that uses it, a clock, and moto's server.

They are plain fixtures, so sync tests, pytest-asyncio and anyio (on asyncio) can use them. pytest
imports this file whenever it starts, so the imports that the fixtures need are inside of them.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsPool
from aiocredentials._store import clear_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from aiocredentials import CustomSession
    from aiocredentials.testing import FakeClock, FakeSecretsManager, MotoServer, SecretsEndpoint

_REGION_VARIABLES = {"AWS_DEFAULT_REGION", "AWS_REGION"}
_NO_FILES = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@pytest.fixture
def fake_secrets() -> FakeSecretsManager:
    """An empty Secrets Manager in memory.

    Create secrets with `set`, and pass it as `session=` to the code under test.
    """
    from aiocredentials.testing import FakeSecretsManager  # noqa: PLC0415 (for a quick start)

    return FakeSecretsManager()


@pytest.fixture
def fake_clock() -> FakeClock:
    """The clock of `credentials_pool`. It stands still until you call `advance`."""
    from aiocredentials.testing import FakeClock  # noqa: PLC0415 (for a quick start)

    return FakeClock()


@pytest.fixture
def credentials_pool(
    fake_secrets: FakeSecretsManager, fake_clock: FakeClock
) -> Iterator[CredentialsPool]:
    """An open pool that fetches from `fake_secrets` and measures ages by `fake_clock`.

    It is closed after the test.
    """
    session = _RecordingSession(fake_secrets)
    # No data is sent over a network, so there are no wire logs to redact.
    pool = CredentialsPool(
        session=session,
        clock=fake_clock,
        redact_wire_logs=False,
    )
    # Opening makes no call, so the pool keeps nothing of this loop.
    _run_in_new_loop(pool.open())

    yield pool

    # A pool holds resources per loop, and each loop closes its own. The loop of the test may be
    # closed by now; with anyio it is.
    for loop in session.loops:
        if not (loop.is_closed() or loop.is_running()):
            loop.run_until_complete(pool.aclose())
    _run_in_new_loop(pool.aclose())


class _RecordingSession:
    """A session that lends a fake's clients, and records the loops that used them."""

    def __init__(self, fake: FakeSecretsManager) -> None:
        self.region_name = fake.region_name
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self._fake: CustomSession = fake

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[Any]:
        loop = asyncio.get_running_loop()
        self.loops.add(loop)
        return self._fake.secretsmanager_client(region_name)


def _run_in_new_loop(coroutine: Any) -> None:  # noqa: ANN401 (a coroutine of any kind)
    # asyncio.run would remove the loop that another plugin has set for this thread.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(coroutine)
    finally:
        loop.close()


@pytest.fixture(scope="session")
def _aiocredentials_moto() -> Iterator[tuple[MotoServer, SecretsEndpoint]]:
    from aiocredentials.testing import (  # noqa: PLC0415 (for a quick start)
        MotoServer,
        SecretsEndpoint,
    )

    with MotoServer() as server:
        endpoint = SecretsEndpoint(server.url)
        yield server, endpoint
        endpoint.close()


@pytest.fixture
def moto_secrets(
    _aiocredentials_moto: tuple[MotoServer, SecretsEndpoint],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[SecretsEndpoint]:
    """The server of moto, without any secrets.

    During the test, the environment directs every AWS SDK to this server. Of the other AWS settings
    in the environment, only the region is kept, so the developer's account and profile have no
    effect on the test. Before and after the test, all managers and pools of the process forget the
    secrets that they have fetched.

    It needs the extra `testing`. The server starts once per run.
    """
    server, endpoint = _aiocredentials_moto
    server.reset()

    for name in list(os.environ):
        if name.startswith("AWS_") and name not in _REGION_VARIABLES:
            monkeypatch.delenv(name)
    for name, value in (server.environment() | _NO_FILES).items():
        monkeypatch.setenv(name, value)

    clear_all()
    yield endpoint
    clear_all()
