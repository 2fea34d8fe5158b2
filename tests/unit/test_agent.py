"""What the local agent answers, and what it is asked: parsing, percent escapes, arguments; without a socket."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from hypothesis import given, settings, strategies as st

from aiocredentials import (
    CredentialsError,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRegionError,
    MalformedResponseError,
    forget_all,
)
from aiocredentials._agent import failures, http, tokens
from aiocredentials._agent.answers import Refusal, created_at, read_reply
from aiocredentials._agent.client import AgentClient, _Attempts
from aiocredentials._agent.tokens import Token
from aiocredentials.agent import LocalAgent

URL = "http://localhost:2773"
CANARY = "mock_canary_value"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf"
GOOD: dict[str, Any] = {
    "ARN": ARN,
    "Name": "prod/db",
    "VersionId": "11111111-2222-4333-8444-555555555555",
    "SecretString": CANARY,
    "VersionStages": ["AWSCURRENT"],
    "CreatedDate": "1569534789.046",
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def read(status: int, body: bytes | dict[str, Any], **asked: str) -> Any:  # noqa: ANN401 (an answer, an error, a refusal)
    """Read a reply."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_reply(status, content, asked={"SecretId": "prod/db", **asked}, region_name="us-east-1", url=URL)


@given(secret_id=TEXT, version=TEXT, label=TEXT)
def test_percent_escapes(secret_id: str, version: str, label: str) -> None:
    """Whatever a name has in it, the agent decodes the same name, and no second parameter."""
    client = AgentClient(LocalAgent(URL, token="mock_token")._state, "us-east-1")
    parameters = {"SecretId": secret_id, "VersionId": version, "VersionStage": label}
    target = client._target(parameters, refresh=True)
    assert isinstance(target, str)
    assert target.isascii()
    decoded = parse_qsl(urlsplit(target).query, keep_blank_values=True, strict_parsing=True)
    expected = {"secretId": secret_id, "versionId": version, "versionStage": label, "refreshNow": "true"}
    assert dict(decoded) == expected
    assert len(decoded) == len(expected)


def test_a_name_that_no_url_can_hold() -> None:
    """A surrogate is refused, before anything is sent."""
    client = AgentClient(LocalAgent(URL, token="mock_token")._state, "us-east-1")
    error = client._target({"SecretId": "prod/\ud800"}, refresh=False)
    assert isinstance(error, CredentialsError)
    assert error.asked is False
    with pytest.raises(InvalidParameterError):
        asyncio.run(client.get_secret_value(SecretId="prod/\ud800"))


@given(value=st.binary(max_size=200))
def test_binary(value: bytes) -> None:
    """Any bytes come back as they are."""
    answer = {**GOOD, "SecretString": None, "SecretBinary": base64.b64encode(value).decode()}
    assert read(200, answer)["SecretBinary"] == value


def test_dates() -> None:
    """Dates are seconds since 1970, as the agent writes them, or RFC 3339, as Lambda's extension does."""
    moment = datetime(2019, 9, 26, 21, 53, 9, 46000, UTC)
    for text in ("1569534789.046", "2019-09-26T21:53:09.046Z", "2019-09-26T23:53:09.046+02:00", 1569534789.046):
        assert created_at(text) == moment
    assert created_at("2019-09-26T21:53:09.046") == moment
    for text in (None, "", "yesterday", "1e400", "999999999999", [], "2019-13-01"):
        assert created_at(text) is None


@given(given=st.none() | st.text(max_size=30) | st.floats() | st.integers())
def test_any_date(given: object) -> None:
    """No date breaks an answer."""
    found = created_at(given)
    assert found is None or found.utcoffset() is not None


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_answers(data: st.DataObject) -> None:
    """An answer that is cut, changed or added to is still an answer or an error, and no error has a value in it."""
    whole = json.dumps({**GOOD, "SecretString": CANARY}).encode()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    damaged = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]
    for status in (200, 400, 403, 500):
        found = read(status, damaged)
        if isinstance(found, CredentialsError):
            assert CANARY[5:] not in f"{found} {vars(found)}"
        else:
            assert isinstance(found, dict | Refusal)


