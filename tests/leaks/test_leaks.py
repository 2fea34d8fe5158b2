"""No value gets out by itself: for each way a fetch can end, all that can be printed is searched for the canary."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import gc
import json
import logging
import pickle
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.utils import AioContainerMetadataFetcher

from aiocredentials import (
    AsyncCredentialsManager,
    CachePolicy,
    CredentialsError,
    CredentialsPool,
    DatabaseCredentials,
    RedisCredentials,
    SecretFormatError,
)
from aiocredentials._json_copies import parse
from leaks.canary import TOKEN, VALUE, LogKeeper, assert_silent, leaked, of_error, of_object, of_process, of_traceback
from leaks.wire import ARN, NAME, SECRET_BINARY, SECRET_JSON, Wire, answer, binary, secret

pytestmark = pytest.mark.exhaustive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from aiocredentials.events import SecretEvent

HOLD = Wire.HOLD
RAW = VALUE.encode()
HTML = f"<html><body>{VALUE}</body></html>".encode()
GOOD = secret()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

# What the server sends in place of an answer, by what is wrong with it. Each holds the canary.
ANSWERS: dict[str, bytes] = {
    # 200, and JSON, and not an answer
    "a string": answer(VALUE),
    "an array": answer([VALUE]),
    "another object": answer({"Value": VALUE, VALUE: 1}),
    "an object around it": answer({"GetSecretValueResponse": json.loads(GOOD.partition(b"\r\n\r\n")[2])}),
    "text and binary": secret(SecretBinary="cXc="),
    "neither text nor binary": secret(None, Value=VALUE),
    "text is an object": secret({"password": VALUE}),
    "text is an array": secret([VALUE]),
    "binary is not base64": secret(None, SecretBinary=VALUE),
    "binary is an object": secret(None, SecretBinary={"password": VALUE}),
    "another name": secret(Name=f"other/{VALUE}"),
    "another ARN": secret(Name="other/db", ARN=f"{ARN[:-6]}{VALUE}"),
    "name is an object": secret(Name={"password": VALUE}),
    "no version": secret(VersionId=None),
    "version is an array": secret(VersionId=[VALUE]),
    "no stages": secret(VersionStages=None),
    "stages are a string": secret(VersionStages=VALUE),
    "stages are others": secret(VersionStages=[VALUE]),
    "stages are objects": secret(VersionStages=[{"password": VALUE}]),
    "a junk date": secret(CreatedDate=VALUE),
    "date is an object": secret(CreatedDate={"password": VALUE}),
    "too big a date": secret(CreatedDate=1e300),
    # 200, and not JSON
    "HTML": answer(HTML, kind="text/html"),
    "plain text": answer(RAW),
    "bad UTF-8": answer(GOOD.partition(b"\r\n\r\n")[2].replace(b"\\u00e9", b"\xff")),
    "UTF-16": answer(SECRET_JSON.encode("utf-16")),
    "a byte order mark": answer(b"\xef\xbb\xbf" + GOOD.partition(b"\r\n\r\n")[2]),
    "cut, with the right length": answer(GOOD.partition(b"\r\n\r\n")[2][:-3]),
    "too deep": answer(b'{"SecretString": "' + RAW.replace(b'"', b"") + b'", "x": ' + b"[" * 100_000),
    "too long a number": answer(b'{"SecretString": "' + RAW.replace(b'"', b"") + b'", "x": ' + b"7" * 5_000 + b"}"),
    "control characters": answer(f'{{"SecretString": "\n{VALUE}'.encode()),
    "compressed, they say": answer(RAW, content_encoding="gzip"),
    # errors
    "400 HTML": answer(HTML, status=400, kind="text/html"),
    "403 HTML": answer(HTML, status=403, kind="text/html; charset=utf-8"),
    "404 text as JSON": answer(RAW, status=404),
    "413 text without a type": answer(RAW, status=413, kind=""),
    "429 text": answer(RAW, status=429, kind="text/plain"),
    "500 HTML": answer(HTML, status=500, kind="text/html"),
    "502 text as JSON": answer(RAW, status=502),
    "503 binary": answer(SECRET_BINARY, status=503, kind="application/octet-stream"),
    "400 binary as JSON": answer(SECRET_BINARY, status=400),
    "400 cut JSON": answer(json.dumps({"__type": "InternalFailure", "SecretString": VALUE}).encode()[:-2], status=400),
    "400 a string": answer(VALUE, status=400),
    "400 an array": answer([VALUE], status=400),
    "400 the answer": answer({**json.loads(GOOD.partition(b"\r\n\r\n")[2])}, status=400),
    "400 other fields": answer(
        {"__type": "InvalidRequestException", "SecretString": VALUE, "Value": VALUE}, status=400
    ),
    "400 type is an object": answer({"__type": {"password": VALUE}}, status=400),
    "400 message is an object": answer({"__type": "Validation", "Message": {"password": VALUE}}, status=400),
    "400 message is an array": answer({"__type": "Validation", "message": [VALUE]}, status=400),
    "400 text with a code": answer(RAW, status=400, x_amzn_query_error="InvalidRequestException;Sender"),
    "500 with the answer": answer(json.loads(GOOD.partition(b"\r\n\r\n")[2]), status=500),
    # redirects
    "301": answer(HTML, status=301, kind="text/html", location="http://127.0.0.1:1/"),
    "302": answer(RAW, status=302, location=f"/{VALUE}"),
    "307": answer(json.loads(GOOD.partition(b"\r\n\r\n")[2]), status=307, location=f"http://{TOKEN}.example/"),
    # what isn't HTTP, or ends too early
    "no status line": RAW + b"\r\n\r\n",
    "a status that is none": b"HTTP/1.1 " + RAW + b"\r\n\r\n",
    "a header without a colon": HEAD + RAW + b"\r\n\r\n",
    "a bad header name": HEAD + RAW + b": 1\r\n\r\n",
    "a header that doesn't end": HEAD + b"x-note: " + RAW * 2_000 + b"\r\n\r\n",
    "a bad length": HEAD + b"content-length: " + RAW + b"\r\n\r\n",
    "headers end halfway": HEAD + b"x-note: " + RAW,
    "body ends halfway": GOOD[:-9],
    "body stalls": GOOD[:-9] + HOLD,
    "headers stall": HEAD + b"x-note: " + RAW + HOLD,
    "a bad chunk size": CHUNKED + RAW + b"\r\n",
    "a chunk that is too long": CHUNKED + b"3\r\n" + RAW + b"\r\n0\r\n\r\n",
    "a chunk that ends halfway": CHUNKED + b"ff\r\n" + RAW,
    "a chunk that stalls": CHUNKED + b"ff\r\n" + RAW + HOLD,
    "length is too short": HEAD + b"content-length: 9\r\n\r\n" + GOOD.partition(b"\r\n\r\n")[2],
}
# Answers that are taken as they are: a decoder, or the caller, finds fault with the value.
VALUES: dict[str, bytes] = {
    "not JSON": secret(VALUE),
    "JSON with an end": secret(SECRET_JSON + VALUE),
    "JSON that is cut": secret(SECRET_JSON[:-1]),
    "JSON that is too deep": secret("[" * 100_000 + VALUE),
    "JSON with too long a number": secret(f'{{"password": {"7" * 5_000}, "{VALUE}": 1}}'),
    "binary and no text": binary(SECRET_BINARY),
    "binary and no JSON": binary(RAW),
}
STALLING = {name for name, sent in ANSWERS.items() if HOLD in sent}


class RefusalError(Exception):
    """What a decoder may raise: it keeps the text in more places than one."""

    def __init__(self, text: str) -> None:
        super().__init__(text, {"text": text})
        self.doc = text
        self.add_note(text)

    def __str__(self) -> str:
        return self.doc


def refuses(text: str) -> object:
    """Refuse, in the course of another refusal."""
    try:
        json.loads(text + text)
    except ValueError as error:
        raise RefusalError(text) from error


def groups(text: str) -> object:
    """Refuse with a group."""
    raise ExceptionGroup(text, [ValueError(text), RefusalError(text)])


def asserts(text: str) -> object:
    """Refuse as pytest rewrites it: with both sides."""
    assert text == f"{text}!", text
    return text


def breaks_unicode(text: str) -> object:
    """Refuse with an error whose `.object` is the whole text."""
    return text.encode().decode("ascii")


def recurses(text: str) -> object:
    """Never end."""
    return recurses(text)


def validates(text: str) -> object:
    """Refuse by pydantic, whose errors print their input."""
    return model_validates()(text)


def model_validates() -> Callable[[str], object]:
    """Return a method of pydantic's that refuses a value, and a key."""
    pydantic: Any = pytest.importorskip("pydantic")
    forbidding = pydantic.ConfigDict(extra="forbid")
    model = pydantic.create_model("Credentials", __config__=forbidding, password=(int, ...), marks=(dict[str, int], {}))
    method: Callable[[str], object] = model.model_validate_json
    return method


