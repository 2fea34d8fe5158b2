"""Which region a secret is looked for in, and who owns sessions and clients. Clients are opened here, none connects."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import warnings
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import aioboto3
import boto3
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.config import Config
from botocore.exceptions import ProfileNotFound

from aiocredentials import (
    AsyncCredentialsManager,
    AuthenticationError,
    CredentialsError,
    CredentialsPool,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRegionError,
    PoolClosedError,
)
from aiocredentials._aws import aiosession, clients as _clients, session as _session, transport as _transport
from aiocredentials._aws.loading import load_transport
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.regions import Region, known_regions
from aiocredentials._aws.session import SessionPerCall, open_session
from aiocredentials._aws.settings import ClientSettings
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiocredentials._aws.session import ClientSource, Opened
    from server.stub import StubSecretsManager

ARN = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:prod/db-AbCdEf"
ONE_ATTEMPT = {"total_max_attempts": 1}


@pytest.fixture
def aws_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that writes the AWS configuration file of this test."""

    def write(text: str) -> None:
        (tmp_path / "config").write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    return write


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fail the test if a connection is made, and collect the names that are looked up: nobody knows them."""
    asked: list[str] = []

    async def getaddrinfo(_: object, host: str, *__: object, **___: object) -> NoReturn:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def connect(*_: object) -> NoReturn:
        pytest.fail("a test without network connects")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    return asked


@asynccontextmanager
async def opened(source: ClientSource, region: Region | None = None) -> AsyncIterator[Opened]:
    """Lend a client as the gateway does: inside a deadline that closing may bring forward."""
    async with asyncio.timeout(20) as deadline, source.client(region, deadline) as lent:
        yield lent


async def error_of(manager: AsyncCredentialsManager[Any]) -> CredentialsError:
    """Give what a fetch raises."""
    with pytest.raises(CredentialsError) as info:
        await manager.secret()
    return info.value


SOURCES = (
    "config=",
    "the pool",
    "the session",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "profile 'work'",
    "the default: no argument, environment variable or profile names another",
)


@pytest.mark.parametrize("first", SOURCES)
async def test_region_order(first: str, monkeypatch: pytest.MonkeyPatch, aws_config: Callable[[str], None]) -> None:
    """A secret that names no region is looked for in that of the first of these that has one, and each is named."""
    set_here = {source: f"region-{number}" for number, source in enumerate(SOURCES[:-1])}
    for source in SOURCES[: SOURCES.index(first)]:
        del set_here[source]
    profile = set_here.get("profile 'work'")
    aws_config("[profile work]\n" + (f"region = {profile}\n" if profile else ""))
    monkeypatch.setenv("AWS_PROFILE", "work")
    for variable in set_here.keys() & {"AWS_DEFAULT_REGION", "AWS_REGION"}:
        monkeypatch.setenv(variable, set_here[variable])
    config = AioConfig(region_name=set_here.get("config="))
    session = aioboto3.Session(region_name=set_here.get("the session"))
    settings = ClientSettings(set_here.get("the pool"), "the pool", session, None, config)
    expected = Region(set_here.get(first, "us-east-1"), first)
    async with opened(SessionPerCall(settings)) as (client, region):
        assert (region.name, region.source) == (expected.name, expected.source)
        assert client.meta.region_name == expected.name


async def test_the_default_profile(aws_config: Callable[[str], None]) -> None:
    """The region of the profile that nobody chose counts too, and has its name."""
    aws_config("[default]\nregion = eu-west-2\n")
    async with opened(SessionPerCall(ClientSettings())) as (_, region):
        assert (region.name, region.source) == ("eu-west-2", "profile 'default'")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((ARN, "eu-west-1"), ("eu-west-1", "the region_name argument")),
        ((ARN,), ("eu-north-1", "the secret's ARN")),
        ((ARN.removesuffix("-AbCdEf"),), ("eu-north-1", "the secret's ARN")),
        (("prod/db",), ("ap-south-1", "the pool")),
        (("arn:aws:sns:eu-north-1:123456789012:secret:prod/db",), ("ap-south-1", "the pool")),
    ],
    ids=["argument", "ARN", "partial ARN", "pool", "another service's ARN"],
)
async def test_a_secret_that_names_its_region(arguments: tuple[str], expected: tuple[str, str], dns: list[str]) -> None:
    """The argument goes before the ARN's region, and both before the pool's; an error names region and source."""
    async with CredentialsPool("ap-south-1", config=AioConfig(retries=ONE_ATTEMPT)) as pool:
        error = await error_of(pool.manager(*arguments))
    assert (error.region_name, error.region_source) == expected
    assert f"region '{expected[0]}' (from {expected[1]})" in str(error)
    assert error.secret_name == arguments[0]
    assert dns == [f"secretsmanager.{expected[0]}.amazonaws.com"]


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
async def test_a_region_that_cannot_be(dns: list[str], pooled: bool) -> None:  # noqa: FBT001 (a table)
    """A malformed region is refused without network; the error says whose it is, what it would ask, what is near."""
    manager = AsyncCredentialsManager[Any]("mock_secret", "region_that_doesnt_exist")
    if pooled:
        async with manager:
            error = await error_of(manager)
    else:
        error = await error_of(manager)
    assert isinstance(error, InvalidRegionError)
    assert not error.transient
    for words in (
        "AWS has no region 'region_that_doesnt_exist'",
        "https://secretsmanager.region_that_doesnt_exist.amazonaws.com would have been asked",
        "(from the region_name argument)",
        "did you mean '",
    ):
        assert words in str(error)
    assert (error.secret_name, error.region_name) == ("mock_secret", "region_that_doesnt_exist")
    assert not dns


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("eu_west_1", "eu-west-1"),
        ("us-east1-", "us-east-1"),
        ("eu-central-1.", "eu-central-1"),
        ("cn north 1", "cn-north-1"),
    ],
)
async def test_the_nearest_region(typed: str, meant: str, dns: list[str]) -> None:
    """A typing mistake gets the region that was meant."""
    assert f"did you mean '{meant}'?" in str(await error_of(AsyncCredentialsManager("x", typed)))
    assert not dns


@pytest.mark.parametrize("region", ["us-east-9", "us-iso-east-9", "mx-north-7"])
async def test_a_region_that_botocore_does_not_list(dns: list[str], region: str) -> None:
    """A host that DNS doesn't know proves nothing about a region of the right shape; the hint on its spelling stays."""
    manager = AsyncCredentialsManager[Any]("mock_secret", region, config=AioConfig(retries=ONE_ATTEMPT))
    error = await error_of(manager)
    assert type(error) is EndpointUnreachableError
    assert error.transient
    assert f"The installed botocore lists no region '{region}': did you mean '" in str(error)
    assert "Name or service not known" in str(error)
    assert error.secret_name == "mock_secret"
    assert len(dns) == 1