@given(code=st.from_regex(r"[A-Za-z]{1,30}", fullmatch=True), message=st.text(max_size=100))
def test_unescaped_errors(code: str, message: str) -> None:
    """Up to 2.0 quotes and line ends in a message aren't escaped; the code decides all the same."""
    body = f'{{"__type":"{code}", "message":"{message}"}}'.encode(errors="replace")
    found = read(400, body)
    assert isinstance(found, CredentialsError)
    assert found.code == code


def test_plain_texts() -> None:
    """What the agent says in plain text becomes a refusal or an error; other text is left out."""
    assert read(400, b"unknown parameter: refreshNow") is Refusal.REFRESH_NOW
    assert read(400, b"unknown parameter: roleArn") is Refusal.ROLE_ARN
    assert read(400, b"not ready to serve traffic, please wait") is Refusal.NOT_READY
    assert read(503, b"Serving not enabled. Hit the endpoint") is Refusal.NOT_READY
    assert read(403, b"Bad Token") is read(401, b"") is Refusal.TOKEN
    assert read(429, b"Connection limit exceeded") is Refusal.CONNECTIONS
    assert "X-Forwarded-For" in str(read(400, b"Forwarded"))
    assert "refused a parameter" in str(read(400, b"invalid roleArn format, expected ..."))
    for status in (302, 400, 403, 404, 405, 500):
        error = read(status, b"<html>mock_page</html>")
        assert isinstance(error, CredentialsError)
        assert error.transient
        assert "mock_page" not in str(error)
        assert f"{status}" in str(error)


def test_answers_that_are_none() -> None:
    """What isn't an object, or has a value that can't be read, is malformed."""
    for body in (b"", b"[]", b"null", b"\xff", b"[" * 100_000, b"<html>"):
        assert isinstance(read(200, body), MalformedResponseError)
    assert isinstance(read(200, {**GOOD, "SecretBinary": "a***"}), MalformedResponseError)
    assert isinstance(read(200, {**GOOD, "SecretBinary": 7}), MalformedResponseError)
    assert read(400, {"__type": 7}).transient
    assert CANARY not in str(read(400, {"__type": "Validation", "message": {"password": CANARY}}))
    assert CANARY not in str(read(200, {**GOOD, "ARN": ARN.replace("us-east-1", CANARY)}))


def test_versions() -> None:
    """A version that was asked is the answer's; a null one has the date, so that a rotation shows."""
    empty = {**GOOD, "VersionId": None, "VersionStages": None}
    assert read(200, empty, VersionId="mine", VersionStage="AWSPENDING")["VersionId"] == "mine"
    assert read(200, empty, VersionStage="AWSPENDING")["VersionStages"] == ["AWSPENDING"]
    assert read(200, empty)["VersionStages"] is None
    assert read(200, {**empty, "CreatedDate": CANARY})["VersionId"] == "unknown"
    first, second = (read(200, {**empty, "CreatedDate": date})["VersionId"] for date in ("1.0", "2.0"))
    assert first != second


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://agent.example:2773", "another host"),
        ("http://10.0.0.1:2773", "another host"),
        ("http://localhost:2773/secretsmanager/get", "isn't the address"),
        ("http://user:mock_password@localhost:2773", "isn't the address"),
        ("localhost:2773", "isn't the address"),
        ("ftp://localhost", "isn't the address"),
        ("http://localhost:0", "isn't the address"),
        ("http://localhost:99999", "isn't the address"),
        ("http://local host:2773", "isn't the address"),
        ("http://", "isn't the address"),
        ("", "url is empty"),
    ],
)
def test_addresses(url: str, error: str) -> None:
    """An address that can't be an agent's is refused, without the password in it."""
    with pytest.raises(ValueError, match=error) as caught:
        LocalAgent(url)
    assert "mock_password" not in str(caught.value)


