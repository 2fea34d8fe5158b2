"""Prefetching over HTTP: few calls, exact ids, one error for each secret that failed, and the others cached."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import (
    AccessDeniedError,
    CredentialsError,
    CredentialsPool,
    InternalServiceError,
    MalformedResponseError,
    PoolClosedError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretNotFoundError,
)
from server.stub import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocredentials.testing import MotoServer
    from server.stub import Request, StubSecretsManager

CANARY = "hunter2-canary"
ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})
DENIED = {"__type": "AccessDeniedException", "Message": "No."}


def names(count: int) -> list[str]:
    """Make names."""
    return [f"prod/{number:03}" for number in range(count)]


def batches(stub: StubSecretsManager) -> list[list[str]]:
    """List the ids of each batch call that arrived."""
    return [request.body["SecretIdList"] for request in stub.requests if request.target == "BatchGetSecretValue"]


def singles(stub: StubSecretsManager) -> list[str]:
    """List the ids of the single calls that arrived."""
    return [request.body["SecretId"] for request in stub.requests if request.target == "GetSecretValue"]


def batch_answer(
    stub: StubSecretsManager, change: Callable[[dict[str, Any]], dict[str, Any] | bytes]
) -> Callable[[Request], Answer]:
    """Make a handler that changes the stub's answers to batch calls; single calls get valid ones."""

    def handle(request: Request) -> Answer:
        return Answer(body=change(stub._valid(request))) if request.target == "BatchGetSecretValue" else Answer()

    return handle


async def failures(prefetching: Any) -> dict[str, CredentialsError]:  # noqa: ANN401 - a coroutine
    """Give the errors of the group that a prefetch raises, by the names of their secrets."""
    with pytest.raises(ExceptionGroup) as info:
        await prefetching
    found = {}
    for error in info.value.exceptions:
        assert isinstance(error, CredentialsError)
        assert (error.__cause__, error.__context__) == (None, None)
        assert error.secret_name
        found[error.secret_name] = error
    assert f"{len(found)} of " in str(info.value)
    assert len(found) == len(info.value.exceptions)
    return found


async def test_twenty_a_call(stub: StubSecretsManager) -> None:
    """Secrets come 20 a call, each asked by its exact id and once; reading them makes no more calls."""
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        await pool.prefetch(*names(45), *names(3))
        for name in names(45):
            assert (await pool.manager(name).secret()).name == name
        stats = pool.stats()
    asked = batches(stub)
    assert sorted(map(len, asked)) == [5, 20, 20]
    assert sorted(name for batch in asked for name in batch) == names(45)
    assert len(stub.requests) == 3
    assert all(set(request.body) == {"SecretIdList"} for request in stub.requests)
    assert (stats.fetches, stats.hits, stats.misses, stats.entries) == (45, 45, 0, 45)


async def test_five_calls_at_once(stub: StubSecretsManager) -> None:
    """However many secrets are asked, at most five batch calls are under way."""
    gate = asyncio.Event()
    stub.handler = lambda request: Answer(gate=gate if request.target == "BatchGetSecretValue" else None)
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        prefetching = asyncio.create_task(pool.prefetch(*names(500)))
        await stub.arrival(5)
        for _ in range(3):  # there is time for more to arrive
            await pool.manager("prod/other", policy=None).secret()
        assert len(batches(stub)) == 5
        gate.set()
        await prefetching
    assert len(batches(stub)) == 25
    assert len(stub.requests) == 28


async def test_pages(stub: StubSecretsManager) -> None:
    """An answer in pages is followed to its end, with the same ids."""

    def page(request: Request) -> Answer:
        values = stub._valid(request)["SecretValues"]
        start = int(request.body.get("NextToken", 0))
        more = {"NextToken": str(start + 3)} if start + 3 < len(values) else {}
        return Answer(body={"SecretValues": values[start : start + 3], "Errors": [], **more})

    stub.handler = page
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        await pool.prefetch(*names(8))
        for name in names(8):
            await pool.manager(name).secret()
    assert [request.body.get("NextToken") for request in stub.requests] == [None, "3", "6"]
    assert batches(stub) == [names(8)] * 3