@pytest.mark.parametrize("region", ["us-iso-east-1", "il-central-1", "us-gov-west-1", "cn-north-1"])
async def test_a_region_that_botocore_lists(dns: list[str], region: str) -> None:
    """A region of any partition that botocore lists gets no hint."""
    error = await error_of(AsyncCredentialsManager[Any]("x", region, config=AioConfig(retries=ONE_ATTEMPT)))
    assert type(error) is EndpointUnreachableError
    assert "did you mean" not in str(error)
    assert len(dns) == 1


@pytest.mark.parametrize(
    ("typed", "meant"), [("eu-west1", "eu-west-1"), ("Ireland", "eu-west-1"), ("EU-WEST-1", "eu-west-1")]
)
async def test_a_name_that_is_no_regions(typed: str, meant: str, dns: list[str]) -> None:
    """An unresolved host is the fault of a region that can't be one; the right one is found by place, in any case."""
    error = await error_of(AsyncCredentialsManager[Any]("x", typed, config=AioConfig(retries=ONE_ATTEMPT)))
    assert type(error) is InvalidRegionError
    assert not error.transient
    assert not error.asked
    assert f"AWS has no region '{typed}'" in str(error)
    assert f"did you mean '{meant}'?" in str(error)
    assert dns == [f"secretsmanager.{typed}.amazonaws.com"]