def test_good_addresses() -> None:
    """Each way to write this host is fine; another host must be allowed, and should be encrypted."""
    for url in ("http://localhost:2773/", "http://127.0.0.1:1", "http://[::1]:2773", "http://agent.localhost"):
        assert repr(LocalAgent(url, token="mock_token")) == f"<LocalAgent {url.rstrip('/')}>"
    LocalAgent("https://agent.example", allow_remote=True)
    with pytest.warns(UserWarning, match="isn't encrypted") as caught:
        LocalAgent("http://agent.example", allow_remote=True)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"token": ""}, ValueError),
        ({"token": "mock\ntoken"}, ValueError),
        ({"token": b"mock_token"}, TypeError),
        ({"connections": 0}, ValueError),
        ({"connections": True}, TypeError),
        ({"connections": 1.5}, TypeError),
        ({"role_arn": "reader"}, ValueError),
        ({"role_arn": 7}, TypeError),
        ({"url": None}, TypeError),
        ({"allow_remote": "false"}, TypeError),
        ({"region_name": ""}, ValueError),
    ],
)
def test_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    """An argument that can't work is refused at once, and a token isn't shown."""
    with pytest.raises(error) as caught:
        LocalAgent(**arguments)
    assert "mock" not in str(caught.value)


def test_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """The region is the argument's, or that of the environment, as for the agent itself."""
    assert LocalAgent(region_name="eu-west-1").region_name == "eu-west-1"
    with pytest.raises(InvalidRegionError):
        _ = LocalAgent().region_name
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert LocalAgent().region_name == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert LocalAgent().region_name == "eu-west-3"


async def test_a_ping_takes_a_timedelta() -> None:
    """The timeout of a ping is seconds or a timedelta, and not 0."""
    with pytest.raises(ValueError, match="timeout"):
        await LocalAgent().ping(timeout=timedelta(0))


async def test_a_token_in_a_repr(tmp_path: Path) -> None:
    """Neither the token nor its source shows it, before and after it was found."""
    file = tmp_path / "token"
    file.write_text(CANARY)
    for source in (CANARY, file, f"file://{file}"):
        token = Token(source)
        assert await token.get() == CANARY
        assert await token.get() == CANARY
        assert CANARY not in repr(token)
        assert await token.another_than(CANARY) is None
        assert await token.another_than("older") == CANARY


def test_no_pickle() -> None:
    """An agent can't be pickled, because its token would be written somewhere."""
    agent = LocalAgent(URL, token=CANARY)
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(agent)
    with pytest.raises(TypeError, match="is the token"):
        agent._state.token.__getstate__()


async def test_a_token_is_forgotten(tmp_path: Path) -> None:
    """What forgets everything forgets the token that was found; a file is read again afterwards."""
    file = tmp_path / "token"
    file.write_text("first")
    token = Token(file)
    assert await token.get() == "first"
    file.write_text("second")
    assert await token.get() == "first"
    forget_all()
    assert token._found is None
    assert await token.get() == "second"


async def test_a_token_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers that need the token at the same time share one read of its file, also after a refusal."""
    file = tmp_path / "token"
    file.write_text("first")
    reads: list[str] = []
    read_file = tokens._read

    def counted(path: str) -> str:
        reads.append(path)
        return read_file(path)

    monkeypatch.setattr(tokens, "_read", counted)
    token = Token(file)
    assert await asyncio.gather(*(token.get() for _ in range(8))) == ["first"] * 8
    assert len(reads) == 1
    file.write_text("second")
    assert await asyncio.gather(*(token.another_than("first") for _ in range(8))) == ["second"] * 8
    assert len(reads) == 2
    assert await asyncio.to_thread(asyncio.run, token.get()) == "second"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
async def test_a_pipe_as_the_file_of_the_token(tmp_path: Path) -> None:
    """A pipe isn't read, because a thread that waits for its end would keep the process from ending."""
    os.mkfifo(tmp_path / "token")
    error = await Token(tmp_path / "token").get()
    assert isinstance(error, CredentialsError)
    assert "isn't a regular file" in str(error)