def seals(key: str, text: str) -> object:
    """Refuse, with a key that was given before."""
    raise RefusalError(f"{key} {text}")


@dataclasses.dataclass(frozen=True)
class Sealed:
    """A callable object whose repr shows its key."""

    key: str

    def __call__(self, text: str) -> object:
        """Refuse."""
        return seals(self.key, text)


async def decodes_later(text: str) -> object:
    """Return it, when somebody awaits it."""
    return text


def decodes_in_the_future(text: str) -> object:
    """Return something whose repr shows the text."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result(text)
    return future


def complains(text: str) -> object:
    """Refuse by an error of the library's, in the course of another refusal."""
    try:
        refuses(text)
    except RefusalError as error:
        raise SecretFormatError("It isn't one of ours.") from error


def database(**fields: object) -> bytes:
    """Write an answer with a database secret."""
    return secret(json.dumps({"username": "user", "password": VALUE} | fields))


DECODERS: dict[str, tuple[Callable[[str], object], bytes]] = {
    "refuses": (refuses, GOOD),
    "group": (groups, GOOD),
    "assert": (asserts, GOOD),
    "int": (int, secret(VALUE)),
    "float": (float, secret(VALUE)),
    "KeyError": (lambda text: {}[text], GOOD),
    "AttributeError": (lambda text: getattr(json, text), GOOD),
    "UnicodeDecodeError": (breaks_unicode, secret(VALUE)),
    "RecursionError": (recurses, GOOD),
    "StopIteration": (lambda text: next(iter(()), *()) or text, GOOD),
    "json.loads": (json.loads, secret(VALUE)),
    "json.loads in a partial": (functools.partial(json.loads, strict=False), secret(VALUE)),
    "pydantic": (validates, GOOD),
    "pydantic's method": (
        model_validates(),
        secret(json.dumps({"password": VALUE, VALUE: VALUE, "marks": {VALUE: 1.5}})),
    ),
    "pydantic's method: not JSON": (model_validates(), secret(VALUE)),
    "pydantic's method in a partial": (functools.partial(model_validates(), context={"key": VALUE}), GOOD),
    "partial with a key": (functools.partial(seals, VALUE), GOOD),
    "partial with a named key": (functools.partial(seals, key=VALUE), GOOD),
    "object with a key": (Sealed(VALUE), GOOD),
    "object with a key, its method": (Sealed(VALUE).__call__, GOOD),
    "partial of an object with a key": (functools.partial(Sealed(VALUE)), GOOD),
    "an error of the library's": (complains, GOOD),
    "a coroutine": (lambda text: decodes_later(text), GOOD),  # noqa: PLW0108 (an async function itself is refused)
    "a future": (decodes_in_the_future, GOOD),
    "redis: a URL": (RedisCredentials.from_text, secret(f"redis://:{VALUE}@host")),
    "redis: lines": (RedisCredentials.from_text, secret(f"{VALUE}\n{VALUE}")),
    "redis: an array": (RedisCredentials.from_text, secret(json.dumps([VALUE]))),
    "redis: no password": (RedisCredentials.from_text, secret(json.dumps({"user": VALUE, VALUE: VALUE}))),
    "redis: password is an object": (RedisCredentials.from_text, secret(json.dumps({"token": {VALUE: VALUE}}))),
    "database: not JSON": (DatabaseCredentials.from_json, secret(VALUE)),
    "database: an array": (DatabaseCredentials.from_json, secret(json.dumps([VALUE]))),
    "database: no username": (DatabaseCredentials.from_json, database(username="")),
    "database: username is an object": (DatabaseCredentials.from_json, database(username={VALUE: VALUE})),
    "database: password is an array": (DatabaseCredentials.from_json, database(password=[VALUE])),
    "database: password has a lone surrogate": (DatabaseCredentials.from_json, database(password=f"{VALUE}\ud800")),
    "database: port": (DatabaseCredentials.from_json, database(port=VALUE)),
    "database: host is an object": (DatabaseCredentials.from_json, database(host={"password": VALUE})),
    "database: host and port": (DatabaseCredentials.from_json, database(host=f"{VALUE}:{VALUE}")),
    "database: other names": (DatabaseCredentials.from_json, secret(json.dumps({"user": VALUE, VALUE: VALUE}))),
    "database: binary": (DatabaseCredentials.from_json, binary(SECRET_BINARY)),
    "database: a URL": (DatabaseCredentials.from_url, secret(f"postgresql://app:{VALUE}@db.example/shop?a={VALUE}")),
    "database: other keys": (
        DatabaseCredentials.reader(username="user", under="app"),
        secret(json.dumps({"app": {"login": VALUE, VALUE: VALUE}})),
    ),
}
# How a fetch that goes well, or is given up, may be asked for.
ENDINGS = ("success", "success per call", "success with a decoder", "success of a batch", "binary", "cancelled",
           "cancelled per call", "cancelled in a group", "timeout of the caller's", "closed during the call",
           "forgotten", "a listener that fails", "stale")  # fmt: skip