@pytest.mark.parametrize(
    ("region", "endpoint_url", "number"),
    [
        ("us-east-9", None, socket.EAI_AGAIN),
        ("us-east-1", None, socket.EAI_NONAME),
        ("us-east-9", "https://vpce-1.example", socket.EAI_NONAME),
    ],
    ids=["DNS is down", "the region exists", "an endpoint of the caller's"],
)
async def test_a_region_that_is_not_at_fault(
    region: str, endpoint_url: str | None, number: int, dns: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the name fails to resolve for another reason, nobody is sent to look at the region."""

    async def getaddrinfo(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(number, "DNS says so")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    config = AioConfig(retries=ONE_ATTEMPT)
    error = await error_of(AsyncCredentialsManager("x", region, endpoint_url=endpoint_url, config=config))
    assert type(error) is EndpointUnreachableError
    assert "DNS says so" in str(error)
    assert error.transient
    assert not dns


def test_endpoints_and_known_regions() -> None:
    """China has a domain of its own; what is suggested are regions that a user can mean."""
    assert Region("eu-west-1", "").endpoint == "https://secretsmanager.eu-west-1.amazonaws.com"
    assert Region("cn-north-1", "").endpoint == "https://secretsmanager.cn-north-1.amazonaws.com.cn"
    known = known_regions()
    assert {"us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"} <= set(known)
    assert not [name for name in known if "iso" in name or name.endswith("global")]


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"region_name": 1}, TypeError, "region_name is a int, not a string: give a region such as 'eu-west-1'"),
        ({"region_name": " "}, ValueError, "region_name is empty: give a region"),
        ({"endpoint_url": 5000}, TypeError, "endpoint_url is a int, not a string: give a URL"),
        ({"endpoint_url": ""}, ValueError, "endpoint_url is empty"),
        (
            {"endpoint_url": "localhost:5000"},
            ValueError,
            "endpoint_url 'localhost:5000' isn't a URL: write it as 'https",
        ),
        ({"endpoint_url": "ftp://localhost"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://two words"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://localhost:99999"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://localhost:0"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://[::1"}, ValueError, "isn't a URL"),
        ({"session": object()}, TypeError, "session is a builtins.object: give an aioboto3.Session or an aiobotocore"),
        ({"session": boto3.Session()}, TypeError, "session is a boto3.session.Session: give an aioboto3.Session"),
        ({"session": aioboto3.Session}, TypeError, "session is a builtins.type: give an aioboto3.Session"),
        ({"config": Config()}, TypeError, "config is a Config: give an aiobotocore.config.AioConfig"),
        ({"config": {"retries": 1}}, TypeError, "config is a dict"),
    ],
    ids=range(16),
)
def test_settings_that_cannot_work(settings: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    """What can't work is refused by the constructor, in a sentence that names the argument and what to give."""
    with pytest.raises(kind, match=sentence):
        CredentialsPool(**settings)
    if "region_name" not in settings:
        with pytest.raises(kind, match=sentence):
            AsyncCredentialsManager("x", **settings)


@pytest.mark.parametrize("url", ["https://vpce-1.example/", "http://127.0.0.1:5000", "http://[::1]:5000"])
async def test_an_endpoint_of_the_callers(url: str) -> None:
    """A URL with or without port, path and brackets is taken as it is."""
    async with opened(SessionPerCall(ClientSettings(endpoint_url=url))) as (client, _):
        assert client.meta.endpoint_url == url


async def test_an_endpoint_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A malformed one that botocore finds by itself is said to be that, and not taken for an answer of AWS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "junk")
    error = await error_of(AsyncCredentialsManager("x"))
    assert type(error) is InvalidParameterError
    assert "AWS_ENDPOINT_URL" in str(error)