async def test_each_failure_is_its_own(stub: StubSecretsManager) -> None:
    """What AWS says of single secrets becomes their errors, by its codes; all others are cached."""
    codes = {
        "prod/000": ("ResourceNotFoundException", SecretNotFoundError),
        "prod/001": ("AccessDeniedException", AccessDeniedError),
        "prod/002": ("DecryptionFailure", SecretDecryptionError),
        "prod/003": ("InternalServiceError", InternalServiceError),
    }

    def change(answer: dict[str, Any]) -> dict[str, Any]:
        fine = [value for value in answer["SecretValues"] if value["Name"] not in codes]
        errors = [{"SecretId": name, "ErrorCode": code, "Message": "AWS says so."} for name, (code, _) in codes.items()]
        return {"SecretValues": fine, "Errors": errors}

    stub.handler = batch_answer(stub, change)
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        found = await failures(pool.prefetch(*names(6)))
        assert {name: error.code for name, error in found.items()} == {name: code for name, (code, _) in codes.items()}
        for name, error in found.items():
            assert isinstance(error, codes[name][1])
            assert "AWS says so." in str(error)
            assert error.region_name == "us-east-1"
        await pool.manager("prod/004").secret()
        with pytest.raises(SecretNotFoundError):  # a permanent failure is remembered, as that of a single get
            await pool.manager("prod/000").secret()
        assert len(stub.requests) == 1
        stats = pool.stats()
        assert (stats.fetches, stats.failures) == (6, 4)


async def test_regions_and_arns(stub: StubSecretsManager) -> None:
    """Names and ARNs are mixed at will: each region gets calls of its own, and each reader finds its secret."""
    arn = "arn:aws:secretsmanager:{}:123456789012:secret:{}-AbCdEf"
    there, here = arn.format("eu-west-2", "prod/there"), arn.format("eu-west-1", "prod/here")
    partial = arn.format("eu-west-2", "prod/part")[:-7]
    async with CredentialsPool("eu-west-1", endpoint_url=stub.url) as pool:
        await pool.prefetch("prod/db", there, here, partial)
        for name in ("prod/db", "prod/here"):
            assert (await pool.manager(name).secret()).region == "eu-west-1"
        for name in (there, partial, partial + "-AbCdEf"):
            assert (await pool.manager(name).secret()).region == "eu-west-2"
        await pool.manager("prod/there", "eu-west-2").secret()
    by_region = {request.region: request.body["SecretIdList"] for request in stub.requests}
    assert by_region == {"eu-west-1": ["prod/db", here], "eu-west-2": [there, partial]}
    assert len(stub.requests) == 2


async def test_a_name_and_its_arn(stub: StubSecretsManager) -> None:
    """One secret that is asked by name and by ARN is one entry."""
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf"
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        await pool.prefetch("prod/db", arn)
        assert await pool.manager("prod/db").secret() is await pool.manager(arn).secret()
        assert pool.stats().entries == 1
        pool.manager(arn).invalidate()
        await pool.prefetch("prod/db", arn)
    assert batches(stub) == [["prod/db", arn]] * 2


async def test_what_is_fresh_stays(stub: StubSecretsManager) -> None:
    """Only what isn't there is fetched; what was invalidated isn't there."""
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        await pool.manager("prod/000").secret()
        await pool.prefetch(*names(3))
        await pool.prefetch(*names(3))
        pool.manager("prod/001").invalidate()
        await pool.prefetch(*names(3))
    assert batches(stub) == [["prod/001", "prod/002"], ["prod/001"]]


async def test_gets_join_a_prefetch(stub: StubSecretsManager) -> None:
    """Readers who come while a batch is under way wait for it, and so does another prefetch."""
    gate = asyncio.Event()
    stub.handler = lambda _: Answer(gate=gate)
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        early = asyncio.create_task(pool.manager("prod/000").secret())
        await stub.arrival(1)
        first = asyncio.create_task(pool.prefetch(*names(10)))
        await stub.arrival(2)
        later = [asyncio.create_task(pool.manager(name).secret()) for name in names(10)]
        second = asyncio.create_task(pool.prefetch(*names(10)))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(early, first, second, *later)
    assert singles(stub) == ["prod/000"]
    assert batches(stub) == [names(10)[1:]]


async def test_a_cancelled_prefetch(stub: StubSecretsManager) -> None:
    """Who cancels a prefetch hurts nobody who waits for one of its secrets; what is under way arrives."""
    gate = asyncio.Event()
    stub.handler = lambda _: Answer(gate=gate)
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        prefetching = asyncio.create_task(pool.prefetch(*names(10)))
        await stub.arrival(1)
        reader = asyncio.create_task(pool.manager("prod/003").secret())
        await asyncio.sleep(0)
        pool.manager("prod/005").invalidate()  # nobody waits for this one: the batch goes on all the same
        prefetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await prefetching
        gate.set()
        assert (await reader).name == "prod/003"
        assert (await pool.manager("prod/007").secret()).name == "prod/007"
    assert len(stub.requests) == 1