CHAINS = ("container", "instance", "web identity", "sts refuses", "container refuses", "metadata is not JSON")
OBJECTS = ("secret", "manager", "manager of a dict", "pool", "store", "cache", "entry", "lease", "reader",
           "flight", "stats", "events",
           "credentials", "policy", "settings", "copies of JSON")  # fmt: skip

PATHS = [
    *(("per call", name) for name in ANSWERS),
    *(("refresh", name) for name in ANSWERS),
    *(("batch", name) for name in list(ANSWERS)[:10]),
    *(("value", name) for name in VALUES),
    *(("decode", name) for name in DECODERS),
    *(("ending", name) for name in ENDINGS),
    *(("chain", name) for name in CHAINS),
    *(("object", name) for name in OBJECTS),
]

ONE_TRY = AioConfig(retries={"mode": "standard", "total_max_attempts": 1})


def test_enough_paths() -> None:
    """There are at least 90 ways to end, all different."""
    assert len(set(PATHS)) == len(PATHS) >= 90


def of(kind: str) -> pytest.MarkDecorator:
    """Parametrize a test with the paths of a kind."""
    return pytest.mark.parametrize("name", [name for each, name in PATHS if each == kind])


@pytest.fixture(autouse=True)
def _only_what_is_new() -> Iterator[None]:
    """Hide from the collector's list what was there before, so that looking through it is quick."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def logs(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LogKeeper]:
    """Log everything, asyncio's debug mode included, with a session token; search it when the test is over."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # so that each callback is logged, as if it had taken long
    with LogKeeper() as keeper:
        yield keeper
    loop.set_debug(False)
    assert_silent(iter(keeper.texts))


