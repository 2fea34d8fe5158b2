"""Prefetching when the batch call fails as a whole, leaves something out, or never ends."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from aiocredentials import CredentialsError, CredentialsPool
from aiocredentials.testing import FakeSecretsManager
from unit.caching_client import CachingClient, CachingSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GOOD = {"good1": "1", "good2": "2"}
NAMES = ("good1", "good2", "bad")


class Account:
    """A session whose batch call does what a test says; single calls are those of a fake."""

    region_name = "us-east-1"

    def __init__(self, batch: Callable[..., Any], fake: FakeSecretsManager) -> None:
        self.batch = batch
        self.fake = fake

    @asynccontextmanager
    async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
        """Lend a client."""
        async with self.fake.secretsmanager_client(region_name) as client:
            client.batch_get_secret_value = self._batch
            yield client

    async def _batch(self, **parameters: Any) -> Any:  # noqa: ANN401 (botocore's)
        return self.batch(**parameters)


def answered(code: str, status: int = 400) -> ClientError:
    """Make botocore's error for an answer."""
    answer: Any = {"Error": {"Code": code, "Message": "No."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "BatchGetSecretValue")


async def prefetch(error: Exception) -> tuple[list[CredentialsError], int, CredentialsPool]:
    """Prefetch three names by a batch call that fails; return the errors, and how many single calls were made."""
    fake = FakeSecretsManager(dict(GOOD))

    def batch(**_: object) -> None:
        raise error

    async with CredentialsPool(session=Account(batch, fake)) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            await pool.prefetch(*NAMES)
        errors = [one for one in caught.value.exceptions if isinstance(one, CredentialsError)]
        calls = len(fake.calls)
        for name, value in GOOD.items():
            assert await pool.manager(name, decode=str).get() == value
        return errors, calls, pool


@pytest.mark.parametrize(
    "error",
    [
        answered("ValidationException"),
        answered("InvalidParameterException"),
        answered("InvalidRequestException"),
        answered("DecryptionFailure"),
        answered("ResourceNotFoundException"),
        answered("AccessDeniedException"),
        answered("UnknownOperationException"),
        answered("SomethingNewException"),
        answered("501", 501),
        answered("NotImplemented", 501),
        ValueError("a page that isn't AWS's"),
    ],
    ids=str,
)
async def test_a_batch_that_one_name_spoils(error: Exception) -> None:
    """Each name is asked singly: only the bad one fails, and nothing is remembered against the others."""
    errors, calls, _ = await prefetch(error)
    assert [one.secret_name for one in errors] == ["bad"]
    assert calls == len(NAMES)


@pytest.mark.parametrize(
    "error",
    [
        answered("InternalServiceError", 500),
        answered("503", 503),
        answered("UnrecognizedClientException"),
        EndpointConnectionError(endpoint_url="https://nowhere"),
    ],
    ids=str,
)
async def test_a_batch_that_would_fail_singly_too(error: Exception) -> None:
    """A service that is broken, out of reach, or doesn't know us isn't asked once more for each name."""
    fake = FakeSecretsManager(dict(GOOD))

    def batch(**_: object) -> None:
        raise error

    async with CredentialsPool(session=Account(batch, fake)) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            await pool.prefetch(*NAMES)
        assert fake.calls == []
        errors = [one for one in caught.value.exceptions if isinstance(one, CredentialsError)]
        assert [one.secret_name for one in errors] == list(NAMES)
        # Each says in its text which secret it is about.
        assert all(f"secret {one.secret_name!r}" in str(one) for one in errors)


def page(names: list[str], token: str | None) -> dict[str, Any]:
    """Make a page of a batch."""
    values = [
        {
            "ARN": f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCd12",
            "Name": name,
            "VersionId": "v" * 32,
            "SecretString": name,
            "VersionStages": ["AWSCURRENT"],
        }
        for name in names
    ]
    return {"SecretValues": values, "Errors": [], **({"NextToken": token} if token else {})}


@pytest.mark.parametrize("tokens", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]], ids="".join)
async def test_a_token_that_comes_again(tokens: list[str]) -> None:
    """Pages that lead back to themselves end at the first repetition, and what they had is kept."""
    fake = FakeSecretsManager()
    left = iter(tokens)

    def batch(**_: object) -> dict[str, Any]:
        return page(["good1"], next(left))

    async with CredentialsPool(session=Account(batch, fake)) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            await pool.prefetch("good1", "nobody")
        assert [str(getattr(one, "secret_name", "")) for one in caught.value.exceptions] == ["nobody"]
        assert await pool.manager("good1", decode=str).get() == "good1"
    assert list(left) == []


async def test_an_exact_arn_goes_before_a_partial_one() -> None:
    """In a batch, too, an ARN brings its own secret: not one whose name continues it."""
    fake = FakeSecretsManager()
    victim = fake.set("prod/db", "victim")
    attacker = fake.set(f"prod/db{victim.arn[-7:]}", "attacker")
    for names in ([victim.arn, attacker.name], [attacker.name, victim.arn], [attacker.arn, victim.arn]):
        async with CredentialsPool(session=fake) as pool:
            await pool.prefetch(*names)
            calls = len(fake.calls)
            assert await pool.manager(victim.arn, decode=str).get() == "victim"
            assert await pool.manager(attacker.arn, decode=str).get() == "attacker"
            assert await pool.manager("prod/db", decode=str).get() == "victim"
            assert len(fake.calls) == calls


async def test_a_client_with_a_cache() -> None:
    """After an invalidation, `prefetch` asks past the client's cache, and for no other secret singly."""
    client = CachingClient(dict(GOOD))
    async with CredentialsPool(session=CachingSession(client)) as pool:
        await pool.prefetch("good1")
        client.values["good1"] = "new"
        pool.manager("good1").invalidate()
        await pool.prefetch(*GOOD)
        assert await pool.manager("good1", decode=str).get() == "new"
        assert client.calls == ["batch good1", "batch good2", "refresh good1"]

        client.calls.clear()
        pool.manager("good1").invalidate()
        await pool.prefetch(*GOOD)
        assert client.calls == ["refresh good1"]


async def test_a_client_with_a_cache_whose_batch_fails() -> None:
    """The secrets that are asked singly don't fail with the batch."""
    client = CachingClient(dict(GOOD))
    async with CredentialsPool(session=CachingSession(client)) as pool:
        await pool.prefetch("good1")
        pool.manager("good1").invalidate()
        client.calls.clear()
        client.error = answered("InternalServiceError", 500)
        with pytest.raises(ExceptionGroup) as caught:
            await pool.prefetch(*GOOD)
        assert [error.secret_name for error in caught.value.exceptions] == ["good2"]  # type: ignore[attr-defined]
        assert client.calls == ["batch good2", "refresh good1"]


async def test_aws_own_sessions_ask_batches() -> None:
    """A client without a cache of its own is asked for a batch, also after an invalidation."""
    fake = FakeSecretsManager(dict(GOOD))
    async with CredentialsPool(session=fake) as pool:
        pool._store.is_custom = False
        pool.manager("good1").invalidate()
        await pool.prefetch(*GOOD)
        assert [call.operation for call in fake.calls] == ["BatchGetSecretValue"]
