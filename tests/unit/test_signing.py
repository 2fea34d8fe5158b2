"""Signatures equal those of botocore, and what the calls of a client have in common is computed once."""

from __future__ import annotations

import copy
import logging
import pickle
import random
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from aiobotocore.signers import AioRequestSigner
from botocore import UNSIGNED, auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from aiocredentials import CredentialsPool
from aiocredentials._aws import signing
from aiocredentials._aws.signing import keep_signing_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.stub import StubSecretsManager

NOW = datetime(2026, 3, 1, 23, 59, 58, tzinfo=UTC)
TARGET = "secretsmanager.GetSecretValue"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Set the clock that botocore signs by, and return a function that moves it on."""
    now = [NOW.replace(tzinfo=None)]
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_, **__: now[0])

    def move(step: timedelta) -> None:
        now[0] += step

    return move


def keeping(signature: SigV4Auth, kept: signing._Kept) -> SigV4Auth:
    """Let a signature of botocore's keep what it can, as a client's signer does."""
    signature._kept = kept  # type: ignore[attr-defined]
    signature.__class__ = signing._KeepingSignature
    return signature


# Equal to botocore's

NAMES = ("Host", "host", "X-Amz-Target", "x-amz-TARGET", "Content-Type", "User-Agent", "Expect", "X-Amzn-Trace-Id",
         "Date", "X-Amz-Date", "X-Amz-Security-Token", "Authorization", "X-Amz-Content-SHA256", "Transfer-Encoding",
         "Connection", "Content-Length", "traceparent")  # fmt: skip
VALUES = ("", "a", " a  b\t c ", "ä", "a,b", "\u2028", "x" * 200, b"bytes", 7, "\ud800")
HOSTS = ("secretsmanager.eu-west-1.amazonaws.com", "LOCALHOST:8080", "[::1]:4566", "[fe80::1%25eth0]", "user:pw@host:1",
         "127.0.0.1:80", "localhost:443", "ö.example", "host name", "")  # fmt: skip
PATHS = ("", "/", "//", "/a/../b", "/a%20b/ä", "/?", "/?b=2&a=1&a=0", "/x?a", "/#f", "/a//b/./c?=&")
BODIES = (b"", b"{}", b'{"SecretId": "prod/db"}', "text", "täxt", None, {"a": "1"}, bytearray(b"array"))
CONTEXTS: tuple[dict[str, Any], ...] = (
    {},
    {"payload_signing_enabled": False},
    {"payload_signing_enabled": True},
    {"checksum": {"request_algorithm": {"in": "trailer", "algorithm": "crc32"}}},
    {"checksum": {"request_algorithm": {"in": "header", "name": "x-amz-checksum"}}},
    {"checksum": {"request_algorithm": "conditional-md5"}},
)


def a_request(chance: random.Random) -> Callable[[], AWSRequest]:
    """Return a function that makes the same request each time: a usual one, or one with oddities."""
    odd = chance.random() < 0.7
    url = "https://secretsmanager.eu-west-1.amazonaws.com/"
    body: Any = b'{"SecretId": "prod/db-%d"}' % chance.randrange(1000)
    headers: list[tuple[str, Any]] = [("X-Amz-Target", TARGET), ("Content-Type", "application/x-amz-json-1.1")]
    method = "POST"
    params: Any = None
    context: dict[str, Any] = {}
    if odd:
        url = chance.choice(("http://", "https://", "HTTPS://")) + chance.choice(HOSTS) + chance.choice(PATHS)
        body = chance.choice((*BODIES, BytesIO))
        headers = [(chance.choice(NAMES), chance.choice(VALUES)) for _ in range(chance.randrange(7))]
        method = chance.choice(("POST", "GET", "put"))
        params = chance.choice((None, None, {}, {"b": "ä", "a": 1}, [("x", "1"), ("x", "0")]))
        context = chance.choice(CONTEXTS)

    def make() -> AWSRequest:
        data = BytesIO(b"stream") if body is BytesIO else copy.copy(body)
        request = AWSRequest(method, url, None, data, params)
        for name, value in headers:
            request.headers[name] = value
        request.context = copy.deepcopy(context)
        return request

    return make


def outcome_of(signature: SigV4Auth, request: AWSRequest) -> object:
    """Sign a request twice, as a retry does, and return all that has become of it; None if it can't be signed."""
    headers: list[tuple[str, str]] = []
    try:
        for _ in range(2):
            signature.add_auth(request)
            headers += [(name, repr(value)) for name, value in request.headers._headers]
            headers.append(("payload", signature.payload(request)))
            request.headers["X-Attempt"] = "2"
    except Exception:  # noqa: BLE001 (of several oddities, any may be found first)
        return None
    return headers, request.context, request.url, request.method


