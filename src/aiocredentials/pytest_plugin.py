"""Fixtures for pytest: a fake Secrets Manager, a pool that asks it, a clock to move, and moto's server.

They are plain fixtures, so they serve sync tests, pytest-asyncio and anyio (on asyncio) alike. pytest imports this file
whenever it starts: what the fixtures need is imported when a test asks for one.
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


@pytest.fixture
def fake_secrets() -> FakeSecretsManager:
    """Secrets Manager in memory, empty: put secrets there by `set`, and give it as `session=` to what you test."""
    from aiocredentials.testing import FakeSecretsManager  # noqa: PLC0415 (see above)

    return FakeSecretsManager()


@pytest.fixture
def fake_clock() -> FakeClock:
    """The clock of `credentials_pool`; it stands still until you advance it."""
    from aiocredentials.testing import FakeClock  # noqa: PLC0415 (see above)

    return FakeClock()


@pytest.fixture
def credentials_pool(
    fake_secrets: FakeSecretsManager, fake_clock: FakeClock
) -> Iterator[CredentialsPool]:
    """A pool that is open, asks `fake_secrets` and counts ages by `fake_clock`; it is closed after the test."""
    session = _Noting(fake_secrets)
    pool = CredentialsPool(
        session=session, clock=fake_clock, redact_wire_logs=False
    )  # there is no wire
    _run(
        asyncio.new_event_loop(), pool.open()
    )  # it makes no call, and so holds nothing of that loop
    yield pool
    # Each loop closes what belongs to it. The test's own may be gone by now; it is, with anyio.
    for loop in session.loops:
        if not (loop.is_closed() or loop.is_running()):
            loop.run_until_complete(pool.aclose())
    _run(asyncio.new_event_loop(), pool.aclose())


class _Noting:
    """A session that lends a fake's clients, and notes in which loops."""

    def __init__(self, fake: FakeSecretsManager) -> None:
        self.region_name = fake.region_name
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self._fake: CustomSession = fake

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[Any]:
        self.loops.add(asyncio.get_running_loop())
        return self._fake.secretsmanager_client(region_name)


def _run(loop: asyncio.AbstractEventLoop, coroutine: Any) -> None:  # noqa: ANN401 (a coroutine of any kind)
    # Not asyncio.run: that would take away the loop that a plugin has set for this thread.
    try:
        loop.run_until_complete(coroutine)
    finally:
        loop.close()


@pytest.fixture(scope="session")
def _aiocredentials_moto() -> Iterator[tuple[MotoServer, SecretsEndpoint]]:
    from aiocredentials.testing import MotoServer, SecretsEndpoint  # noqa: PLC0415 (see above)

    with MotoServer() as server:
        endpoint = SecretsEndpoint(server.url)
        yield server, endpoint
        endpoint.close()


@pytest.fixture
def moto_secrets(
    _aiocredentials_moto: tuple[MotoServer, SecretsEndpoint], monkeypatch: pytest.MonkeyPatch
) -> Iterator[SecretsEndpoint]:
    """The server of moto, without a secret in it; during the test the environment sends every AWS SDK there.

    Needs the extra `testing`. The server starts once per run. Of the AWS settings in the environment only
    the region's stay, so no test depends on the account or the profile of the person who runs it. Before and
    after the test, all managers and pools of the process forget what they fetched.
    """
    server, endpoint = _aiocredentials_moto
    server.reset()
    for name in list(os.environ):
        if name.startswith("AWS_") and name not in {"AWS_DEFAULT_REGION", "AWS_REGION"}:
            monkeypatch.delenv(name)
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    for name, value in (server.environment() | nowhere).items():
        monkeypatch.setenv(name, value)
    clear_all()
    yield endpoint
    clear_all()