async def error_of(awaitable: Any) -> BaseException:  # noqa: ANN401 - any awaitable
    """Return what awaiting raises; this frame is part of its traceback, and holds nothing else."""
    try:
        await awaitable
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it is printed
        return error
    raise AssertionError("nothing was raised")


def search(error: BaseException) -> None:
    """Search all that can be printed of an error, and of the process while it is there."""
    assert assert_silent(of_error(error)) > 10
    assert_silent(of_process())


# Answers that are none


@of("per call")
@pytest.mark.usefixtures("logs")
async def test_answers_per_call(name: str) -> None:
    """Whatever is sent in place of an answer, the error of a session per call doesn't show it."""
    async with Wire(ANSWERS[name]) as wire:
        timeout = 1.0 if name in STALLING else 5.0
        manager: Any = AsyncCredentialsManager(
            NAME, endpoint_url=wire.url, config=ONE_TRY, policy=None, timeout=timeout
        )
        error = await error_of(manager.secret())
        assert wire.requests == 1
        assert isinstance(error, CredentialsError), error
        search(error)


@of("refresh")
@pytest.mark.usefixtures("logs")
async def test_answers_to_a_refresh(name: str) -> None:
    """Nor does that of a pool, with a value in its cache that is served meanwhile."""
    async with Wire(GOOD, ANSWERS[name]) as wire:
        timeout = 1.0 if name in STALLING else 5.0
        events: list[SecretEvent] = []
        async with CredentialsPool(
            endpoint_url=wire.url, config=ONE_TRY, timeout=timeout, listener=events.append
        ) as pool:
            manager = pool.manager(NAME, decode=DatabaseCredentials.from_json)
            assert leaked((await manager.get()).password)
            error = await error_of(manager.refresh())
            assert isinstance(error, CredentialsError), error
            search(error)
            for event in events:
                assert_silent(of_object(event))
            with contextlib.suppress(CredentialsError):
                await manager.secret()
        assert wire.requests == 2