async def test_a_token_that_was_passed_stays() -> None:
    """A token that was passed as text can't be found again, so it isn't dropped; the page on Lambda says so."""
    token = Token(CANARY)
    assert await token.get() == CANARY
    forget_all()
    assert await token.get() == CANARY
    page = Path(__file__).parents[2] / "docs" / "how-to" / "lambda.md"
    assert "except a token that your code passed" in page.read_text()


def test_a_token_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the group whose members may read it."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    error = asyncio.run(Token(tmp_path / "token").get())
    assert isinstance(error, CredentialsError)
    assert "Permission denied" in str(error)
    assert "awssmatokenreader" in str(error)
    assert not error.transient


class Scripted:
    """Connections that reply as it is written."""

    def __init__(self, *replies: http.Reply | http.NoReply) -> None:
        self.replies = list(replies)

    async def get(self, *_: object) -> http.Reply | http.NoReply:
        """Return the next reply."""
        return self.replies.pop(0)


def test_a_connection_that_is_lost() -> None:
    """The request is sent once more, whether or not this aiohttp does that, and not for ever."""
    good = http.Reply(200, json.dumps(GOOD).encode())
    lost = http.NoReply("lost", "it ended")
    client: Any = AgentClient(LocalAgent(URL, token="mock_token")._state, "us-east-1")
    client._connections = Scripted(lost, good)
    assert asyncio.run(client.get_secret_value(SecretId="prod/db"))["SecretString"] == CANARY
    client._connections = Scripted(lost, lost, good)
    with pytest.raises(EndpointUnreachableError, match="gave no answer: it ended"):
        asyncio.run(client.get_secret_value(SecretId="prod/db"))


def test_reasons() -> None:
    """The reason of a failed connection is the system's, however many addresses the host has."""
    both = "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect call failed"
    for error in (
        OSError(errno.ECONNREFUSED, "Connect call failed"),
        OSError(both.replace("111", f"{errno.ECONNREFUSED}")),
    ):
        assert http._words(error) == os.strerror(errno.ECONNREFUSED)
    assert http._words(OSError(-2, "Name or service not known")) == "Name or service not known"
    assert http._words(aiohttp.ServerDisconnectedError()) == "ServerDisconnectedError"


def test_hooks_of_aiohttp() -> None:
    """The private names of aiohttp that closing without a loop needs are there."""

    async def make() -> aiohttp.TCPConnector:
        connector = http._Connector(limit=1)
        await connector.close()
        return connector

    connector = asyncio.run(make())
    assert isinstance(connector._conns, dict)
    assert isinstance(connector._acquired, set)
    assert callable(connector._close)
    assert callable(aiohttp.ClientResponse.start)


def test_a_refusal_without_a_reason() -> None:
    """An agent that refuses a parameter which it wasn't sent isn't asked for ever."""
    client = AgentClient(LocalAgent(URL, token="mock_token")._state, "us-east-1")
    error = asyncio.run(client._handled(Refusal.REFRESH_NOW, _Attempts(), "mock_token"))
    assert str(error) == str(failures.refused_parameter(URL))


def test_what_is_imported() -> None:
    """A process that only asks the agent imports aiohttp and botocore's exceptions, and no SDK.

    What a fetch imports of ours is imported under the lock for which a fork waits.
    """
    program = """
import asyncio, sys
from aiocredentials import CredentialsPool, EndpointUnreachableError
from aiocredentials._loops import loading
from aiocredentials.agent import LocalAgent

unlocked = []

def note(event, arguments):
    if event == "import" and arguments[0].startswith("aiocredentials") and not loading._lock._is_owned():
        unlocked.append(arguments[0])

async def main():
    sys.addaudithook(note)
    async with CredentialsPool(session=LocalAgent("http://127.0.0.1:9", token="t", region_name="us-east-1")) as pool:
        try:
            await pool.manager("a").get()
        except EndpointUnreachableError:
            pass

asyncio.run(main())
heavy = ("aioboto3", "boto3", "aiobotocore", "botocore.session", "aiohttp")
print([name for name in heavy if name in sys.modules], unlocked)
"""
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert answer.stdout.strip() == "['aiohttp'] []"