async def test_a_setting_that_botocore_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What botocore refuses when a client is opened is one of our errors."""
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "junk")
    error = await error_of(AsyncCredentialsManager("prod/db"))
    assert (type(error), error.secret_name) == (InvalidParameterError, "prod/db")


async def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that nobody configured is an authentication error, whoever chose it, and before any network."""
    session = aioboto3.Session()
    session._session.set_config_variable("profile", "gone")
    assert type(await error_of(AsyncCredentialsManager("x", session=session))) is AuthenticationError
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert type(await error_of(AsyncCredentialsManager("x"))) is AuthenticationError


@pytest.mark.parametrize(
    ("by_session", "by_caller", "expected"),
    [
        (None, None, (3, 5, {"mode": "standard", "total_max_attempts": 3}, 50)),
        (None, AioConfig(read_timeout=1), (3, 1, {"mode": "standard", "total_max_attempts": 3}, 50)),
        (AioConfig(connect_timeout=7), None, (7, 5, {"mode": "standard", "total_max_attempts": 3}, 50)),
        (
            AioConfig(connect_timeout=7, read_timeout=7, max_pool_connections=7),
            AioConfig(connect_timeout=1, retries={"mode": "legacy", "total_max_attempts": 1}),
            (1, 7, {"mode": "legacy", "total_max_attempts": 1}, 7),
        ),
    ],
    ids=["ours", "the caller's", "the session's", "all"],
)
async def test_config(by_session: AioConfig | None, by_caller: AioConfig | None, expected: tuple[object, ...]) -> None:
    """The caller's config goes over the session's, and that over ours: what nobody says keeps our value."""
    core = AioSession()
    if by_session is not None:
        core.set_default_client_config(by_session)
    async with opened(SessionPerCall(ClientSettings(session=core, config=by_caller))) as (client, _):
        config: Any = client.meta.config
    retries = {name: config.retries[name] for name in ("mode", "total_max_attempts")}
    assert (config.connect_timeout, config.read_timeout, retries, config.max_pool_connections) == expected


PROFILE = "[default]\nmax_attempts = 4\nretry_mode = adaptive\n"


@pytest.mark.parametrize(
    ("environment", "profile", "retries", "expected"),
    [
        ({}, "", None, ("standard", 3)),
        ({"AWS_MAX_ATTEMPTS": "1"}, "", None, ("standard", 1)),
        ({"AWS_RETRY_MODE": "legacy"}, "", None, ("legacy", 3)),
        ({"AWS_RETRY_MODE": "adaptive", "AWS_MAX_ATTEMPTS": "7"}, "", None, ("adaptive", 7)),
        ({}, PROFILE, None, ("adaptive", 4)),
        ({"AWS_MAX_ATTEMPTS": "6"}, PROFILE, None, ("adaptive", 6)),
        ({"AWS_MAX_ATTEMPTS": "6"}, PROFILE, {"total_max_attempts": 2}, ("adaptive", 2)),
        ({"AWS_MAX_ATTEMPTS": "6"}, PROFILE, {"mode": "standard"}, ("standard", 6)),
        ({"AWS_MAX_ATTEMPTS": "6"}, PROFILE, {"max_attempts": 0, "mode": "legacy"}, ("legacy", 1)),
    ],
)
@pytest.mark.parametrize("ours", [True, False], ids=["our session", "the caller's"])
async def test_retries(
    monkeypatch: pytest.MonkeyPatch,
    aws_config: Callable[[str], None],
    *,
    environment: dict[str, str],
    profile: str,
    retries: Any,  # noqa: ANN401 (botocore's)
    expected: tuple[str, int],
    ours: bool,
) -> None:
    """A config says how a call is repeated, else the environment, else the profile; if none does: standard, 3 tries."""
    aws_config(profile)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = AioConfig(retries=retries) if retries else None
    session = None if ours else AioSession()
    async with opened(SessionPerCall(ClientSettings(session=session, config=config))) as (client, _):
        chosen: Any = client.meta.config
    assert (chosen.retries["mode"], chosen.retries["total_max_attempts"]) == expected


