"""What every test can ask for, and the clean environment that each one gets."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.session import Session

from aiocredentials.testing import MotoServer

# With importlib mode pytest adds no folder to the import path; this one makes `from server.stub import ...` work.
sys.path.append(str(Path(__file__).parent))

from server.stub import StubSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

# Coverage is to follow pytest into its workers, but no further: servers and examples would take twice as long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

pytest_plugins = ["pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the contract suite run against one more Secrets Manager."""
    parser.addoption(
        "--secrets-endpoint",
        metavar="URL",
        help="run tests/contract against this Secrets Manager too, with the AWS credentials of the environment",
    )
    parser.addoption(
        "--rotations",
        metavar="FILE",
        help="append what the load tests of rotations measure to this file: docs/reference/rotations.md is made of it",
    )


def pytest_configure() -> None:
    """Collect garbage less often: to look through all that was imported took a tenth of the tests' time."""
    gc.set_threshold(20_000, 50, 100)


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give the test dummy credentials, and nothing of the AWS account or the proxies of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower() in {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}:
            monkeypatch.delenv(name)
    folder = tmp_path_factory.getbasetemp() / "aws"
    folder.mkdir(exist_ok=True)
    for variable, name in {"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"}.items():
        (folder / name).write_text("", encoding="utf-8")
        monkeypatch.setenv(variable, str(folder / name))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def no_task_left(request: pytest.FixtureRequest) -> None:
    """Fail an async test that leaves a task behind, when its other fixtures are done."""
    # Here, and not in an autouse async fixture: that would give every sync test an event loop.
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_no_task_left")


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(5):  # a task that was cancelled last needs a few turns of the loop to end
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(scope="session")
def moto_server() -> Iterator[MotoServer]:
    """One moto server for the whole run; most tests want `moto`."""
    with MotoServer() as server:
        yield server


@pytest.fixture
def moto(moto_server: MotoServer) -> MotoServer:
    """The moto server, without a secret in it."""
    moto_server.reset()
    return moto_server


@pytest.fixture
def moto_environment(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> MotoServer:
    """The moto server, and the environment sends every SDK to it, without an `endpoint_url`."""
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    return moto


@pytest.fixture(scope="session")
def _clients() -> Iterator[dict[str, Any]]:
    clients: dict[str, Any] = {}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def secrets_client(moto: MotoServer, _clients: dict[str, Any]) -> Callable[..., Any]:
    """Return a sync client for a region, to change what the server holds; made once a run, since making it is slow."""
    session = Session()

    def client(region: str = "us-east-1") -> Any:  # noqa: ANN401 - botocore makes its clients' classes at run time
        if region not in _clients:
            _clients[region] = session.create_client("secretsmanager", region, endpoint_url=moto.url)
        return _clients[region]

    return client


@pytest.fixture
def create_secret(secrets_client: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Return a function that creates a secret from text or bytes; it gives the answer, with ARN and VersionId."""

    def create(name: str, value: str | bytes, region: str = "us-east-1", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        kind = "SecretString" if isinstance(value, str) else "SecretBinary"
        answer: dict[str, Any] = secrets_client(region).create_secret(Name=name, **{kind: value}, **more)
        return answer

    return create


@pytest.fixture
async def stub() -> AsyncIterator[StubSecretsManager]:
    """A programmable Secrets Manager, for what moto can't emit."""
    async with StubSecretsManager() as server:
        yield server
