"""Requests that can't be sent, whatever AWS would say: the error names what is in the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

import aioboto3
import pytest
from aiobotocore.config import AioConfig

from aiocredentials import (
    AsyncCredentialsManager,
    AuthenticationError,
    CredentialsError,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRegionError,
    MalformedResponseError,
)
from aiocredentials._aws import session as _session
from unit.foreign_errors import CANARY, everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from server.stub import StubSecretsManager

ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})


async def error_of(url: str | None, session: Any = None, config: AioConfig = ONE_ATTEMPT) -> CredentialsError:  # noqa: ANN401 (any session)
    """Return what a fetch raises; it is about nothing in between, and has no value in it."""
    with pytest.raises(CredentialsError) as caught:
        await AsyncCredentialsManager[Any]("prod/db", endpoint_url=url, session=session, config=config).get()
    assert "answers in its place" not in str(caught.value)
    assert CANARY not in everything(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ACCESS_KEY_ID", f"{CANARY}\r"),
        ("AWS_ACCESS_KEY_ID", f"{CANARY}\n"),
        ("AWS_SESSION_TOKEN", f"{CANARY}\n"),
        ("AWS_SESSION_TOKEN", f"{CANARY}\x0b"),
        ("AWS_SECURITY_TOKEN", f"{CANARY}\r\n"),
    ],
)
async def test_a_variable_with_a_line_end(
    variable: str, value: str, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line end in a key, from a .env file or a wrong base64, is a mistake, and the variable is named."""
    monkeypatch.setenv(variable, value)
    error = await error_of(stub.url)
    assert (type(error), error.transient, error.asked) == (AuthenticationError, False, False)
    assert f"The AWS credentials can't be sent: {variable} contains a line end" in str(error)
    assert not stub.requests


async def test_a_region_with_a_line_end(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """The region is in a header as well: where it has the line end, the error is about the region."""
    monkeypatch.setenv("AWS_REGION", "us-east-1\n")
    error = await error_of(stub.url)
    assert type(error) is InvalidRegionError
    assert "AWS has no region 'us-east-1\\n'" in str(error)
    assert "did you mean 'us-east-1'?" in str(error)
    assert not stub.requests


async def test_a_profile_with_a_line_end(
    stub: StubSecretsManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that goes on in the next line of a profile has a line end in it: the profile is named."""
    (tmp_path / "config").write_text(
        f"[profile p]\naws_access_key_id = A\naws_secret_access_key = s\naws_session_token = {CANARY}\n  {CANARY}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "p")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = await error_of(stub.url)
    assert type(error) is AuthenticationError
    assert "aws_access_key_id or aws_session_token of profile 'p' or the session contains a line end" in str(error)


async def test_a_session_with_a_line_end(stub: StubSecretsManager) -> None:
    """The same for keys that are given to a session."""
    error = await error_of(stub.url, aioboto3.Session(f"{CANARY}\r", "s"))
    assert type(error) is AuthenticationError
    assert "of the default profile or the session contains a line end" in str(error)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"proxies": {"http": f"http://user:{CANARY} x@[::bad"}},
            "the URL of the endpoint or of the proxy is malformed",
        ),
        (
            {"connector_args": {"force_close": True}},
            "The client can't be used: keepalive_timeout cannot be set if force_close is True",
        ),
        (
            {"signature_version": "v2"},
            "The client can't be used: TypeError (raised in botocore.auth)",
        ),
    ],
    ids=["proxy", "connector", "signature"],
)
async def test_a_setting_that_shows_late(config: dict[str, Any], words: str, stub: StubSecretsManager) -> None:
    """A setting that only a request finds wrong is wrong for good, and named."""
    error = await error_of(stub.url, config=AioConfig(retries={"total_max_attempts": 1}, **config))
    assert (type(error), error.transient, error.asked) == (InvalidParameterError, False, False)
    assert words in str(error)
    assert not stub.requests


async def test_an_answer_that_shows_late(stub: StubSecretsManager) -> None:
    """What breaks in the parser of an answer is no setting: it was no answer, and the next one may be."""
    stub.answer(body=b"null")
    manager = AsyncCredentialsManager[Any]("prod/db", endpoint_url=stub.url, config=ONE_ATTEMPT)
    with pytest.raises(MalformedResponseError, match="answers in its place") as caught:
        await manager.get()
    assert caught.value.transient
    assert caught.value.asked


class Failing:
    """A custom session that can't make a client."""

    region_name = "us-east-1"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[Any]:  # noqa: ARG002 (the protocol's)
        """Fail."""
        raise self._error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            DeprecationWarning(CANARY),
            "The warnings filter of this process has turned a DeprecationWarning into an error",
        ),
        (
            ImportError("cannot import name 'x' from 'y'"),
            "The client can't be used: cannot import name 'x' from 'y'.",
        ),
        (RuntimeError(CANARY), "The client can't be used: RuntimeError (raised in "),
        (ValueError("invalid literal for int()"), "a setting in the profile isn't a number"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_opening_that_fails(error: Exception, words: str) -> None:
    """What nobody foresaw at opening is a matter of the setup: permanent, with the place where it was raised."""
    mapped = await error_of(None, Failing(error))
    assert (type(mapped), mapped.transient, mapped.asked) == (InvalidParameterError, False, False)
    assert words in str(mapped)


async def test_a_number_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that should be a number is named, where botocore says only that a number isn't one."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", CANARY)
    mapped = await error_of(None, Failing(ValueError(f"invalid literal for int() with base 10: '{CANARY}'")))
    assert "The client can't be used: AWS_MAX_ATTEMPTS isn't a number. " in str(mapped)


async def test_a_transport_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An aiobotocore that can't be made safe says so itself, and isn't taken for somebody in between."""

    async def load_transport() -> NoReturn:
        raise ImportError("This aiobotocore opens connections in another way.")

    monkeypatch.setattr(_session, "load_transport", load_transport)
    error = await error_of(None)
    assert type(error) is InvalidParameterError
    assert "This aiobotocore opens connections in another way" in str(error)


@pytest.fixture
async def proxy() -> AsyncIterator[str]:
    """A proxy that wants a password before anything else."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = f"<html>{CANARY}</html>"
        head = f"HTTP/1.1 407 Whatever\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"{head}connection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"http://user:{CANARY}@127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://vpce-1.example", EndpointUnreachableError),
        ("http://127.0.0.1:1", MalformedResponseError),
    ],
    ids=["CONNECT", "plain"],
)
async def test_a_proxy_that_wants_a_password(url: str, expected: type[CredentialsError], proxy: str) -> None:
    """A proxy that demands authentication is named as that, whichever way it says so; its password is nowhere."""
    proxies = {"https": proxy, "http": proxy}
    error = await error_of(url, config=AioConfig(retries={"total_max_attempts": 1}, proxies=proxies))
    assert isinstance(error, expected)
    assert error.transient
    assert "HTTP status 407 (proxy authentication required)" in str(error)
    assert "Put the user and the password that the proxy requires into its URL" in str(error)
