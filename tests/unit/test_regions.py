"""Which region a secret is looked for in, and what an error says of a name that is none. Nothing connects."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, NoReturn

import aioboto3
import pytest
from aiobotocore.config import AioConfig

from aiocredentials import AsyncCredentialsManager, CredentialsPool, EndpointUnreachableError, InvalidRegionError
from aiocredentials._aws.regions import Region, known_regions
from aiocredentials._aws.session import SessionPerCall
from aiocredentials._aws.settings import ClientSettings
from unit.lending import ONE_ATTEMPT, error_of, opened

if TYPE_CHECKING:
    from collections.abc import Callable


ARN = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:prod/db-AbCdEf"


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


async def test_the_default_region_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a pool, too, a source can say which region it would ask."""
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    region = await SessionPerCall(ClientSettings()).region()
    assert (region.name, region.source) == ("eu-west-3", "AWS_REGION")


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
    assert "The name of the region has 20000 characters, and no region has more than 63" in str(error)
    assert (error.secret_name, error.region_source) == ("prod/db", "AWS_REGION")
    assert len(repr(error)) < 500
