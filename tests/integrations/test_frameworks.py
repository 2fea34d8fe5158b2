"""The apps of `docs/how-to/frameworks.md`, each run by its own framework, as far as that is installed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from aiocredentials import PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocredentials import AsyncCredentialsManager

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "frameworks.md").read_text()


@pytest.fixture(autouse=True)
def secrets(moto_environment: object, create_secret: Callable[..., dict[str, Any]]) -> None:  # noqa: ARG001
    """Create the secret that the apps ask for."""
    create_secret("prod/database", json.dumps({"username": "app", "password": "mock_password"}), "eu-west-1")


@pytest.fixture
def app_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Return a function that runs the block under a heading, and returns its names."""

    def run(heading: str) -> dict[str, Any]:
        (code,) = re.findall(rf"^## {heading}\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        module = ModuleType("app_of_a_framework")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # Litestar and Taskiq look there
        exec(compile(code, f"{heading} in frameworks.md", "exec", dont_inherit=True), vars(module))  # noqa: S102 - our own page
        return vars(module)

    return run


async def is_closed(manager: AsyncCredentialsManager[Any]) -> bool:
    """Say whether the pool of a manager is closed."""
    with pytest.raises(PoolClosedError):
        await manager.get()
    return True


async def test_litestar(app_of: Callable[[str], dict[str, Any]]) -> None:
    """Litestar opens the pool in a lifespan, a handler reads from the app's state, and the end closes the pool."""
    pytest.importorskip("litestar", reason="Litestar isn't installed")
    from litestar.testing import AsyncTestClient  # noqa: PLC0415 (where it is installed)

    app = app_of("Litestar")["app"]
    async with AsyncTestClient(app) as client:
        assert [(await client.get("/user")).text for _ in range(2)] == ["app", "app"]
    assert await is_closed(app.state.database)


async def test_aiohttp(app_of: Callable[[str], dict[str, Any]]) -> None:
    """An aiohttp application opens the pool in its cleanup context."""
    names = app_of("aiohttp")
    async with TestClient(TestServer(names["app"])) as client:
        answers = [await client.get("/user") for _ in range(2)]
        assert [await answer.text() for answer in answers] == ["app", "app"]
    assert await is_closed(names["app"][names["database"]])


async def test_quart(app_of: Callable[[str], dict[str, Any]]) -> None:
    """Quart opens the pool while it serves."""
    pytest.importorskip("quart", reason="Quart isn't installed")
    app = app_of("Quart")["app"]
    async with app.test_app() as running:
        answers = [await running.test_client().get("/user") for _ in range(2)]
        assert [await answer.get_data(as_text=True) for answer in answers] == ["app", "app"]
    assert await is_closed(app.extensions["database"])


async def test_faststream(app_of: Callable[[str], dict[str, Any]]) -> None:
    """FastStream opens the pool in its lifespan, and a subscriber has the manager from the context."""
    pytest.importorskip("faststream.redis", reason="FastStream with Redis isn't installed")
    from faststream import TestApp  # noqa: PLC0415 (where it is installed)
    from faststream.redis import TestRedisBroker  # noqa: PLC0415 (as above)

    names = app_of("FastStream")
    async with TestRedisBroker(names["broker"]) as broker, TestApp(names["app"]):
        manager = names["app"].context.get("database")
        answers = [await broker.request("hello", "user") for _ in range(2)]
        assert [await answer.decode() for answer in answers] == ["hello app", "hello app"]
    assert await is_closed(manager)


async def test_taskiq(app_of: Callable[[str], dict[str, Any]]) -> None:
    """A Taskiq worker opens the pool when it starts, and closes it when it stops."""
    pytest.importorskip("taskiq", reason="Taskiq isn't installed")
    names = app_of("Taskiq")
    broker = names["broker"]
    await broker.startup()
    tasks = [await names["user"].kiq() for _ in range(2)]
    assert [(await task.wait_result()).return_value for task in tasks] == ["app", "app"]
    await broker.shutdown()
    assert await is_closed(broker.state.database)
