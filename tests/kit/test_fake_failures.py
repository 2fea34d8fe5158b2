"""How the fake fails and waits when it is told to: what a caller then sees comes by the way of the real code."""

from __future__ import annotations

import asyncio
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from aiocredentials import (
    AccessDeniedError,
    AsyncCredentialsManager,
    AuthenticationError,
    AWSError,
    CredentialsError,
    CredentialsPool,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRegionError,
    InvalidRequestError,
    MalformedResponseError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretExpiredError,
    SecretFormatError,
    SecretNotFoundError,
    ThrottledError,
)
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CANARY = "hunter2-canary"
NAME = "prod/database"


@pytest.fixture
def fake() -> FakeSecretsManager:
    """A fake with a secret."""
    return FakeSecretsManager({NAME: {"password": CANARY}})


@pytest.fixture
async def pool(fake: FakeSecretsManager) -> AsyncIterator[CredentialsPool]:
    """A pool that asks it and remembers nothing."""
    async with CredentialsPool(session=fake, policy=None) as pool:
        yield pool


# Failures


@pytest.mark.parametrize(
    "kind",
    [
        AccessDeniedError,
        AuthenticationError,
        EndpointUnreachableError,
        InternalServiceError,
        InvalidParameterError,
        InvalidRegionError,
        InvalidRequestError,
        MalformedResponseError,
        SecretDecryptionError,
        SecretDeletedError,
        SecretNotFoundError,
        ThrottledError,
    ],
)
async def test_the_class_that_is_asked_for_is_what_a_caller_gets(
    fake: FakeSecretsManager, pool: CredentialsPool, kind: type[CredentialsError]
) -> None:
    """Given a class of error, the next call ends in just that, once, and by the way of the real code."""
    fake.fail_next(kind)
    with pytest.raises(kind) as info:
        await pool.manager(NAME).get()
    assert type(info.value).__name__ == kind.__name__
    assert isinstance(info.value, ClientError) is (info.value.code is not None)
    assert (info.value.secret_name, info.value.region_name) == (NAME, "us-east-1")
    assert await pool.manager(NAME).get() == {"password": CANARY}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("TooManyRequestsException", ThrottledError),
        ("DecryptionFailure", SecretDecryptionError),
        ("InternalServiceError", InternalServiceError),
        ("InvalidRequestException", InvalidRequestError),
        ("SomethingNew", AWSError),
        (ReadTimeoutError(endpoint_url="https://secretsmanager.us-east-1.amazonaws.com"), EndpointUnreachableError),
        (ConnectionResetError(), EndpointUnreachableError),
    ],
    ids=str,
)
async def test_a_code_or_an_exception(
    fake: FakeSecretsManager, pool: CredentialsPool, error: str | Exception, kind: type[CredentialsError]
) -> None:
    """Given an AWS code or an exception, a call fails as a client would, and is mapped as it would be."""
    fake.fail_next(error)
    with pytest.raises(kind) as info:
        await pool.manager(NAME).get()
    assert type(info.value).__name__ == kind.__name__
    assert info.value.code == (error if isinstance(error, str) else None)


async def test_how_often(fake: FakeSecretsManager, pool: CredentialsPool) -> None:
    """Failures come in the order in which they were asked for, as often as was said; or until they are called off."""
    fake.fail_next(ThrottledError, times=2)
    fake.fail_next(AccessDeniedError)
    fake.fail_next(OSError("unplugged"), times=None)
    manager, seen = pool.manager(NAME), []
    for _ in range(6):
        try:
            await manager.get()
        except CredentialsError as error:
            seen.append(type(error).__name__)
    assert seen == ["ThrottledError"] * 2 + ["AccessDeniedError"] + ["EndpointUnreachableError"] * 3
    fake.stop_failing()
    assert await manager.get() == {"password": CANARY}


async def test_which_secret(fake: FakeSecretsManager) -> None:
    """A failure for one secret leaves others alone, singly and in a batch, whether it is asked by name or by ARN."""
    arn = fake.set("prod/redis", "value").arn
    fake.fail_next(AccessDeniedError, secret_name="prod/redis", times=3)
    async with CredentialsPool(session=fake) as pool:
        assert await pool.manager(NAME).get() == {"password": CANARY}
        for asked in ("prod/redis", arn):
            with pytest.raises(AccessDeniedError):
                await pool.manager(asked, policy=None).get()
        fake.set("prod/other", "value")
        with pytest.raises(ExceptionGroup) as info:
            await pool.prefetch("prod/redis", "prod/other")
        (error,) = info.value.exceptions
        assert isinstance(error, AccessDeniedError)
        assert error.secret_name == "prod/redis"
        assert pool.stats().entries == 2
        assert (await pool.manager("prod/redis", policy=None).secret()).reveal() == "value"