def compare(number: int, seed: int) -> None:
    """Compare so many signatures, of which each may have other credentials, another day and another region."""
    chance = random.Random(seed)  # noqa: S311 (no secret: the seed makes it repeatable)
    now = [NOW.replace(tzinfo=None)]
    kept = signing._Kept()
    signed = 0
    facts: tuple[Any, ...] = ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda *_, **__: now[0])
        for _ in range(number):
            now[0] += timedelta(seconds=chance.choice((0, 1, 3600)))
            if not facts or chance.random() < 0.3:
                access_key = chance.choice(("AKID", "AKID2"))
                secret_key = chance.choice(("secret", "sécret/+", "other"))
                token = chance.choice((None, "", "token/+="))
                credentials = ReadOnlyCredentials(access_key, secret_key, token, None)
                facts = (credentials, chance.choice(("secretsmanager", "sts")), chance.choice(("eu-west-1", "ä")))
            make = a_request(chance)
            expected = outcome_of(SigV4Auth(*facts), make())
            assert outcome_of(keeping(SigV4Auth(*facts), kept), make()) == expected
            signed += expected is not None
    assert signed > number / 2


def test_equals_botocore() -> None:
    """Whatever the request, the credentials, the day and the region are: the signature is that of botocore."""
    compare(600, seed=11)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_equals_botocore_20_000_times(seed: int) -> None:
    """The same for twenty thousand requests."""
    compare(2000, seed)


@pytest.mark.usefixtures("clock")
async def test_calls_are_signed_as_by_botocore(stub: StubSecretsManager) -> None:
    """Each attempt of a client's calls has the signature that botocore computes for it, with a session token too."""
    unsigned: list[AWSRequest] = []
    signed: list[str] = []

    def note(request: AWSRequest, **_: object) -> None:
        again = AWSRequest(request.method, request.url, request.headers, request.data)
        again.context = copy.copy(request.context)
        unsigned.append(again)

    def note_signature(request: Any, **_: object) -> None:  # noqa: ANN401 (aiobotocore's prepared request)
        signed.append(request.headers["Authorization"].decode())

    session = AioSession()
    session.set_credentials("AKID", "secret", "token")
    events = session.get_component("event_emitter")
    events.register("before-sign.secrets-manager", note)
    events.register("before-send.secrets-manager", note_signature)
    async with CredentialsPool("eu-west-1", session=session, endpoint_url=stub.url) as pool:
        manager = pool.manager("prod/db", policy=None)
        stub.error("ThrottlingException")
        await manager.secret()
        await manager.secret()
    expected: list[str] = []
    for request in unsigned:
        SigV4Auth(ReadOnlyCredentials("AKID", "secret", "token", None), "secretsmanager", "eu-west-1").add_auth(request)
        expected.append(request.headers["Authorization"])
    assert signed == expected
    assert len(signed) == len(stub.requests) == 3


# What is left out


class Count:
    """Counts the calls of a function, which works as before."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:  # noqa: ANN401
        self.calls = 0
        original = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self.calls += 1
            return original(*args, **kwargs)

        patch.setattr(owner, name, counting)


async def test_steps_left_out(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooled call computes one HMAC of five, never looks for the host, and prepares its request once."""
    async with CredentialsPool("eu-west-1", endpoint_url=stub.url) as pool:
        manager = pool.manager("prod/db", policy=None)
        await manager.secret()
        hmacs = Count(monkeypatch, SigV4Auth, "_sign")
        hosts = Count(monkeypatch, auth, "_host_from_url")
        prepared = Count(monkeypatch, AWSRequest, "prepare")
        messages = Count(monkeypatch, auth, "HTTPHeaders")
        selected = Count(monkeypatch, signing._KeepingSignature, "_selected_headers")
        for _ in range(4):
            await manager.secret()
    assert (hmacs.calls, hosts.calls, prepared.calls, messages.calls, selected.calls) == (4, 0, 4, 0, 4)