@of("batch")
@pytest.mark.usefixtures("logs")
async def test_answers_to_a_batch(name: str) -> None:
    """Nor does the group of errors that prefetching raises."""
    body = ANSWERS[name].partition(b"\r\n\r\n")[2]
    pages = {"SecretValues": [json.loads(body)], "Errors": [{"SecretId": NAME, "ErrorCode": "X", "Message": "No."}]}
    async with (
        Wire(answer(pages), ANSWERS[name]) as wire,
        CredentialsPool(endpoint_url=wire.url, config=ONE_TRY) as pool,
    ):
        error = await error_of(pool.prefetch(NAME))
        assert isinstance(error, ExceptionGroup)
        search(error)


# Values that aren't what they are taken for


@of("value")
@pytest.mark.usefixtures("logs")
async def test_values(name: str) -> None:
    """A value that isn't JSON, or not text, is refused with an error that shows nothing of it."""
    async with Wire(VALUES[name]) as wire, CredentialsPool(endpoint_url=wire.url, config=ONE_TRY) as pool:
        manager: Any = pool.manager(NAME)
        for call in (manager.retrieve_secret_string, manager.get):
            error = await error_of(call())
            assert isinstance(error, SecretFormatError)
            search(error)
        assert wire.requests == 1


@of("decode")
@pytest.mark.usefixtures("logs")
async def test_decoders(name: str) -> None:
    """Whatever a decoder raises, with the value wherever it likes, nothing of it hangs on our error."""
    decode, sent = DECODERS[name]
    async with Wire(sent) as wire, CredentialsPool(endpoint_url=wire.url, config=ONE_TRY) as pool:
        manager: Any = pool.manager(NAME, decode=decode)
        assert_silent(of_object(manager))
        error = await error_of(manager.get())
        assert isinstance(error, SecretFormatError)
        assert error.__cause__ is None
        assert error.__context__ is None
        search(error)


async def test_binary_decoders() -> None:
    """Nor does a decoder that takes the bytes."""
    async with Wire(binary(SECRET_BINARY)) as wire, CredentialsPool(endpoint_url=wire.url, config=ONE_TRY) as pool:
        decoders: list[Callable[[bytes], object]] = [
            bytes.decode,
            functools.partial(VALUE.encode().index),
            lambda _: {}[_],
        ]
        for decode in decoders:
            error = await error_of(pool.manager(NAME, decode=decode, binary=True).get())
            assert isinstance(error, SecretFormatError)
            search(error)


# Endings