async def test_retries_of_the_callers_session() -> None:
    """What the session's own settings say holds, too."""
    core = AioSession()
    core.set_config_variable("max_attempts", 9)
    core.get_component("config_store").set_config_variable("retry_mode", "legacy")
    async with opened(SessionPerCall(ClientSettings(session=core))) as (client, _):
        chosen: Any = client.meta.config
    assert (chosen.retries["mode"], chosen.retries["total_max_attempts"]) == ("legacy", 9)


async def test_connector_args() -> None:
    """What a caller says about connections isn't lost, though aiobotocore before 3 loses it in merging."""
    config = AioConfig(connector_args={"keepalive_timeout": 1})
    async with opened(SessionPerCall(ClientSettings(config=config))) as (client, _):
        assert vars(client.meta.config)["connector_args"]["keepalive_timeout"] == 1


async def test_a_session_of_the_callers() -> None:
    """Theirs, of either kind, is copied: the copy has its settings and our transport, and theirs stays as it was."""
    session = aioboto3.Session("theirs", "theirs", region_name="eu-west-1")
    core = AioSession()
    core.set_config_variable("region", "eu-west-1")
    for theirs, inside in ((session, session._session), (core, core)):
        before = dict(vars(inside))
        # Read from the same files by the session's own credential chain, and kept.
        del before["_config"], before["_profile_map"]
        paths = list(inside.get_component("data_loader").search_paths)
        for _ in range(3):
            async with opened(SessionPerCall(ClientSettings(session=theirs))) as (client, region):
                assert (region.name, region.source) == ("eu-west-1", "the session")
                assert isinstance(_transport.transport_of(client), _transport.TrustedSession)
        assert vars(inside).items() >= before.items()
        assert inside.get_component("data_loader").search_paths == paths


async def test_a_session_of_ours() -> None:
    """It is aioboto3's, on a core whose credential chain has our transport; nothing grows with each session."""
    session = await open_session(ClientSettings())
    assert isinstance(session, aioboto3.Session)
    assert isinstance(session._session, aiosession.TrustedAioSession)
    assert isinstance(session._session.get_default_client_config(), _transport.TrustedConfig)
    loader = session._session.get_component("data_loader")
    before = list(loader.search_paths)
    for _ in range(50):
        another: Any = await open_session(ClientSettings())
        assert another._session.get_component("data_loader") is loader
    assert list(loader.search_paths) == before


async def test_what_is_asked_of_a_session() -> None:
    """A session whose `create_client` brings a transport of its own can't be used, and that is said."""

    class Own(AioSession):
        def create_client(self, *_: object, **__: object) -> Any:  # noqa: ANN401 (a client that is none)
            return contextlib.nullcontext(object())

    error = await error_of(AsyncCredentialsManager("x", session=Own()))
    assert type(error) is InvalidParameterError
    assert "The client can't be used: the client came with a NoneType, which doesn't check what it" in str(error)


async def test_unencrypted_endpoints(dns: list[str]) -> None:
    """An `http://` endpoint warns when a client is opened for it, and one on this machine doesn't."""
    config = AioConfig(retries=ONE_ATTEMPT)
    manager = AsyncCredentialsManager[Any]("x", endpoint_url="http://vpce-1.example:8080", config=config)
    for pooled in (False, True):
        with pytest.warns(UserWarning, match=r"http://vpce-1\.example:8080 isn't encrypted: .* Use https"):
            async with manager if pooled else contextlib.nullcontext():
                assert type(await error_of(manager)) is EndpointUnreachableError
    assert dns == ["vpce-1.example"] * 2
    for host in ("127.0.0.1", "127.1.2.3", "[::1]", "localhost", "secrets.localhost"):
        async with opened(SessionPerCall(ClientSettings(endpoint_url=f"http://{host}:1"))):
            pass


