"""A rotation queue that is read as long as an app runs."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from aiocredentials import CredentialsPool, eventbridge
from aiocredentials.integrations.fastapi import credentials_lifespan
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUEUE_URL = "http://127.0.0.1:9/123456789012/rotations"
NAME = "prod/database"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect the pools and queues that are watched, and how many secrets a pool holds meanwhile."""
    facts: list[Any] = []

    def rotation_queue_watched(pool: CredentialsPool, queue_url: str, *, spread: float) -> Any:  # noqa: ANN401 (a block)
        @asynccontextmanager
        async def block() -> AsyncIterator[None]:
            facts.append((pool, queue_url, pool.stats().entries, spread))
            yield
            facts.append((pool, "end", pool.stats().entries))

        return block()

    monkeypatch.setattr(eventbridge, "rotation_queue_watched", rotation_queue_watched)
    return facts


@pytest.mark.parametrize("has_own_pool", [False, True])
def test_as_long_as_the_app_runs(watched: list[Any], *, has_own_pool: bool) -> None:
    """The queue is read from the opening of the pool, the lifespan's or the app's own, until before its end."""
    fake = FakeSecretsManager({NAME: "{}"})
    own = CredentialsPool(session=fake, prefetch=[NAME])

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[Any]:
        async with own as pool, credentials_lifespan(pool=pool, rotation_queue=QUEUE_URL)(app) as state:
            yield state

    made = credentials_lifespan(session=fake, prefetch=[NAME], rotation_queue=QUEUE_URL, rotation_spread=20)
    app = Starlette(lifespan=lifespan if has_own_pool else made)
    for _ in range(1 if has_own_pool else 2):
        watched.clear()
        with TestClient(app):
            assert len(watched) == 1
        pool = watched[0][0]
        assert (pool is own) is has_own_pool
        assert watched == [(pool, QUEUE_URL, 1, 2.0 if has_own_pool else 20), (pool, "end", 1)]


def test_without_a_queue(watched: list[Any]) -> None:
    """Nothing is watched unless a queue is given."""
    with TestClient(Starlette(lifespan=credentials_lifespan(session=FakeSecretsManager()))):
        pass
    assert watched == []


@pytest.mark.parametrize(
    ("queue", "error"), [("rotations", ValueError), ("", ValueError), (7, TypeError)], ids=["name", "empty", "number"]
)
def test_no_url(queue: Any, error: type[Exception]) -> None:  # noqa: ANN401 (a wrong argument)
    """What isn't the URL of a queue is refused where the lifespan is made."""
    with pytest.raises(error, match="give the queue's URL"):
        credentials_lifespan(rotation_queue=queue)


@pytest.mark.parametrize(("spread", "error"), [(-1, ValueError), (301, ValueError), ("2", TypeError)])
def test_spreads(spread: Any, error: type[Exception]) -> None:  # noqa: ANN401 (a wrong argument)
    """A spread that can't work is refused where the lifespan is made. The default is that of the watcher."""
    with pytest.raises(error, match="spread is "):
        credentials_lifespan(rotation_queue=QUEUE_URL, rotation_spread=spread)
    ours = inspect.signature(credentials_lifespan).parameters["rotation_spread"]
    assert ours.default == inspect.signature(eventbridge.rotation_queue_watched).parameters["spread"].default


def test_a_queue_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """An app starts, serves and ends with a queue that can't be reached, and logs no more than one warning."""
    app = Starlette(lifespan=credentials_lifespan(session=FakeSecretsManager(), rotation_queue=QUEUE_URL))
    with TestClient(app) as client:
        assert client.get("/").status_code == 404
    assert len([record for record in caplog.records if record.name == "aiocredentials"]) <= 1