async def give_up(wire: Wire, name: str) -> BaseException:
    """Give a call up when half of the answer has been read."""
    per_call: Any = AsyncCredentialsManager(NAME, endpoint_url=wire.url, config=ONE_TRY, policy=None)
    async with CredentialsPool(endpoint_url=wire.url, config=ONE_TRY) as pool:
        manager = per_call if name != "cancelled" and "closed" not in name else pool.manager(NAME)
        if name == "timeout of the caller's":
            return await error_of(asyncio.wait_for(manager.secret(), 0.3))
        if name == "cancelled in a group":
            return await error_of(grouped(manager, wire))
        call = asyncio.create_task(manager.secret())
        await arrival(wire)
        if "closed" in name:
            await pool.aclose()
        else:
            call.cancel()
        return await error_of(call)


async def grouped(manager: Any, wire: Wire) -> None:  # noqa: ANN401 - of any type
    """Fail next to a call."""
    async with asyncio.TaskGroup() as group:
        group.create_task(manager.secret())
        await arrival(wire)
        raise LookupError


async def arrival(wire: Wire) -> None:
    """Wait until the first request has come, and half of the answer is there."""
    await wire.arrived.wait()
    await asyncio.sleep(0.05)


async def end(name: str) -> None:
    """End a call in the way that is asked."""
    pages = answer({"SecretValues": [json.loads(GOOD.partition(b"\r\n\r\n")[2])], "Errors": []})
    sent = {"success of a batch": pages, "binary": binary(SECRET_BINARY)}
    async with Wire(sent.get(name, GOOD), GOOD[:-9]) as wire:
        if name == "success per call":
            manager: Any = AsyncCredentialsManager(NAME, endpoint_url=wire.url)
            assert leaked((await manager.get())["password"])
            assert_silent(of_process())
            return
        if name == "forgotten":
            pool = CredentialsPool(endpoint_url=wire.url)
            await pool.open()
            await pool.manager(NAME).secret()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                session = pool._session
                del pool
                gc.collect()
                assert_silent(iter([("a warning", f"{each!r} {each.message!r}") for each in caught]))
                assert any(issubclass(each.category, ResourceWarning) for each in caught)
            await session.aclose()
            return

        def told(event: SecretEvent) -> None:
            if name == "a listener that fails":
                raise RefusalError(str(event))

        policy = CachePolicy(ttl=0.001, refresh_ahead=None, patience=0) if name == "stale" else CachePolicy()
        async with CredentialsPool(endpoint_url=wire.url, config=ONE_TRY, listener=told, policy=policy) as pool:
            if name == "success of a batch":
                await pool.prefetch(NAME)
            if name == "success with a decoder":
                assert leaked((await pool.manager(NAME, decode=DatabaseCredentials.from_json).get()).password)
            held = await pool.manager(NAME).secret()
            assert leaked(held.reveal_bytes().decode("latin-1"))
            if name == "stale":
                await asyncio.sleep(0.01)
                assert (await pool.manager(NAME).secret()).is_stale
            assert_silent(of_object(held))
            assert_silent(of_process())


@of("ending")
async def test_endings(name: str, logs: LogKeeper) -> None:
    """However a call ends that goes well or is given up, no error, log, warning, task or future shows the value."""
    if name.startswith(("cancelled", "timeout", "closed")):
        async with Wire(GOOD[:-9] + HOLD) as wire:
            error = await give_up(wire, name)
            search(error)
            assert wire.requests == 1
    else:
        await end(name)
    assert len(logs.texts) > 10


# The credential chain: STS and the metadata services answer with credentials


