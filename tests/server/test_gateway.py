"""The gateway: whatever comes back, a `Secret` or one of our errors, inside one deadline; no error holds a value."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from aiocredentials import (
    AccessDeniedError,
    AsyncCredentialsManager,
    AuthenticationError,
    AWSError,
    CredentialsError,
    CredentialsPool,
    EndpointUnreachableError,
    InternalServiceError,
    MalformedResponseError,
    SecretDecryptionError,
    SecretNotFoundError,
    ThrottledError,
)

if TYPE_CHECKING:
    from server.stub import StubSecretsManager

CANARY = "hunter2-canary"
ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})
VERSION = "11111111-2222-4333-8444-555555555555"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf"
VALID = {"ARN": ARN, "Name": "prod/db", "VersionId": VERSION, "SecretString": CANARY, "VersionStages": ["AWSCURRENT"]}


def manager(stub: StubSecretsManager, name: str = "prod/db", **more: Any) -> AsyncCredentialsManager[Any]:  # noqa: ANN401
    """Make a manager that asks the stub, once."""
    return AsyncCredentialsManager(name, endpoint_url=stub.url, config=ONE_ATTEMPT, **more)


async def error_of(one: AsyncCredentialsManager[Any], **selector: str) -> CredentialsError:
    """Give what a fetch raises. Its frames, and this one, hold no answer."""
    with pytest.raises(CredentialsError) as info:
        await one.secret(**selector)
    return info.value


def everything(error: BaseException) -> str:
    """Everything that a log, a debugger or an error tracker could show of an error."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    return f"{''.join(whole.format())}{error!r}{error.args}{vars(error)}"


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ResourceNotFoundException", 400, SecretNotFoundError),
        ("DecryptionFailure", 400, SecretDecryptionError),
        ("AccessDeniedException", 400, AccessDeniedError),
        ("ExpiredTokenException", 403, AuthenticationError),
        ("ThrottlingException", 400, ThrottledError),
        ("SomethingNew", 429, ThrottledError),
        ("InternalServiceError", 500, InternalServiceError),
        ("SomethingNew", 503, InternalServiceError),
        ("SomethingNew", 400, AWSError),
    ],
)
async def test_codes(stub: StubSecretsManager, code: str, status: int, expected: type[CredentialsError]) -> None:
    """What AWS answers is our class and a ClientError, with code, request id, secret and region."""
    # Twice: refused credentials are looked for anew.
    stub.error(code, "AWS says so.", status=status, request_id="request-7", times=2)
    error = await error_of(manager(stub, region_name="eu-west-1"))
    assert isinstance(error, expected)
    assert isinstance(error, ClientError)
    assert (error.code, error.request_id, error.secret_name) == (code, "request-7", "prod/db")
    assert (error.region_name, error.region_source) == ("eu-west-1", "the region_name argument")
    for words in (code, "AWS says so.", "'prod/db'", "'eu-west-1'"):
        assert words in str(error)
    assert error.response["Error"] == {"Code": code, "Message": "AWS says so."}
    assert (error.__cause__, error.__context__) == (None, None)


async def test_logs(stub: StubSecretsManager, caplog: pytest.LogCaptureFixture) -> None:
    """An error that is raised isn't logged as well: whoever gets it decides what is said of it."""
    caplog.set_level(logging.DEBUG, "aiocredentials")
    for code in ("DecryptionFailure", "ResourceNotFoundException", "AccessDeniedException", "InternalServiceError"):
        stub.error(code)
        await error_of(manager(stub))
    assert [record for record in caplog.records if record.name == "aiocredentials"] == []


@pytest.mark.parametrize("seconds", [0.05, timedelta(milliseconds=50)])
async def test_no_answer(stub: StubSecretsManager, seconds: float | timedelta) -> None:
    """A server that hangs is given up after the timeout, which the error names."""
    stub.hang()
    async with CredentialsPool(endpoint_url=stub.url, timeout=seconds) as pool:
        error = await error_of(pool.manager("prod/db"))
    assert type(error) is EndpointUnreachableError
    assert "within 0.05 s" in str(error)
    assert error.transient
    assert (error.secret_name, error.__cause__, error.__context__) == ("prod/db", None, None)


async def test_half_an_answer(stub: StubSecretsManager) -> None:
    """The timeout holds for the whole: an answer that stops in the middle is given up as well."""
    async with CredentialsPool(endpoint_url=stub.url, timeout=0.3) as pool:
        await pool.manager("prod/redis").secret()  # a client that is open already, so that the time is for the answer
        stub.answer(body_gate=asyncio.Event())
        error = await error_of(pool.manager("prod/db"))
    assert "within 0.3 s" in str(error)
    assert stub.requests


@pytest.mark.parametrize("end", ["reset", "hang_up"])
async def test_connections_that_end(stub: StubSecretsManager, end: str) -> None:
    """A connection that ends in place of an answer is an unreachable endpoint, and transient."""
    getattr(stub, end)()
    error = await error_of(manager(stub))
    assert type(error) is EndpointUnreachableError
    assert error.region_name == "us-east-1"


