"""The sources of AWS credentials fail: an outage is bridged by the cached value, a refusal and a mistake are not.

Each source hands out credentials that have to be renewed for every call. STS, SSO, a container's
endpoint and the EC2 metadata service are one stub; `credential_process` is a script that does what
a file says.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest
from aiobotocore.config import AioConfig
from botocore.credentials import SSOProvider
from botocore.exceptions import ClientError
from botocore.tokens import SSOTokenProvider

from aiocredentials import (
    AsyncCredentialsManager,
    AuthenticationError,
    CachePolicy,
    CredentialSourceError,
    CredentialsPool,
    EndpointUnreachableError,
    InvalidRegionError,
    Secret,
    SecretNotFoundError,
)
from aiocredentials.events import RefreshFailed
from unit.foreign_errors import CANARY, everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from server.stub import StubSecretsManager

START = "https://d-123.awsapps.com/start"
ROLE = "arn:aws:iam::123456789012:role/app"
JSON, XML, HTML = "application/json", "text/xml", "text/html"
# A value that is fresh for long: what a forced refresh does to it shows without waiting.
POLICY = CachePolicy(ttl=300, refresh_ahead=None, negative_ttl=0)
ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})


class Answer(NamedTuple):
    """An answer of a source; a status of 0 hangs up instead."""

    status: int
    kind: str = HTML
    body: str = f"<html>{CANARY}</html>"


class Source:
    """STS, SSO, a container's endpoint and a metadata service on one port, which answer as they are told."""

    def __init__(self) -> None:
        self.broken: Answer | None = None
        self.asked: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: *(\d+)", head)
                body = (await reader.readexactly(int(length[1]) if length else 0)).decode()
                path = head.split()[1]
                self.asked.append(path)
                answer = self.broken or healthy(path, body)
                if answer.status:
                    lines = f"content-type: {answer.kind}\r\ncontent-length: {len(answer.body)}\r\nconnection: close"
                    writer.write(f"HTTP/1.1 {answer.status} Whatever\r\n{lines}\r\n\r\n{answer.body}".encode())
                    await writer.drain()
        finally:
            writer.transport.abort()


def healthy(path: str, body: str) -> Answer:
    """Hand out credentials that are good for five seconds: they are renewed before each call."""
    soon = datetime.now(UTC) + timedelta(seconds=5)
    stamp = f"{soon:%Y-%m-%dT%H:%M:%SZ}"
    if path.startswith("/sts"):
        action = "AssumeRoleWithWebIdentity" if "AssumeRoleWithWebIdentity" in body else "AssumeRole"
        given = "<AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
        return Answer(
            200,
            XML,
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>{given}'
            f"<Expiration>{stamp}</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn>"
            f"<AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>",
        )
    if path.startswith("/federation"):
        keys = {"accessKeyId": "A", "secretAccessKey": "s", "sessionToken": "t"}
        return Answer(
            200,
            JSON,
            json.dumps({"roleCredentials": keys | {"expiration": int(soon.timestamp() * 1000)}}),
        )
    if path.endswith(("/api/token", "/security-credentials/")):
        return Answer(200, "text/plain", "word")
    keys = {
        "AccessKeyId": "A",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": stamp,
        "Code": "Success",
    }
    return Answer(200, JSON, json.dumps(keys | {"LastUpdated": stamp}))


def sts_error(code: str, message: str, status: int = 403) -> Answer:
    """Refuse in the XML of STS."""
    return Answer(
        status,
        XML,
        f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestId>request-7</RequestId></ErrorResponse>",
    )


def json_error(code: str, message: str, status: int) -> Answer:
    """Refuse in the JSON of SSO."""
    return Answer(status, JSON, json.dumps({"__type": code, "message": message}))


class World(NamedTuple):
    """The source, Secrets Manager, and the folder with the files."""

    source: Source
    secrets: StubSecretsManager
    folder: Path