@of("chain")
async def test_credential_chain(name: str, logs: LogKeeper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the credential chain is told isn't logged either, nor shown by the error when it can't use it."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable)
    monkeypatch.setattr(AioContainerMetadataFetcher, "SLEEP_TIME", 0)
    expires = "2099-01-01T00:00:00Z"
    keys = {"AccessKeyId": "made-up", "SecretAccessKey": VALUE, "Token": TOKEN, "Expiration": expires}
    element = "".join(
        f"<{key}>{text}</{key}>" for key, text in {**keys, "SecretAccessKey": "x", "SessionToken": TOKEN}.items()
    )
    result = f"<AssumeRoleWithWebIdentityResult><Credentials>{element}</Credentials></AssumeRoleWithWebIdentityResult>"
    xml = f"<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>".encode()
    sent = {
        "container": [answer(keys)],
        "container refuses": [answer(HTML, status=403, kind="text/html")] * 4,
        "metadata is not JSON": [answer(RAW)] * 4,
        "instance": [
            answer(b"metadata-token"),
            answer(b"role"),
            answer({**keys, "Code": "Success", "Type": "AWS-HMAC"}),
        ],
        "web identity": [answer(xml, kind="text/xml")],
        "sts refuses": [
            answer(f"<ErrorResponse><Error><Code>X</Code><Note>{TOKEN}</Note></Error>".encode(), status=400)
        ]
        * 4,
    }[name]
    async with Wire(*sent) as source, Wire(GOOD) as wire:
        if name == "instance":
            monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", source.url)
        elif "container" in name or "metadata" in name:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{source.url}/credentials")
            monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)
        else:
            (tmp_path / "token").write_text(TOKEN)
            monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
            monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/made-up")
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", source.url)
        async with CredentialsPool(endpoint_url=wire.url, config=ONE_TRY) as pool:
            if name in {"container", "instance", "web identity"}:
                assert leaked((await pool.manager(NAME).secret()).reveal())
            else:
                search(await error_of(pool.manager(NAME).secret()))
        assert source.requests
    assert len(logs.texts) > 10


# Objects


@of("object")
async def test_objects(name: str) -> None:
    """Each of our objects can be printed, dumped, copied and looked into without showing a value."""
    events: list[SecretEvent] = []
    async with Wire(GOOD) as wire, CredentialsPool(endpoint_url=wire.url, listener=events.append) as pool:
        manager = pool.manager(NAME, decode=DatabaseCredentials.from_json)
        held = await manager.get()
        reader: Any = manager._reader
        cache = pool._store.cache
        entry = cache.entry(reader.key)
        flight = cache.flights.begin(reader.key, lambda **_: manager.secret())
        flight.outcome = await manager.secret()
        other: Any = pool.manager(NAME, decode=json.loads)
        assert leaked((await other.get())["password"])
        # The parsed value is kept by the secret, which the other objects lead to.
        plain = pool.manager(NAME)
        assert leaked((await plain.retrieve_secret_string())["password"])
        nested, copies = parse(json.dumps({"inner": {"more": [SECRET_JSON]}, "more": [VALUE]}))
        assert copies is not None
        assert leaked(json.dumps(copies())) == leaked(json.dumps(nested))
        del nested
        objects: dict[str, object] = {
            "secret": await manager.secret(), "manager": manager, "manager of a dict": other, "credentials": held,
            "pool": pool, "store": pool._store, "cache": cache,
            "entry": entry, "lease": reader.lease, "reader": reader, "flight": flight, "stats": pool.stats(),
            "copies of JSON": copies, "events": events, "policy": CachePolicy(), "settings": pool._session._settings,
        }  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # copies of a pool aren't closed
            assert_silent(of_object(objects[name]))
        assert_silent(of_process())


# What others print


def test_rich_and_structlog() -> None:
    """The two that print locals in their own ways are there, so that the tests above have asked them."""
    pytest.importorskip("rich")
    pytest.importorskip("structlog")
    try:
        _raises(LookupError(), VALUE)
    except LookupError as error:
        shown = [how for how, text in of_traceback(error) if leaked(text)]
    assert {how.partition(":")[0] for how in shown} >= {"the traceback of LookupError with locals", "rich", "structlog"}