async def test_nobody_listens(unused_tcp_port: int) -> None:
    """A port where nobody listens is said to refuse."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    error = await error_of(AsyncCredentialsManager("prod/db", endpoint_url=url, config=ONE_ATTEMPT))
    assert type(error) is EndpointUnreachableError
    assert "refused" in str(error).lower() or "connect" in str(error).lower()


async def test_retries(stub: StubSecretsManager) -> None:
    """By itself a fetch is tried again: one dropped connection isn't an error."""
    stub.hang_up()
    one = AsyncCredentialsManager[Any]("prod/db", endpoint_url=stub.url)
    assert await one.get() == {"mock_secret_key": "mock_secret_value"}
    assert len(stub.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hunter2-canary</html>",
        b"hunter2-canary",
        b"null",
        b"[]",
        b'"hunter2-canary"',
        b"{}",
        b'{"SecretString": "hunter2-canary"',
        b'{"SecretString": "hunter2-canary\xff"}',
        VALID | {"SecretBinary": "aHVudGVyMi1jYW5hcnk="},
        {name: value for name, value in VALID.items() if name != "SecretString"},
        VALID | {"SecretString": None},
        VALID | {"SecretString": {"password": CANARY}},
        VALID | {"SecretString": 7},
        VALID | {"SecretString": None, "SecretBinary": f"{CANARY}*"},
        VALID | {"CreatedDate": CANARY},
        VALID | {"Name": "prod/other", "ARN": ARN.replace("prod/db", "prod/other")},
        VALID | {"Name": None},
        VALID | {"ARN": None},
        VALID | {"Name": 7},
        VALID | {"VersionId": None},
        VALID | {"VersionId": ""},
        VALID | {"VersionId": 7},
        VALID | {"VersionStages": ["AWSPREVIOUS"]},
        VALID | {"VersionStages": []},
        VALID | {"VersionStages": None},
        VALID | {"VersionStages": CANARY},
    ],
    ids=range(27),
)
async def test_answers_that_are_none(stub: StubSecretsManager, body: dict[str, Any] | bytes) -> None:
    """A 200 that isn't the answer to what was asked is refused, and nothing of it is in the error."""
    stub.answer(body=body)
    error = await error_of(manager(stub))
    assert type(error) is MalformedResponseError
    assert error.transient
    assert (error.secret_name, error.region_name) == ("prod/db", "us-east-1")
    assert CANARY not in everything(error)
    assert (error.__cause__, error.__context__) == (None, None)


async def test_another_version_than_asked(stub: StubSecretsManager) -> None:
    """A version id that was asked is the one that must come."""
    stub.answer(body=VALID)
    error = await error_of(manager(stub), version_id="99999999-2222-4333-8444-555555555555")
    assert type(error) is MalformedResponseError
    assert "another version" in str(error)
    stub.answer(body=VALID | {"VersionStages": ["anything"]})
    assert (await manager(stub).secret(version_id=VERSION)).version_stages == ("anything",)


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ("prod/db", True),
        (ARN, True),
        (ARN[:-7], True),
        (ARN[:-1], False),
        (ARN[:-6], False),
        (ARN[:-9], False),
        (ARN.replace("prod/db", "prod/db-AbCdEf"), False),
        ("prod/d", False),
        ("PROD/DB", False),
    ],
    ids=range(9),
)
async def test_the_secret_that_was_asked(stub: StubSecretsManager, asked: str, fits: bool) -> None:  # noqa: FBT001
    """An answer fits the name, the ARN, and the ARN without AWS's hyphen and six characters; nothing else."""
    stub.answer(body=VALID)
    if fits:
        assert (await manager(stub, asked).secret()).reveal() == CANARY
        return
    error = await error_of(manager(stub, asked))
    assert "about another secret" in str(error)
    assert CANARY not in everything(error)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, MalformedResponseError),
        (403, MalformedResponseError),
        (404, MalformedResponseError),
        (407, MalformedResponseError),
        (429, ThrottledError),
        (502, InternalServiceError),
        (503, InternalServiceError),
    ],
)
@pytest.mark.parametrize("content_type", ["text/html", "application/x-amz-json-1.1"])
async def test_somebody_in_between(
    stub: StubSecretsManager, status: int, expected: type[CredentialsError], content_type: str
) -> None:
    """A proxy's or a gateway's page goes by its status, and its text, whatever it holds, is in no part of the error."""
    stub.answer(status=status, body=b"<p>hunter2-canary</p>", headers={"content-type": content_type})
    error = await error_of(manager(stub))
    assert isinstance(error, expected)
    assert re.search(rf"\bHTTP (status )?{status}\b", str(error))
    assert CANARY not in everything(error)


async def test_each_call_has_a_session(stub: StubSecretsManager) -> None:
    """Without a pool each fetch opens a connection and closes it."""
    one = manager(stub, policy=None)
    for _ in range(3):
        await one.secret()
    assert stub.connections == 3