async def test_which_operation(fake: FakeSecretsManager) -> None:
    """Who may get but not batch, gets singly: a failure for one operation leaves the others alone."""
    fake.fail_next(AccessDeniedError, operation="BatchGetSecretValue", times=None)
    async with CredentialsPool(session=fake, prefetch=[NAME]) as pool:
        assert await pool.manager(NAME).get() == {"password": CANARY}
    assert [call.operation for call in fake.calls] == ["BatchGetSecretValue", "GetSecretValue"]


async def test_a_batch_that_fails_as_a_whole(fake: FakeSecretsManager) -> None:
    """A failure that isn't about one secret, or isn't an answer of AWS's, fails the whole batch."""
    fake.set("prod/redis", "value")
    async with CredentialsPool(session=fake) as pool:
        for failing in (None, NAME):
            fake.fail_next(EndpointUnreachableError, secret_name=failing)
            with pytest.raises(ExceptionGroup) as info:
                await pool.prefetch(NAME, "prod/redis")
            assert [type(error) for error in info.value.exceptions] == [EndpointUnreachableError] * 2


@pytest.mark.parametrize(
    ("error", "times", "sentence"),
    [
        (SecretFormatError, 1, "'SecretFormatError' isn't a failure of a client: give an AWS code, one of Acc"),
        (SecretExpiredError, 1, "isn't a failure of a client"),
        (CredentialsError, 1, "isn't a failure of a client"),
        (OSError, 1, "isn't a failure of a client.*or an exception object"),
        (503, 1, "503 isn't a failure of a client"),
        (ThrottledError, 0, "times is 0: give the number of calls that fail, from 1"),
    ],
)
def test_what_no_client_fails_with(fake: FakeSecretsManager, error: Any, times: int, sentence: str) -> None:  # noqa: ANN401 - that is what is tested
    """What makes no sense is refused where it is written, and not in the middle of the code that is tested."""
    with pytest.raises(TypeError if times else ValueError, match=sentence):
        fake.fail_next(error, times=times)


async def test_one_exception_object_many_times(fake: FakeSecretsManager, pool: CredentialsPool) -> None:
    """An exception that is raised again and again doesn't collect tracebacks."""
    error = ReadTimeoutError(endpoint_url="https://example.com")
    fake.fail_next(error, times=None)
    lengths = set()
    for _ in range(5):
        with pytest.raises(EndpointUnreachableError):
            await pool.manager(NAME).get()
        lengths.add(len(traceback.extract_tb(error.__traceback__)))
    assert len(lengths) == 1


# Waiting


async def test_calls_wait_at_a_gate(fake: FakeSecretsManager, pool: CredentialsPool) -> None:
    """A call that is held goes on when the gate is released, and answers what is true by then."""
    with fake.hold() as gate:
        reading = asyncio.create_task(pool.manager(NAME).secret())
        await gate.reached()
        assert not gate.is_released
        fake.rotate(NAME, "new")
        assert not reading.done()
    assert (await reading).reveal() == "new"
    assert (await pool.manager(NAME).secret()).reveal() == "new"
    gate.release()


async def test_only_one_secret_is_held(fake: FakeSecretsManager, pool: CredentialsPool) -> None:
    """A gate for one secret holds no other; one who waits there can be cancelled, and the others go on waiting."""
    arn = fake.set("prod/redis", "value").arn
    gate = fake.hold("prod/redis")
    waiting = [asyncio.create_task(pool.manager(arn).secret()) for _ in range(2)]
    await gate.reached()
    assert await pool.manager(NAME).get() == {"password": CANARY}
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert not waiting[1].done()
    gate.release()
    assert (await waiting[1]).reveal() == "value"


async def test_a_gate_makes_a_timeout(fake: FakeSecretsManager) -> None:
    """Against a service that doesn't answer, the pool's own deadline holds."""
    with fake.hold():
        async with CredentialsPool(session=fake, timeout=0.01) as pool:
            with pytest.raises(EndpointUnreachableError, match=r"No answer from Secrets Manager within 0\.01 s"):
                await pool.manager(NAME).get()


def test_a_gate_works_across_threads(fake: FakeSecretsManager) -> None:
    """A test may release a gate, and wait for it to be reached, in another thread than the app's."""
    gate = fake.hold()
    answers: list[object] = []
    app = threading.Thread(
        target=lambda: answers.append(asyncio.run(AsyncCredentialsManager(NAME, session=fake).get()))
    )
    app.start()
    asyncio.run(asyncio.wait_for(gate.reached(), 10))
    assert answers == []
    gate.release()
    app.join(10)
    assert answers == [{"password": CANARY}]