IN_CLEAR = "http://vpce-1.example:8080"


def line_of(marker: str) -> int:
    """Return the number of the one line of this file that ends in a comment."""
    lines = Path(__file__).read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}")]
    return found


async def test_the_line_that_is_warned_of(dns: list[str]) -> None:
    """The warning names the user's line that made the pool or the manager, though a task of ours issues it."""
    config = AioConfig(retries=ONE_ATTEMPT)
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        manager = AsyncCredentialsManager[Any]("x", endpoint_url=IN_CLEAR, config=config)  # the manager
        await error_of(manager)
        pool = CredentialsPool(endpoint_url=IN_CLEAR, config=config)  # the pool
        async with pool:
            await error_of(pool.manager("x"))
        async with manager:
            await error_of(manager)
    assert [(warning.filename, warning.lineno) for warning in issued] == [
        (__file__, line_of("the manager")),
        (__file__, line_of("the pool")),
        (__file__, line_of("the manager")),
    ]
    assert len(dns) == 3


async def test_a_line_of_no_module(dns: list[str]) -> None:
    """Code that belongs to no module is told as Python calls it."""
    made: dict[str, Any] = {"__name__": "nowhere", "AsyncCredentialsManager": AsyncCredentialsManager, "url": IN_CLEAR}
    exec("manager = AsyncCredentialsManager('x', endpoint_url=url)", made)  # noqa: S102 (our own text)
    with pytest.warns(UserWarning, match="isn't encrypted") as issued:
        await error_of(made["manager"])
    assert [(warning.filename, warning.lineno) for warning in issued] == [("<string>", 1)]
    assert dns


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
async def test_warnings_that_are_errors(
    stub_answers: str,
    caplog: pytest.LogCaptureFixture,
    pooled: bool,  # noqa: FBT001 (a table)
) -> None:
    """Where warnings are errors, ours breaks no call, and no client is opened twice for it: it is logged."""
    manager = AsyncCredentialsManager[Any]("x", endpoint_url=stub_answers, policy=None)
    async with manager if pooled else contextlib.nullcontext():
        for _ in range(2):
            await manager.secret()
    warned = [record.getMessage() for record in caplog.records if record.name == "aiocredentials"]
    assert len(warned) == (1 if pooled else 2)
    assert all(f"{stub_answers} isn't encrypted" in message for message in warned)