def test_key_ends_with_its_facts(clock: Callable[[timedelta], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another access key, secret key, day, region or service has a key of its own, and the old one is dropped."""
    kept = signing._Kept()
    derived = Count(monkeypatch, signing, "_derived_key")
    first = ("AKID", "secret", "eu-west-1", "secretsmanager")
    keys: list[bytes] = []

    def sign(access_key: str, secret_key: str, region: str, service: str) -> None:
        credentials = ReadOnlyCredentials(access_key, secret_key, None, None)
        keeping(SigV4Auth(credentials, service, region), kept).add_auth(AWSRequest("POST", "https://host/", data=b""))
        keys.append(kept._key)

    sign(*first)
    sign(*first)
    assert derived.calls == 1
    for number, other in enumerate(("AKID2", "secret2", "eu-west-2", "sts")):
        sign(*first[:number], other, *first[number + 1 :])
    assert derived.calls == 5
    sign(*first)
    clock(timedelta(seconds=1))
    sign(*first)
    assert derived.calls == 6
    clock(timedelta(seconds=1))
    sign(*first)
    assert derived.calls == 7
    # The access key is no part of the key itself.
    assert len(set(keys)) == 5


async def test_new_credentials(stub: StubSecretsManager) -> None:
    """After the credentials of a session have changed, calls are signed with the new ones at once."""
    session = AioSession()
    session.set_credentials("AKID1", "secret")
    async with session.create_client("secretsmanager", region_name="eu-west-1", endpoint_url=stub.url) as client:
        keep_signing_key(client)
        await client.get_secret_value(SecretId="prod/db")
        credentials = await session.get_credentials()
        credentials.access_key = "AKID2"
        credentials.secret_key = "another"
        credentials.token = "token"
        await client.get_secret_value(SecretId="prod/db")
        assert client._request_signer._kept._facts[:2] == ("AKID2", "another")
    headers = [request.headers for request in stub.requests]
    assert ["Credential=AKID1/" in each["authorization"] for each in headers] == [True, False]
    assert ["Credential=AKID2/" in each["authorization"] for each in headers] == [False, True]
    assert [each.get("x-amz-security-token") for each in headers] == [None, "token"]


def test_logs_equal_botocore(caplog: pytest.LogCaptureFixture, clock: Callable[[timedelta], None]) -> None:
    """The debug log says the same as that of botocore."""
    clock(timedelta())
    credentials = ReadOnlyCredentials("AKID", "secret", None, None)
    caplog.set_level(logging.DEBUG, "botocore.auth")
    texts: list[list[str]] = []
    for is_keeping in (False, True):
        caplog.clear()
        signature = SigV4Auth(credentials, "secretsmanager", "eu-west-1")
        if is_keeping:
            keeping(signature, signing._Kept())
        signature.add_auth(AWSRequest("POST", "https://host/", {"X-Amz-Target": TARGET}, b"{}"))
        texts.append(caplog.messages)
    assert texts[0] == texts[1]
    assert texts[0][0] == "Calculating signature using v4 auth."


def test_names_added_to_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that a program adds to botocore's list of unsigned headers isn't signed, from then on."""
    credentials = ReadOnlyCredentials("AKID", "secret", None, None)
    signed: list[str] = []
    for names in ([], ["x-amz-target"]):
        monkeypatch.setattr(auth, "SIGNED_HEADERS_BLACKLIST", [*auth.SIGNED_HEADERS_BLACKLIST, *names])
        signature = keeping(SigV4Auth(credentials, "secretsmanager", "eu-west-1"), signing._Kept())
        request = AWSRequest("POST", "https://host/", {"X-Amz-Target": TARGET}, b"{}")
        signature.add_auth(request)
        signed.append(request.headers["Authorization"])
    assert ["x-amz-target" in each for each in signed] == [True, False]


# What stays with botocore


async def test_events(stub: StubSecretsManager) -> None:
    """The events around a signature come in the same order, with the same signer, as without a kept key."""
    seen: list[list[tuple[str, list[str]]]] = []
    for is_keeping in (False, True):
        session = AioSession()
        names: list[tuple[str, list[str]]] = []

        def note(event_name: str, names: list[tuple[str, list[str]]] = names, **facts: object) -> None:
            names.append((event_name, sorted(facts)))

        async with session.create_client("secretsmanager", "eu-west-1", endpoint_url=stub.url) as client:
            if is_keeping:
                keep_signing_key(client)
            for event in ("choose-signer", "before-sign", "request-created", "before-send", "before-call"):
                client.meta.events.register(event, note)
            stub.error("ThrottlingException")
            await client.get_secret_value(SecretId="prod/db")
        seen.append(names)
    assert seen[0] == seen[1]
    assert [name.partition(".")[0] for name, _ in seen[0]].count("before-sign") == 2


async def test_hooks_change_what_is_signed(stub: StubSecretsManager) -> None:
    """A header that a caller's hook adds before the signature is signed and sent."""
    session = AioSession()

    def add(request: AWSRequest, **_: object) -> None:
        request.headers["X-Mine"] = "yes"

    session.get_component("event_emitter").register("before-sign.secrets-manager", add)
    async with CredentialsPool("eu-west-1", session=session, endpoint_url=stub.url) as pool:
        await pool.manager("prod/db").secret()
    headers = stub.requests[0].headers
    assert headers["x-mine"] == "yes"
    assert "x-mine" in headers["authorization"]


@pytest.mark.parametrize("how", ["presigned", "unsigned", "v4-query", "subclass"])
async def test_other_signatures(how: str, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kind of signature is botocore's alone."""

    class Mine(SigV4Auth):
        pass

    kept: list[str] = []
    monkeypatch.setattr(signing._Kept, "key", lambda *_: kept.append(how))
    if how == "subclass":
        monkeypatch.setitem(auth.AUTH_TYPE_MAPS, "v4", Mine)
    options: dict[str, Any] = {
        "unsigned": {"signature_version": UNSIGNED},
        "v4-query": {"signature_version": "v4-query"},
    }
    config = AioConfig(**options.get(how, {}))
    session = AioSession()
    async with session.create_client("secretsmanager", "eu-west-1", endpoint_url=stub.url, config=config) as client:
        keep_signing_key(client)
        if how == "presigned":
            url = await client.generate_presigned_url("get_secret_value", Params={"SecretId": "prod/db"})
            assert "X-Amz-Signature=" in url
        elif how == "v4-query":
            signature = await client._request_signer.get_auth_instance("secretsmanager", "eu-west-1")
            assert type(signature) is auth.SigV4QueryAuth
        else:
            await client.get_secret_value(SecretId="prod/db")
    assert kept == []


def test_signers_that_stay() -> None:
    """A signer of the caller's own, and an object without one, stay as they are."""

    class Mine(AioRequestSigner):
        pass

    class Client:
        _request_signer = object.__new__(Mine)

    keep_signing_key(Client)
    assert type(Client._request_signer) is Mine
    keep_signing_key(object())


@pytest.mark.parametrize(
    ("owner", "name"),
    [(auth, "_host_from_url"), (auth, "SIGNED_HEADERS_BLACKLIST"), (AioRequestSigner, "get_auth_instance")],
)
def test_missing_hooks(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If botocore has lost a hook that this needs, its signer stays as it is."""

    class Client:
        _request_signer = object.__new__(AioRequestSigner)

    monkeypatch.delattr(owner, name)
    keep_signing_key(Client)
    assert type(Client._request_signer) is AioRequestSigner


async def test_hooks_are_there(stub: StubSecretsManager) -> None:
    """The clients of this aiobotocore keep their key: each hook that `signing` needs is there."""
    async with CredentialsPool("eu-west-1", endpoint_url=stub.url) as pool:
        await pool.manager("prod/db").secret()
        (opened,) = {
            id(one.client): one.client for one in pool._session._loops.get().of(None).current.by_region.values()
        }.values()
        signer: Any = opened._request_signer
        assert type(signer) is signing._KeepingSigner
        assert signer._kept._key


def test_never_printed() -> None:
    """What is kept shows in no repr, and can't be pickled or copied."""
    kept = signing._Kept()
    credentials = ReadOnlyCredentials("AKID", "secret-canary", None, None)
    keeping(SigV4Auth(credentials, "s", "r"), kept).add_auth(AWSRequest("POST", "https://host/", data=b""))
    assert kept._key
    assert repr(kept).startswith("<aiocredentials._aws.signing._Kept object at ")
    assert not hasattr(kept, "__dict__")
    for fails in (pickle.dumps, copy.copy, copy.deepcopy, signing._Kept.__getstate__):
        with pytest.raises(TypeError, match="signing key"):
            fails(kept)


@pytest.mark.parametrize("is_kept", [False, True], ids=["botocore", "kept"])
def test_a_secret_key_that_is_no_text(is_kept: bool) -> None:  # noqa: FBT001 (a parameter of pytest)
    """The error is botocore's own, raised in botocore's code: so its text, with a part of the key, is never printed."""
    credentials = ReadOnlyCredentials("AKID", "secret\udcff", None, None)
    signature = SigV4Auth(credentials, "s", "r")
    if is_kept:
        signature = keeping(signature, signing._Kept())
    with pytest.raises(UnicodeEncodeError) as info:
        signature.add_auth(AWSRequest("POST", "https://host/", data=b""))
    assert info.traceback[-1].frame.f_globals["__name__"] == "botocore.auth"