async def test_batches_are_denied(stub: StubSecretsManager) -> None:
    """An identity that may not call the batch action gets each secret singly, and the errors of those that fail."""

    def handle(request: Request) -> Answer:
        denied = request.target == "BatchGetSecretValue" or request.body["SecretId"] == "prod/007"
        return Answer(400, DENIED) if denied else Answer()

    stub.handler = handle
    async with CredentialsPool(endpoint_url=stub.url, config=ONE_ATTEMPT) as pool:
        found = await failures(pool.prefetch(*names(25)))
        assert list(found) == ["prod/007"]
        assert isinstance(found["prod/007"], AccessDeniedError)
        assert len(batches(stub)) == 2
        assert sorted(singles(stub)) == names(25)
        await pool.manager("prod/024").secret()
        assert pool.stats().fetches == 25
        assert len(stub.requests) == 27


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value | {"SecretString": None},
        lambda value: value | {"VersionId": None},
        lambda value: value | {"VersionStages": ["AWSPREVIOUS"]},
        lambda value: value | {"Name": "prod/else", "ARN": value["ARN"].replace("prod/001", "prod/else")},
    ],
    ids=["no value", "no version", "another stage", "another secret"],
)
async def test_one_answer_that_is_none(
    stub: StubSecretsManager, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """A secret that the batch answers wrongly, or not at all, is asked singly; the others aren't."""

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        values = [change(value) if value["Name"] == "prod/001" else value for value in answer["SecretValues"]]
        return {"SecretValues": values}

    stub.handler = batch_answer(stub, spoil)
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        await pool.prefetch(*names(3))
        for name in names(3):
            assert (await pool.manager(name).secret()).name == name
    assert singles(stub) == ["prod/001"]


@pytest.mark.parametrize("body", [{}, b"<html>hunter2-canary</html>"], ids=["empty", "HTML"])
async def test_an_answer_without_secrets(stub: StubSecretsManager, body: dict[str, Any] | bytes) -> None:
    """An answer that says nothing of any secret leaves all to be asked singly."""
    stub.handler = batch_answer(stub, lambda _: body)
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        await pool.prefetch(*names(3))
    assert sorted(singles(stub)) == names(3)


@pytest.mark.parametrize("body", [b"[]", {"SecretValues": [7]}], ids=range(2))
async def test_a_batch_that_is_none(stub: StubSecretsManager, body: dict[str, Any] | bytes) -> None:
    """An answer that is none says nothing of the secrets: they are asked singly, as the batch action may be missing."""
    stub.handler = batch_answer(stub, lambda _: body)
    async with CredentialsPool(endpoint_url=stub.url, config=ONE_ATTEMPT) as pool:
        await pool.prefetch(*names(2))
    assert sorted(singles(stub)) == names(2)


async def test_nothing_answers_as_it_should(stub: StubSecretsManager) -> None:
    """Where single calls are answered no better, each secret has an error of its own, without a word of the answer."""
    stub.handler = lambda _: Answer(body=f"<html>{CANARY}</html>".encode())
    async with CredentialsPool(endpoint_url=stub.url, config=ONE_ATTEMPT) as pool:
        found = await failures(pool.prefetch(*names(2)))
    assert [(name, type(error)) for name, error in found.items()] == [
        (name, MalformedResponseError) for name in names(2)
    ]
    assert CANARY not in str(found)
    assert len(stub.requests) == 3


@pytest.mark.parametrize("whole", [True, False], ids=["call", "secrets"])
async def test_whose_error(stub: StubSecretsManager, whole: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """An error, also one that hits a whole call, says of each secret where its own region came from."""
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"
    errors = [{"SecretId": each, "ErrorCode": "InternalServiceError"} for each in ("prod/db", arn)]
    stub.handler = lambda _: (
        Answer(500, {"__type": "InternalServiceError", "Message": "No."}) if whole else Answer(body={"Errors": errors})
    )
    async with CredentialsPool("eu-west-1", endpoint_url=stub.url, config=ONE_ATTEMPT) as pool:
        found = await failures(pool.prefetch("prod/db", arn))
    assert {name: error.region_source for name, error in found.items()} == {
        "prod/db": "the pool",
        arn: "the secret's ARN",
    }


async def test_a_batch_that_fails(stub: StubSecretsManager) -> None:
    """A call that fails as a whole fails for its secrets alone: those of other calls are cached."""
    stub.handler = lambda request: (
        Answer(500, {"__type": "InternalServiceError", "Message": "No."})
        if "prod/000" in request.body["SecretIdList"]
        else Answer()
    )
    async with CredentialsPool(endpoint_url=stub.url, config=ONE_ATTEMPT) as pool:
        found = await failures(pool.prefetch(*names(30)))
        assert list(found) == names(20)
        assert all(isinstance(error, InternalServiceError) for error in found.values())
        assert len({id(error) for error in found.values()}) == 20
        await pool.manager("prod/029").secret()
    assert len(stub.requests) == 2


async def test_closed_during_a_prefetch(stub: StubSecretsManager) -> None:
    """Closing the pool ends a prefetch, which says so by itself, not in a group; nothing is left."""
    stub.handler = lambda _: Answer(action="hang")
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        prefetching = asyncio.create_task(pool.prefetch(*names(200)))
        await stub.arrival(5)
    with pytest.raises(PoolClosedError, match="closed during the call"):
        await prefetching
    with pytest.raises(PoolClosedError, match="make a new one"):
        await pool.prefetch("prod/db")
    assert len(stub.requests) == 5


async def test_not_open_yet() -> None:
    """A pool that nobody opened says how to open it, for names and ARNs."""
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf"
    for name in ("prod/db", arn):
        with pytest.raises(PoolClosedError, match="isn't open yet"):
            await CredentialsPool().prefetch(name)


async def test_at_opening(stub: StubSecretsManager) -> None:
    """`prefetch=` fetches while the pool opens, once; then all is there."""
    async with CredentialsPool(endpoint_url=stub.url, prefetch=(name for name in names(3))) as pool:
        assert batches(stub) == [names(3)]
        await pool.open()
        for name in names(3):
            await pool.manager(name).secret()
    assert len(stub.requests) == 1


async def test_failing_at_opening(stub: StubSecretsManager) -> None:
    """A pool that can't prefetch what it was told to doesn't open: it is closed, and raises the group."""
    stub.handler = batch_answer(
        stub,
        lambda answer: {
            "SecretValues": answer["SecretValues"][1:],
            "Errors": [{"SecretId": "prod/000", "ErrorCode": "ResourceNotFoundException", "Message": "No."}],
        },
    )
    pool = CredentialsPool(endpoint_url=stub.url, prefetch=names(3))
    found = await failures(pool.__aenter__())
    assert isinstance(found["prod/000"], SecretNotFoundError)
    assert repr(pool) == "<CredentialsPool closed>"
    with pytest.raises(PoolClosedError):
        await pool.manager("prod/001").secret()


async def test_cancelled_at_opening(stub: StubSecretsManager) -> None:
    """A pool whose opening is cancelled is closed: there is nothing half open."""
    stub.handler = lambda _: Answer(action="hang")
    pool = CredentialsPool(endpoint_url=stub.url, prefetch=names(3))
    opening = asyncio.create_task(pool.open())
    await stub.arrival(1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert repr(pool) == "<CredentialsPool closed>"


async def test_on_moto(moto: MotoServer, create_secret: Callable[..., Any], secrets_client: Callable[..., Any]) -> None:
    """On a server that isn't ours: names and ARNs, two regions, one that isn't there and one that was deleted."""
    for name in names(25):
        create_secret(name, name)
    elsewhere = create_secret("prod/elsewhere", "there", "eu-west-1")["ARN"]
    by_arn = create_secret("prod/by-arn", "here")["ARN"]
    create_secret("prod/deleted", "gone")
    secrets_client().delete_secret(SecretId="prod/deleted")
    async with CredentialsPool("us-east-1", endpoint_url=moto.url) as pool:
        found = await failures(pool.prefetch(*names(25), elsewhere, by_arn, "prod/missing", "prod/deleted"))
        assert {name: isinstance(error, SecretNotFoundError) for name, error in found.items()} == {
            "prod/missing": True,
            "prod/deleted": False,
        }
        assert isinstance(found["prod/deleted"], SecretDeletedError)
        values = [(await pool.manager(name).secret()).reveal() for name in [*names(25), elsewhere, by_arn]]
        assert values == [*names(25), "there", "here"]
        assert (pool.stats().hits, pool.stats().misses) == (27, 0)
