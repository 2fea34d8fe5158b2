"""The main job on a real server: a secret, awaited, from a session per call and from a pool."""

from __future__ import annotations

import asyncio
import traceback
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError

from aiocredentials import (
    AsyncCredentialsManager,
    AuthenticationError,
    CachePolicy,
    CredentialsError,
    CredentialsPool,
    InvalidParameterError,
    InvalidRegionError,
    Secret,
    SecretDeletedError,
    SecretFormatError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiocredentials.testing import MotoServer
    from server.stub import StubSecretsManager

CANARY = "hunter2-canary"


class MakeManager(Protocol):
    """Make a manager, per call or from a pool."""

    def __call__(self, secret_name: str, region_name: str | None = None, **more: Any) -> AsyncCredentialsManager[Any]:  # noqa: ANN401
        """Make it."""
        ...


async def managers(how: str, endpoint_url: str) -> AsyncIterator[MakeManager]:
    """Lend a function that makes managers of one kind."""
    if how == "per call":
        yield partial(AsyncCredentialsManager, endpoint_url=endpoint_url)
        return
    async with CredentialsPool(endpoint_url=endpoint_url) as pool:
        yield pool.manager


@pytest.fixture(params=["per call", "pooled"])
async def manager(request: pytest.FixtureRequest, moto: MotoServer) -> AsyncIterator[MakeManager]:
    """Make managers that ask moto; each test runs with both kinds."""
    async for make in managers(request.param, moto.url):
        yield make


@pytest.fixture(params=["per call", "pooled"])
async def stub_manager(request: pytest.FixtureRequest, stub: StubSecretsManager) -> AsyncIterator[MakeManager]:
    """Make managers that ask the stub; each test runs with both kinds."""
    async for make in managers(request.param, stub.url):
        yield make


async def error_of(manager: AsyncCredentialsManager[Any], call: str = "secret") -> CredentialsError:
    """Give what a call raises."""
    with pytest.raises(CredentialsError) as info:
        await getattr(manager, call)()
    return info.value


async def test_the_right_secret(manager: MakeManager, create_secret: Callable[..., Any]) -> None:
    """The origin's first test: the JSON of the secret, parsed."""
    create_secret("mock_secret", '{"mock_secret_key": "mock_secret_value"}')
    assert await manager("mock_secret").retrieve_secret_string() == {"mock_secret_key": "mock_secret_value"}


async def test_an_unknown_secret(manager: MakeManager) -> None:
    """The origin's second test: AWS's code and words, and which region was asked and why."""
    error = await error_of(manager("incorrect_secret_name"), "retrieve_secret_string")
    assert isinstance(error, SecretNotFoundError)
    assert isinstance(error, ClientError)
    for words in (
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret",
        "'incorrect_secret_name'",
        "region 'us-east-1' (from the default",
    ):
        assert words in str(error)
    assert (error.secret_name, error.region_name) == ("incorrect_secret_name", "us-east-1")


async def test_a_wrong_region(manager: MakeManager, create_secret: Callable[..., Any]) -> None:
    """The origin's third test: a region that can't be is refused, by name, with the endpoint and a better one."""
    create_secret("mock_secret", "{}")
    error = await error_of(manager("mock_secret", "region_that_doesnt_exist"), "retrieve_secret_string")
    assert isinstance(error, InvalidRegionError)
    assert "'region_that_doesnt_exist'" in str(error)
    assert "http://127.0.0.1" in str(error)
    assert "did you mean" in str(error)


async def test_the_region_that_was_asked(
    manager: MakeManager, create_secret: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret of another region isn't found, and the error says which region was asked and who chose it."""
    create_secret("prod/db", "{}", "eu-west-1")
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert "region 'eu-west-2' (from AWS_REGION)" in str(await error_of(manager("prod/db")))
    error = await error_of(manager("prod/db", "eu-west-3"))
    assert "region 'eu-west-3' (from the region_name argument)" in str(error)
    assert (await manager("prod/db", "eu-west-1").secret()).region == "eu-west-1"


async def test_provenance(manager: MakeManager, create_secret: Callable[..., Any]) -> None:
    """A secret says which version it is, where it came from and when."""
    before = datetime.now(UTC)
    created = create_secret("prod/text", CANARY)
    secret = await manager("prod/text", "us-east-1").secret()
    assert (secret.name, secret.arn, secret.region) == ("prod/text", created["ARN"], "us-east-1")
    assert (secret.version_id, secret.version_stages) == (created["VersionId"], ("AWSCURRENT",))
    assert secret.created_at is not None
    assert before <= secret.fetched_at <= datetime.now(UTC)
    assert 0 <= secret.age < 30
    assert not secret.is_stale
    assert secret.reveal() == CANARY
    assert CANARY not in repr(secret)


@pytest.mark.parametrize("which", ["name", "ARN", "partial ARN"])
@pytest.mark.parametrize("name", ["prod/db", "prod/with-suffixes"])
async def test_names(manager: MakeManager, create_secret: Callable[..., Any], which: str, name: str) -> None:
    """A secret is found by its name, its full ARN, and the ARN without the six characters; region and all."""
    arn = create_secret(name, CANARY, "eu-west-1")["ARN"]
    asked = {"name": name, "ARN": arn, "partial ARN": arn[:-7]}[which]
    secret = await manager(asked, "eu-west-1" if which == "name" else None).secret()
    assert (secret.name, secret.arn, secret.region, secret.reveal()) == (name, arn, "eu-west-1", CANARY)


async def test_a_name_that_ends_like_a_suffix(manager: MakeManager, create_secret: Callable[..., Any]) -> None:
    """Such a secret is found by its name and its full ARN. What seems its partial ARN may be another one's full ARN."""
    arn = create_secret("prod/with-suffix", CANARY, "eu-west-1")["ARN"]
    for asked in ("prod/with-suffix", arn):
        assert (await manager(asked, "eu-west-1").secret()).arn == arn
    error = await error_of(manager(arn[:-7]))
    assert isinstance(error, SecretNotFoundError)
    assert "AWS answered with the secret 'prod/with-suffix', whose ARN is longer" in str(error)
    assert "give its name or its full ARN" in str(error)


async def test_the_region_of_an_arn(manager: MakeManager, create_secret: Callable[..., Any]) -> None:
    """An ARN goes to its own region by itself, and an argument over it."""
    arn = create_secret("prod/db", CANARY, "eu-west-1")["ARN"]
    assert (await manager(arn).secret()).region == "eu-west-1"
    error = await error_of(manager(arn.replace("eu-west-1", "eu-west-2")))
    assert "region 'eu-west-2' (from the secret's ARN)" in str(error)
    assert "(from the region_name argument)" in str(await error_of(manager(arn, "eu-west-3")))


async def test_versions(
    manager: MakeManager, create_secret: Callable[..., Any], secrets_client: Callable[..., Any]
) -> None:
    """A version is found by its id and by its staging label, one that is given to the manager too."""
    first = create_secret("prod/db", "first")["VersionId"]
    second = secrets_client().put_secret_value(SecretId="prod/db", SecretString="second")["VersionId"]
    secrets_client().put_secret_value(SecretId="prod/db", SecretString="third", VersionStages=["green"])
    one = manager("prod/db")
    assert (await one.secret()).reveal() == "second"
    assert (await one.secret(version_stage="AWSPREVIOUS")).reveal() == "first"
    assert (await one.secret(version_stage="green")).reveal() == "third"
    assert (await one.secret(version_id=first)).reveal() == "first"
    assert (await one.secret(version_id=second, version_stage="AWSCURRENT")).reveal() == "second"
    assert (await one.secret()).reveal() == "second"
    assert (await manager("prod/db", version_stage="AWSPREVIOUS").secret()).reveal() == "first"
    with pytest.raises(SecretNotFoundError):
        await one.secret(version_stage="blue")


async def test_binary(manager: MakeManager, create_secret: Callable[..., Any]) -> None:
    """Bytes come as they are; those that are UTF-8 serve as text and JSON, too."""
    create_secret("prod/key", b"\xff\x00\xfe")
    create_secret("prod/json", b'{"a": 1}')
    secret = await manager("prod/key").secret()
    assert secret.reveal_bytes() == b"\xff\x00\xfe"
    with pytest.raises(SecretFormatError, match="use reveal_bytes"):
        secret.reveal()
    assert await manager("prod/json").get() == {"a": 1}


async def test_deleted(
    manager: MakeManager, create_secret: Callable[..., Any], secrets_client: Callable[..., Any]
) -> None:
    """A secret that is scheduled for deletion says so, and how to restore it."""
    create_secret("prod/db", "{}")
    secrets_client().delete_secret(SecretId="prod/db")
    error = await error_of(manager("prod/db"))
    assert isinstance(error, SecretDeletedError)
    assert "restore-secret" in str(error)


async def test_a_name_that_aws_refuses(manager: MakeManager) -> None:
    """A name that botocore won't send is an invalid parameter, with nothing in the error but what was asked."""
    assert isinstance(await error_of(manager("x" * 3000)), CredentialsError)
    with pytest.raises(InvalidParameterError):
        await manager("prod/db").secret(version_id="short")


async def test_new_objects(manager: MakeManager, create_secret: Callable[..., Any]) -> None:
    """JSON without `decode` is a new object each time, so that no caller spoils it for the next."""
    create_secret("prod/db", '{"tags": []}')
    one = manager("prod/db")
    (await one.retrieve_secret_string())["tags"].append("spoiled")
    (await one.get())["tags"].append("spoiled")
    assert await one.get() == await one.retrieve_secret_string() == {"tags": []}


async def test_decode(
    manager: MakeManager, create_secret: Callable[..., Any], secrets_client: Callable[..., Any]
) -> None:
    """`decode` runs once a version, and all readers have its one object."""
    create_secret("prod/db", "first")
    decoded: list[str] = []

    def decode(text: str) -> tuple[str]:
        decoded.append(text)
        return (text,)

    one = manager("prod/db", decode=decode)
    assert await one.get() is await one.get()
    assert await one.refresh() is not None
    await one.get()
    assert decoded == ["first"]
    secrets_client().put_secret_value(SecretId="prod/db", SecretString="second")
    await one.refresh()
    assert await one.get() == ("second",)
    assert decoded == ["first", "second"]


def refusing(text: str) -> object:
    """Fail as pydantic does: with the input in the message, the notes and the frame."""
    error = ValueError(text)
    error.add_note(text)
    raise error


def refusing_in_our_words(text: str) -> object:
    """Fail with an error of this library, on top of one that holds the value."""
    try:
        refusing(text)
    except ValueError:
        raise SecretFormatError("No user in it.") from None


@pytest.mark.parametrize(
    ("decode", "sentence"),
    [
        (refusing, "decode='refusing' refused the secret: ValueError."),
        (partial(refusing), "refused the secret: ValueError."),
        (refusing_in_our_words, "No user in it."),
        (None, "isn't JSON"),
    ],
    ids=["foreign", "partial", "ours", "no JSON"],
)
async def test_decode_fails(
    manager: MakeManager, create_secret: Callable[..., Any], decode: Callable[[str], object] | None, sentence: str
) -> None:
    """What `decode` raises, with the value in it, stays inside: ours names the decoder, and has nothing of it."""
    create_secret("prod/db", CANARY)
    error = await error_of(manager("prod/db", decode=decode), "get")
    assert isinstance(error, SecretFormatError)
    assert sentence in str(error)
    assert (error.__cause__, error.__context__) == (None, None)
    whole = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert CANARY not in whole + str(vars(error)) + repr(error)


async def test_hits(stub_manager: MakeManager, stub: StubSecretsManager) -> None:
    """A manager remembers: fifty callers at once, and all later ones, cost one call to AWS."""
    one = stub_manager("prod/db")
    values = await asyncio.gather(*(one.retrieve_secret_string() for _ in range(50)))
    assert values == [{"mock_secret_key": "mock_secret_value"}] * 50
    await one.get()
    assert [request.target for request in stub.requests] == ["GetSecretValue"]


async def test_each_selector_has_its_place(stub_manager: MakeManager, stub: StubSecretsManager) -> None:
    """Versions are cached apart, and what is sent is what was asked: a label unless it is an id."""
    one = stub_manager("prod/db")
    version = "99999999-2222-4333-8444-555555555555"
    for _ in range(2):
        await one.secret()
        await one.secret(version_stage="AWSPREVIOUS")
        await one.secret(version_id=version)
    assert [request.body for request in stub.requests] == [
        {"SecretId": "prod/db", "VersionStage": "AWSCURRENT"},
        {"SecretId": "prod/db", "VersionStage": "AWSPREVIOUS"},
        {"SecretId": "prod/db", "VersionId": version},
    ]


async def test_without_a_cache(stub_manager: MakeManager, stub: StubSecretsManager) -> None:
    """With `policy=None` each call is a fetch, and nothing is kept."""
    one = stub_manager("prod/db", policy=None)
    first, second, third = await one.secret(), await one.secret(), await one.refresh()
    assert len({id(secret) for secret in (first, second, third)}) == 3
    one.invalidate()
    assert len(stub.requests) == 3
    assert not first.is_stale
    assert await one.secret(version_stage="AWSPREVIOUS") is not await one.secret(version_stage="AWSPREVIOUS")
    assert len(stub.requests) == 5


async def test_refresh_and_invalidate(stub_manager: MakeManager, stub: StubSecretsManager) -> None:
    """`refresh` fetches now; `invalidate` makes the next call fetch, with `if_version` only if it's that version."""
    one = stub_manager("prod/db", policy=CachePolicy(ttl=60))
    one.invalidate(if_version="nothing is kept")
    first = await one.secret()
    assert await one.refresh() is not first
    assert len(stub.requests) == 2
    one.invalidate(if_version="another")
    await one.secret()
    assert len(stub.requests) == 2
    one.invalidate(if_version=first.version_id)
    await one.secret()
    one.invalidate()
    await one.secret()
    assert len(stub.requests) == 4


async def test_an_emulator_without_dates(stub_manager: MakeManager, stub: StubSecretsManager) -> None:
    """An answer without CreatedDate is one all the same."""
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf"
    body = {"ARN": arn, "Name": "prod/db", "VersionId": "1" * 32, "SecretString": "x", "VersionStages": ["AWSCURRENT"]}
    stub.answer(body=body)
    assert (await stub_manager("prod/db").secret()).created_at is None


@pytest.mark.parametrize("kind", [aioboto3.Session, AioSession])
async def test_a_session_of_the_callers(stub: StubSecretsManager, kind: type[aioboto3.Session | AioSession]) -> None:
    """A session of the caller's, of either library, brings its credentials and its region."""
    if kind is AioSession:
        core = AioSession()
        core.set_credentials("theirs", "secret")
        core.set_config_variable("region", "eu-west-1")
        session: aioboto3.Session | AioSession = core
    else:
        session = aioboto3.Session("theirs", "secret", region_name="eu-west-1")
    one = AsyncCredentialsManager[Any]("prod/db", session=session, endpoint_url=stub.url)
    await one.secret()
    async with CredentialsPool(session=session, endpoint_url=stub.url) as pool:
        await pool.manager("prod/db").secret()
    assert len(stub.requests) == 2
    for request in stub.requests:
        assert "Credential=theirs/" in request.headers["authorization"]
        assert request.region == "eu-west-1"


async def test_without_credentials(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """No AWS credentials is an error of ours, before anything is sent, and says how to look."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    error = await error_of(AsyncCredentialsManager("prod/db", endpoint_url=stub.url))
    assert isinstance(error, AuthenticationError)
    assert not isinstance(error, ClientError)
    assert "python -m aiocredentials doctor" in str(error)
    assert not stub.requests


async def test_the_environment_is_enough(moto_environment: MotoServer, create_secret: Callable[..., Any]) -> None:
    """A manager with a name alone finds its server by the environment, as any AWS SDK does."""
    assert moto_environment.url
    create_secret("prod/db", "{}")
    assert await AsyncCredentialsManager("prod/db").get() == {}


def outside(coroutine: Any) -> None:  # noqa: ANN401 (a coroutine of any kind)
    """Drive a coroutine by hand, as a loop of another kind would."""
    try:
        coroutine.send(None)
    finally:
        coroutine.close()


@pytest.mark.parametrize("policy", [CachePolicy(), None], ids=["cached", "uncached"])
@pytest.mark.parametrize("call", ["secret", "get", "retrieve_secret_string", "refresh"])
def test_outside_of_a_loop(call: str, policy: CachePolicy | None) -> None:
    """A call that isn't inside of a running asyncio loop says so, and what to do."""
    one = AsyncCredentialsManager[Any]("prod/db", policy=policy)
    with pytest.raises(RuntimeError, match=r"No asyncio event loop is running here: .*asyncio\.run\("):
        outside(getattr(one, call)())


async def async_decode(text: str) -> str:
    """Await nothing."""
    return text


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ({"secret_name": ""}, ValueError, "secret_name is empty: give the secret's name or ARN"),
        ({"secret_name": "  "}, ValueError, "secret_name is empty"),
        ({"secret_name": None}, ValueError, "secret_name is empty"),
        ({"secret_name": b"prod/db"}, TypeError, "secret_name is a bytes, not a string"),
        ({"region_name": 1}, TypeError, "region_name is a int, not a string: give a region such as 'eu-west-1'"),
        ({"region_name": ""}, ValueError, "region_name is empty: give a region"),
        ({"version_stage": ""}, ValueError, "version_stage is empty: give a staging label such as 'AWSCURRENT'"),
        ({"version_stage": 1}, TypeError, "version_stage is a int"),
        ({"decode": "json"}, TypeError, "decode isn't a plain function"),
        ({"decode": async_decode}, TypeError, "decode isn't a plain function: .* isn't async"),
        ({"endpoint_url": "127.0.0.1:5000"}, ValueError, "endpoint_url '127.0.0.1:5000' isn't a URL"),
        ({"timeout": 0}, ValueError, "timeout is 0: give more than 0 seconds"),
        ({"timeout": "10"}, TypeError, "timeout is a str: give seconds as a number, or a timedelta"),
        ({"policy": 60}, TypeError, "policy is a int: give a CachePolicy, or None for no cache"),
        ({"session": "default"}, TypeError, "session is a builtins.str: give an aioboto3.Session"),
        ({"config": {}}, TypeError, "config is a dict: give an aiobotocore"),
    ],
    ids=range(16),
)
def test_misuse(arguments: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    """An argument that can't work is refused by the constructor, in one sentence that says what to give."""
    with pytest.raises(kind, match=sentence):
        AsyncCredentialsManager(**{"secret_name": "prod/db"} | arguments)


async def test_misuse_of_selectors(manager: MakeManager) -> None:
    """An empty or wrong selector is refused before anything is sent."""
    one = manager("prod/db")
    with pytest.raises(ValueError, match="version_id is empty: give a version's id, or leave it out"):
        await one.secret(version_id="")
    with pytest.raises(TypeError, match="version_stage is a int"):
        await one.secret(version_stage=1)  # type: ignore[arg-type]


async def test_a_block_of_its_own(stub: StubSecretsManager) -> None:
    """`async with manager` is a private pool: one connection in the block, one a call after it; it can be repeated."""
    config = AioConfig(retries={"total_max_attempts": 1})
    one = AsyncCredentialsManager[Any]("prod/db", endpoint_url=stub.url, config=config, policy=None, timeout=5)
    for block in (1, 2):
        async with one as entered:
            assert entered is one
            assert repr(one) == "<AsyncCredentialsManager 'prod/db', pooled>"
            await one.secret()
            await one.secret()
            with pytest.raises(RuntimeError, match="has a pool already: enter it only once"):
                await one.__aenter__()
        assert stub.connections == block
    assert repr(one) == "<AsyncCredentialsManager 'prod/db', a session per call>"
    await one.__aexit__(None, None, None)
    assert isinstance(await one.secret(), Secret)
    assert stub.connections == 3


def test_repr() -> None:
    """A manager names its secret and its region."""
    one = AsyncCredentialsManager[Any]("prod/db", "eu-west-1")
    assert repr(one) == "<AsyncCredentialsManager 'prod/db' in 'eu-west-1', a session per call>"
    assert (one.secret_name, one.region_name) == ("prod/db", "eu-west-1")
    # What was passed by mistake doesn't fill the log.
    assert len(repr(AsyncCredentialsManager[Any]("x" * 2000))) < 500