async def test_a_hook_that_fails(
    stub_answers: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither does a hook of the user's that fails while the warning is shown."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", fail)
        await AsyncCredentialsManager[Any]("x", endpoint_url=stub_answers).secret()
    assert "isn't encrypted" in caplog.text


@pytest.fixture
async def stub_answers(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a server that isn't taken for one of this machine."""
    monkeypatch.setattr(_transport, "is_loopback", lambda _: False)
    return stub.url


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
async def test_a_client_that_fails_its_check(pooled: bool) -> None:  # noqa: FBT001 (a table)
    """A client that was entered before it is refused is closed at once, in a pool, too."""
    events: list[str] = []

    class Client:
        async def __aenter__(self) -> Self:
            events.append("entered")
            return self

        async def __aexit__(self, *_: object) -> None:
            events.append("closed")

    class Own(AioSession):
        def create_client(self, *_: object, **__: object) -> Any:  # noqa: ANN401 (a client that is none)
            return Client()

    manager = AsyncCredentialsManager[Any]("x", session=Own(), policy=None)
    async with manager if pooled else contextlib.nullcontext():
        for count in (1, 2):
            assert type(await error_of(manager)) is InvalidParameterError
            assert events == ["entered", "closed"] * count


async def test_a_password_in_the_endpoint(dns: list[str]) -> None:
    """A user and a password in `endpoint_url` are in no warning, error or repr, whichever way the call ends."""
    config = AioConfig(retries=ONE_ATTEMPT)
    shown: list[str] = []
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        for url, region in (
            ("http://user:hidden@vpce-1.example", "eu-west-1"),
            ("https://user:hidden@eu-wst-1.example", "eu-wst-1"),
            ("https://user:hidden@vpce-1.example", "no region"),
        ):
            manager = AsyncCredentialsManager[Any]("x", region, endpoint_url=url, config=config)
            error = await error_of(manager)
            shown += [str(error), repr(error), repr(vars(error)), repr(vars(manager))]
    for url in ("https://user:hidden#1@vpce-1.example", "https://user:hidden@vpce-1.example:x", "https://u:1#h@vpce"):
        with pytest.raises(ValueError, match=r"write # / \? @ as %23") as info:
            CredentialsPool(endpoint_url=url)
        shown.append(str(info.value))
    (warned,) = [str(warning.message) for warning in issued]
    assert warned.startswith("http://vpce-1.example isn't encrypted")
    shown.append(warned)
    assert not [text for text in shown if "hidden" in text]
    assert "can't be sent beside AWS's own signature" in shown[0]
    assert "https://vpce-1.example would have been asked" in shown[8]
    assert dns == []


def test_a_long_region() -> None:
    """A region that is too long for a host name is refused at once, in a short sentence."""
    for length in (64, 200_000):
        for make in (CredentialsPool, lambda region: AsyncCredentialsManager("x", region)):
            with pytest.raises(ValueError, match=rf"region_name has {length} characters, and no region has more"):
                make("x" * length)
    CredentialsPool("x" * 63)


async def test_a_long_region_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes from elsewhere is refused by the call, as soon, and as shortly."""
    monkeypatch.setenv("AWS_REGION", "x" * 20_000)
    error = await error_of(AsyncCredentialsManager("prod/db"))
    assert type(error) is InvalidRegionError
    assert "A name of 20000 characters is no region: it has at most 63" in str(error)
    assert (error.secret_name, error.region_source) == ("prod/db", "AWS_REGION")
    assert len(repr(error)) < 500


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
async def test_verification_is_not_switched_off(dns: list[str], pooled: bool) -> None:  # noqa: FBT001 (a table)
    """A session that verifies nothing reaches endpoints on this machine alone."""
    session = AioSession()
    session.set_config_variable("ca_bundle", False)  # noqa: FBT003 (as `verify=False` is for a client)
    config = AioConfig(retries=ONE_ATTEMPT)
    manager = AsyncCredentialsManager[Any]("x", session=session, endpoint_url="https://vpce-1.example", config=config)
    async with manager if pooled else contextlib.nullcontext():
        error = await error_of(manager)
    assert type(error) is EndpointUnreachableError
    assert "verify=False is for endpoints on this machine only; give a CA bundle instead" in str(error)
    assert not dns


async def test_a_pool_shares_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool opens one client a region, also when many ask at once, and its repr says which."""
    asked: list[str] = []

    async def slow(stack: Any, session: Any, region: Region, settings: Any) -> Any:  # noqa: ANN401 (passed on)
        asked.append(region.name)
        await asyncio.sleep(0)
        return await open_client(stack, session, region, settings)

    open_client = _session.open_client
    monkeypatch.setattr(_clients, "open_client", slow)
    pooled = PooledSession(ClientSettings())
    pooled.open()

    async def lend(name: str | None) -> object:
        async with opened(pooled, Region(name, "") if name else None) as (client, _):
            return client

    one, same, other = await asyncio.gather(lend("eu-west-1"), lend("eu-west-1"), lend("eu-west-2"))
    assert one is same is await lend("eu-west-1")
    assert one is not other
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert other is await lend(None)
    assert asked == ["eu-west-1", "eu-west-2"]
    assert repr(pooled) == "open eu-west-1 eu-west-2"
    assert pooled.holds_clients
    await pooled.aclose()
    assert (repr(pooled), pooled.holds_clients) == ("closed", False)


CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


@pytest.mark.parametrize("factory", [None, lambda loop, coro: asyncio.Task(coro, loop=loop)], ids=["none", "old"])
async def test_an_opening_is_nobodys(factory: Any) -> None:  # noqa: ANN401 (what a loop takes)
    """A client is opened in no caller's context, and closed in none, also by a task factory that knows no contexts."""
    fake = FakeSecretsManager({"a": {}})
    seen: list[str] = []

    class Custom:
        region_name = "us-east-1"

        @asynccontextmanager
        async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
            seen.append(CALLER.get())
            async with fake.secretsmanager_client(region_name) as client:
                yield client
            seen.append(CALLER.get())

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        async with CredentialsPool(session=Custom(), policy=None) as pool:
            CALLER.set("me")
            fake.fail_next("ExpiredTokenException")
            assert await pool.manager("a").get() == {}
            while len(seen) < 3:  # noqa: ASYNC110 (until the old client is closed)
                await asyncio.sleep(0)
    finally:
        loop.set_task_factory(None)
    assert seen[:3] == ["nobody"] * 3


async def test_states() -> None:
    """A pool's session is new, open, closed; only the open one lends a client, and closing is final."""
    pooled = PooledSession(ClientSettings())
    with pytest.raises(PoolClosedError, match="isn't open yet: use `async with pool:` first"):
        await opened(pooled).__aenter__()
    pooled.open()
    pooled.open()
    await pooled.aclose()
    await pooled.aclose()
    with pytest.raises(PoolClosedError, match="The pool is closed: make a new one"):
        await opened(pooled).__aenter__()
    with pytest.raises(PoolClosedError, match="closing is final"):
        pooled.open()


async def test_closing_ends_the_calls() -> None:
    """Closing brings forward the deadlines of those who use a client, and waits for them; twice at a time, too."""
    pooled = PooledSession(ClientSettings())
    pooled.open()
    lent = asyncio.Semaphore(0)

    async def use() -> None:
        async with opened(pooled):
            lent.release()
            await asyncio.Event().wait()

    async def fail() -> None:
        async with opened(pooled):
            lent.release()
            try:
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError

    calls = [asyncio.create_task(call()) for call in (use, use, fail)]
    for _ in calls:
        await lent.acquire()
    await asyncio.gather(pooled.aclose(), pooled.aclose())
    for call, raised in zip(calls, (TimeoutError, TimeoutError, ZeroDivisionError), strict=True):
        with pytest.raises(raised):
            await call


async def test_closing_waits_for_those_who_are_late() -> None:
    """A call whose own deadline has passed, and which still tidies up, is waited for and not hurried."""
    pooled = PooledSession(ClientSettings())
    pooled.open()
    tidying, tidy = asyncio.Event(), asyncio.Event()

    async def use() -> None:
        async with asyncio.timeout(None) as deadline, pooled.client(None, deadline):
            deadline.reschedule(0)
            try:
                await asyncio.Event().wait()
            finally:
                tidying.set()
                await tidy.wait()

    call = asyncio.create_task(use())
    await tidying.wait()
    closing = asyncio.create_task(pooled.aclose())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    tidy.set()
    await closing
    with pytest.raises(TimeoutError):
        await call


async def test_a_session_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever aioboto3 raises there is one of our errors."""
    await load_transport()

    def session(**_: object) -> NoReturn:
        raise ProfileNotFound(profile="missing")

    monkeypatch.setattr(aioboto3, "Session", session)
    error = await error_of(AsyncCredentialsManager("prod/db"))
    assert (type(error), error.secret_name) == (AuthenticationError, "prod/db")


async def test_errors_of_an_open_pool_pass() -> None:
    """What a call raises while the pool is open comes out as it is."""
    pooled = PooledSession(ClientSettings())
    pooled.open()
    with pytest.raises(ZeroDivisionError):
        async with opened(pooled):
            raise ZeroDivisionError
    await pooled.aclose()


async def test_the_default_region_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a pool, too, a source can say which region it would ask."""
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    region = await SessionPerCall(ClientSettings()).region()
    assert (region.name, region.source) == ("eu-west-3", "AWS_REGION")