@pytest.fixture
async def world(stub: StubSecretsManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Every kind of source, for a profile or an environment to choose from."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "token").write_text("a web identity", encoding="utf-8")
    (tmp_path / "answer").write_text("", encoding="utf-8")
    script = tmp_path / "helper.py"
    # It prints what is in a file, and fails if that is empty.
    script.write_text(
        "import pathlib, sys\n"
        f"answer = pathlib.Path({str(tmp_path / 'answer')!r}).read_text(encoding='utf-8')\n"
        f"print(answer or sys.exit({CANARY!r}))\n",
        encoding="utf-8",
    )
    for provider in (SSOProvider, SSOTokenProvider):
        monkeypatch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))
    token = {
        "startUrl": START,
        "region": "us-east-1",
        "accessToken": "t",
        "expiresAt": "2099-01-01T00:00:00Z",
    }
    (tmp_path / f"{hashlib.sha1(START.encode(), usedforsecurity=False).hexdigest()}.json").write_text(
        json.dumps(token), encoding="utf-8"
    )
    (tmp_path / "config").write_text(
        f"[profile role]\nrole_arn = {ROLE}\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = AKID\naws_secret_access_key = s\n"
        f'[profile process]\ncredential_process = "{sys.executable}" "{script}"\n'
        f"[profile sso]\nsso_start_url = {START}\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = r\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    async with Source() as source:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"{source.url}/sts")
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", source.url)
        yield World(source, stub, tmp_path)


def choose(kind: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have AWS credentials come from this source, which is healthy."""
    if kind in {"role", "process", "sso"}:
        monkeypatch.setenv("AWS_PROFILE", kind)
        (world.folder / "answer").write_text(program_output(), encoding="utf-8")
    elif kind == "web identity":
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "session")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(world.folder / "token"))
    elif kind == "container":
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{world.source.url}/container")
    else:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", world.source.url)


def program_output(seconds: float = 5) -> str:
    """Return what a `credential_process` prints."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    keys = {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "SessionToken": "t"}
    return json.dumps(keys | {"Expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}"})


SENTENCE = "User: arn:aws:iam::1:user/me is not authorized"
OUTAGES = {
    "hangs up": Answer(0),
    "503, a page": Answer(503),
    "503, empty": Answer(503, body=""),
    "403, a page": Answer(403),
    "404, a page": Answer(404),
    "200, a page": Answer(200),
}
# What is an outage for each kind, and what the error must say.
BRIDGED = [
    *(
        (kind, name, answer)
        for kind in ("role", "web identity", "sso", "container")
        for name, answer in OUTAGES.items()
    ),
    *((kind, "throttled", sts_error("Throttling", "Rate exceeded", 400)) for kind in ("role", "web identity")),
    ("web identity", "IdP", sts_error("IDPCommunicationError", "Couldn't contact the IdP", 400)),
    ("sso", "throttled", json_error("TooManyRequestsException", "Slow down", 429)),
    (
        "container",
        "token refused",
        Answer(400, "text/plain", f"Service account token failed: {CANARY}"),
    ),
    ("process", "fails", None),
]
# What is a refusal for each kind, and what the advice is about.
REFUSED = [
    (
        "role",
        sts_error("AccessDenied", SENTENCE),
        "let the role's trust policy allow sts:AssumeRole",
    ),
    ("role", sts_error("ExpiredToken", SENTENCE, 400), "Renew the credentials"),
    ("web identity", sts_error("AccessDenied", SENTENCE), "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ("web identity", sts_error("InvalidIdentityToken", SENTENCE, 400), "renews the token"),
    ("sso", json_error("ForbiddenException", SENTENCE, 403), "sso_role_name"),
    ("sso", json_error("ResourceNotFoundException", SENTENCE, 404), "sso_role_name"),
]


async def broken_refresh(world: World, break_it: Callable[[], None]) -> tuple[AuthenticationError, Any, list[object]]:
    """Fetch, break the source, refresh: return the error, what a reader gets then, and the listener's failures."""
    failures: list[object] = []

    def listen(event: object) -> None:
        if isinstance(event, RefreshFailed):
            failures.append(event.error)

    async with CredentialsPool(
        endpoint_url=world.secrets.url, config=ONE_ATTEMPT, policy=POLICY, listener=listen
    ) as pool:
        manager = pool.manager("prod/db")
        first = await manager.secret()
        break_it()
        with pytest.raises(AuthenticationError) as caught:
            await manager.refresh()
        left: Awaitable[Secret] = manager.secret()
        (after,) = await asyncio.gather(left, return_exceptions=True)
    assert len(world.secrets.requests) == 1
    assert isinstance(first, Secret)
    return caught.value, after, failures


@pytest.mark.parametrize(("kind", "name", "answer"), BRIDGED, ids=[f"{kind}, {name}" for kind, name, _ in BRIDGED])
async def test_an_outage_is_bridged(
    kind: str, name: str, answer: Answer | None, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody refused anything: the error is transient, the listener learns of it, and the cached value stays."""
    choose(kind, world, monkeypatch)

    def break_it() -> None:
        world.source.broken = answer
        (world.folder / "answer").write_text("", encoding="utf-8")

    error, after, failures = await broken_refresh(world, break_it)
    assert isinstance(error, CredentialSourceError), name
    assert (error.transient, error.asked, error.secret_name) == (True, False, "prod/db")
    assert str(error).startswith("No AWS credentials could be loaded: ")
    assert CANARY not in everything(error)
    assert isinstance(after, Secret)
    assert [type(failure).__name__ for failure in failures] == ["CredentialSourceError"]


@pytest.mark.parametrize(("kind", "answer", "advice"), REFUSED, ids=range(len(REFUSED)))
async def test_a_refusal_ends_it(
    kind: str, answer: Answer, advice: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What STS or SSO refuse is permanent, in their own words: it is about AWS credentials, not about the secret."""
    choose(kind, world, monkeypatch)

    def break_it() -> None:
        world.source.broken = answer

    error, after, _ = await broken_refresh(world, break_it)
    assert isinstance(error, ClientError)
    assert not isinstance(error, CredentialSourceError)
    assert (error.transient, error.asked) == (False, False)
    assert error.code is not None
    assert error.code in answer.body
    for words in (SENTENCE, error.code, advice):
        assert words in str(error)
    for words in ("GetSecretValue", SecretNotFoundError.advice, "(left out)"):
        assert words not in str(error)
    assert isinstance(after, AuthenticationError)


@pytest.mark.parametrize("output", [CANARY, "[]", program_output().replace('"Version": 1', '"Version": 2')])
async def test_a_program_that_breaks(output: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends well and prints something else is a mistake, also if it has worked before."""
    choose("process", world, monkeypatch)
    error, after, _ = await broken_refresh(
        world, lambda: (world.folder / "answer").write_text(output, encoding="utf-8") and None
    )
    assert type(error) is AuthenticationError
    assert "credential_process (profile 'process')" in str(error)
    assert CANARY not in everything(error)
    assert isinstance(after, AuthenticationError)


async def test_a_program_that_prints_old_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose credentials have expired already has none just now: the cached value stays."""
    choose("process", world, monkeypatch)
    old = program_output(-60)
    error, after, _ = await broken_refresh(
        world, lambda: (world.folder / "answer").write_text(old, encoding="utf-8") and None
    )
    assert type(error) is CredentialSourceError
    assert "expired already" in str(error)
    assert isinstance(after, Secret)


@pytest.mark.parametrize("answer", [Answer(0), Answer(503), Answer(404)], ids=["hangs up", "503", "no role"])
async def test_no_source_just_now(answer: Answer, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metadata service that is out of order looks like none at all: the value stays, the next call looks again."""
    choose("instance", world, monkeypatch)
    manager = AsyncCredentialsManager[Any]("prod/db", endpoint_url=world.secrets.url, policy=POLICY)
    assert isinstance(await manager.secret(), Secret)
    world.source.broken = answer
    with pytest.raises(CredentialSourceError, match="none were found"):
        await manager.refresh()
    assert isinstance(await manager.secret(), Secret)
    assert len(world.secrets.requests) == 1
    world.source.broken = None
    await manager.refresh()
    assert len(world.secrets.requests) == 2


async def test_no_host_for_the_region(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the region can't be one, that is said, though it is STS whose host doesn't exist."""
    choose("role", world, monkeypatch)
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west1")
    manager = AsyncCredentialsManager[Any]("prod/db", endpoint_url=world.secrets.url, config=ONE_ATTEMPT)
    with pytest.raises(InvalidRegionError, match="did you mean 'eu-west-1'"):
        await manager.get()


async def test_a_region_that_has_answered(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a region has answered it is one, whatever its name: after that, a host without an address is an outage."""
    resolved = asyncio.BaseEventLoop.getaddrinfo

    async def getaddrinfo(self: Any, host: str, port: Any, **more: Any) -> Any:  # noqa: ANN401 (asyncio's own)
        name = "127.0.0.1" if host.endswith(".localhost") and DNS_IS_UP else host
        return await resolved(self, name, port, **more)

    global DNS_IS_UP  # noqa: PLW0603 (the resolver's state)
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    url = f"http://secretsmanager.newest-1.localhost:{stub.port}"
    manager = AsyncCredentialsManager[Any]("prod/db", "newest-1", endpoint_url=url, config=ONE_ATTEMPT, policy=POLICY)
    DNS_IS_UP = False
    with pytest.raises(InvalidRegionError):
        await manager.refresh()
    DNS_IS_UP = True
    await manager.refresh()
    DNS_IS_UP = False
    with pytest.raises(EndpointUnreachableError):
        await manager.refresh()
    assert isinstance(await manager.secret(), Secret)