def test_pytest(tmp_path: Path) -> None:
    """A failed assertion about secrets, with locals and all logs, shows no value: nor do diff and JUnit file."""
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
            import copy
            from leaks.canary import VALUE
            from datetime import UTC, datetime
            import json
            import pytest
            from aiocredentials import DatabaseCredentials, Secret

            def made(version, value):
                return Secret(value, name="prod/db", arn="arn", region="eu-west-1", version_id=version, born=0.0,
                              version_stages=("AWSCURRENT",), created_at=None, fetched_at=datetime.now(UTC))

            @pytest.fixture(params=["one", "two"])
            def secret(request):
                return made(request.param, VALUE)

            def test_equal(secret):
                other = made("2", "x")
                assert secret == other

            def test_in(secret):
                assert secret in [made("2", "x"), None]

            def test_credentials(secret):
                one = DatabaseCredentials(username="user", password=secret.reveal())
                other = DatabaseCredentials(username="user", password="x")
                assert one == other

            def test_containers(secret):
                assert {"one": secret, "two": [secret]} == {"one": None}

            def test_not_json(secret):
                secret.json()

            def test_bad_fields(secret):
                DatabaseCredentials.from_json(f"[{json.dumps(secret.reveal())}]")

            def test_changed(secret):
                secret.name = "other"

            def test_copied(secret):
                assert copy.deepcopy(secret) is None
        """)
    )
    report = tmp_path / "report.xml"
    options = [
        "-vv",
        "--showlocals",
        "--tb=long",
        "--log-level=DEBUG",
        "--color=no",
        f"--junitxml={report}",
        "-p",
        "no:cacheprovider",
    ]
    path = str(Path(__file__).parents[1])
    program = f"import sys, pytest; sys.path.append({path!r}); sys.exit(pytest.main({[*options, str(tmp_path)]!r}))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=25)
    assert "16 failed" in run.stdout, run.stdout + run.stderr
    assert_silent(iter([("stdout", run.stdout), ("stderr", run.stderr), ("JUnit", report.read_text())]))


def test_a_task_that_nobody_asks(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody retrieved, and a loop that ends in the middle of a call, are reported without the value."""

    async def main() -> None:
        wire = await Wire(ANSWERS["HTML"], GOOD[:-9] + HOLD).__aenter__()
        pool = CredentialsPool(endpoint_url=wire.url, config=ONE_TRY)
        await pool.open()
        forgotten = asyncio.ensure_future(pool.manager(NAME).secret())
        await asyncio.wait([forgotten])
        del forgotten
        gc.collect()
        half = asyncio.ensure_future(pool.manager(NAME).secret())
        await asyncio.sleep(0.1)
        assert not half.done()
        await pool._session.aclose()
        asyncio.get_running_loop().set_debug(True)
        await wire.__aexit__()

    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(main())
        gc.collect()
    assert "never retrieved" in caplog.text
    assert_silent(iter([("the log", caplog.text)]))


# The search itself


@pytest.mark.parametrize("printed", [
    VALUE, repr(VALUE), ascii(VALUE), f"{VALUE.encode()!r}", json.dumps({"a": VALUE}), json.dumps(json.dumps(VALUE)),
    f"...{VALUE[5:13]}...", VALUE.encode().hex(), SECRET_JSON.encode().hex(), TOKEN[:8],
    pickle.dumps({"a": VALUE}).decode("latin-1"),
])  # fmt: skip
def test_the_search_finds(printed: str) -> None:
    """The canary is found in each form, also if only eight characters of it are left."""
    assert leaked(printed)


def test_the_search_finds_in_errors() -> None:
    """The search looks into attributes, notes, causes, contexts, groups and the locals of frames."""
    found: dict[str, int] = {}
    for hidden in ("arg", "attribute", "note", "cause", "context", "group", "local"):
        error = _hiding(hidden)
        found[hidden] = sum(leaked(text) is not None for _, text in of_error(error))
    assert all(found.values()), found


def _hiding(where: str) -> BaseException:
    error: BaseException = LookupError(VALUE) if where == "arg" else LookupError()
    if where == "attribute":
        error.doc = VALUE  # type: ignore[attr-defined]
    if where == "note":
        error.add_note(VALUE)
    if where == "cause":
        error.__cause__ = LookupError(VALUE)
    if where == "context":
        error.__context__ = LookupError(VALUE)
    if where == "group":
        error = ExceptionGroup("group", [LookupError(VALUE)])
    try:
        _raises(error, VALUE if where == "local" else "")
    except (LookupError, ExceptionGroup) as raised:
        return raised
    raise AssertionError


def _raises(error: BaseException, held: str) -> None:  # noqa: ARG001 - it is there to be found
    raise error
