"""Never run: mypy and pyright read it, and so hold the types of the testing kit."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

from aiocredentials import (
    AsyncCredentialsManager,
    CachePolicy,
    CredentialsPool,
    CustomSession,
    ThrottledError,
)
from aiocredentials.agent import LocalAgent
from aiocredentials.testing import (
    Call,
    FakeClock,
    FakeSecretsManager,
    Gate,
    MotoServer,
    SecretsEndpoint,
    SeededVersion,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class Recorder:
    """A session of a user's own."""

    region_name = "eu-west-1"

    @asynccontextmanager
    async def secretsmanager_client(self, region_name: str) -> AsyncGenerator[dict[str, str]]:
        """Make a client, of whatever type."""
        yield {"region": region_name}


async def agents() -> None:
    """A local agent is a session; its token is text or a path."""
    agent: CustomSession = LocalAgent()
    assert_type(CredentialsPool(session=agent), CredentialsPool)
    own = LocalAgent("http://127.0.0.1:2773", token=Path("/run/token"), region_name="eu-west-1", connections=2)
    assert_type(own.region_name, str)
    assert_type(await own.ping(timeout=timedelta(seconds=1)), None)
    assert_type(AsyncCredentialsManager("prod/database", session=own, decode=str), AsyncCredentialsManager[str])
    LocalAgent(token=b"token")  # type: ignore[arg-type]
    LocalAgent("http://localhost", "token")  # type: ignore[call-arg]


def sessions() -> None:
    """Both the fake and a session of one's own are sessions."""
    fake: CustomSession = FakeSecretsManager()
    own: CustomSession = Recorder()
    for session in (fake, own):
        assert_type(CredentialsPool("eu-west-1", session=session), CredentialsPool)
        assert_type(AsyncCredentialsManager("prod/database", session=session), AsyncCredentialsManager[Any])


async def fakes() -> None:
    """Text, bytes and anything that is JSON can be a value; what comes back has none."""
    fake = FakeSecretsManager({"a": "text", "b": b"bytes", "c": {"port": 5432}}, region_name="eu-west-1")
    assert_type(fake.set("a", {"username": "app"}), SeededVersion)
    assert_type(fake.set("a", None, region_name="us-east-1"), SeededVersion)
    assert_type(fake.rotate("a", "new", promote=False), SeededVersion)
    assert_type(fake.finish_rotation("a").version_id, str | None)
    fake.delete("a", force=True)
    fake.restore("b")
    fake.fail_next("ThrottlingException")
    fake.fail_next(ThrottledError, times=None, secret_name="a", operation="GetSecretValue")
    fake.fail_next("InternalServiceError", region_name="eu-west-1")
    fake.replicate("a", "eu-central-1", region_name="eu-west-1")
    fake.fail_next(OSError())
    fake.fail_next(OSError)  # type: ignore[arg-type]
    fake.stop_failing()
    assert_type(fake.calls, list[Call])
    assert_type(fake.calls[0].secret_names, tuple[str, ...])
    fake.calls[0].operation = "none"  # type: ignore[misc]
    with fake.hold("a") as gate:
        assert_type(gate, Gate)
        await gate.reached()
        assert_type(gate.is_released, bool)


def clocks() -> None:
    """A clock is a function; any other does as well."""
    clock = FakeClock()
    clock.advance(1)
    clock.advance(timedelta(minutes=1))
    function: Callable[[], float] = clock
    assert_type(CredentialsPool(clock=function), CredentialsPool)
    assert_type(CredentialsPool(session=FakeSecretsManager(), clock=clock), CredentialsPool)


def endpoints(server: MotoServer) -> None:
    """An endpoint is filled as a fake is."""
    endpoint = SecretsEndpoint(server.url)
    either: FakeSecretsManager | SecretsEndpoint = endpoint
    assert_type(either.set("a", "text"), SeededVersion)
    assert_type(either.rotate("a", b"bytes", promote=False), SeededVersion)
    assert_type(either.finish_rotation("a"), SeededVersion)
    either.delete("a", force=True)
    either.restore("a")
    assert_type(endpoint.pool("eu-west-1", policy=CachePolicy(ttl=1), clock=FakeClock()), CredentialsPool)
    endpoint.close()
