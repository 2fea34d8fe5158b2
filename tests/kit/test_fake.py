"""The fake: what a test can make it do, what it notes, and that it shows no value. How it answers is the contract's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from aiocredentials import (
    AsyncCredentialsManager,
    CredentialsPool,
    InvalidRegionError,
    SecretNotFoundError,
    testing,
)
from aiocredentials.testing import Call, FakeSecretsManager, SeededVersion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CANARY = "hunter2-canary"
NAME = "prod/database"


@pytest.fixture
def fake() -> FakeSecretsManager:
    """A fake with a secret."""
    return FakeSecretsManager({NAME: {"password": CANARY}})


@pytest.fixture
async def pool(fake: FakeSecretsManager) -> AsyncIterator[CredentialsPool]:
    """A pool that asks it and remembers nothing."""
    async with CredentialsPool(session=fake, policy=None) as pool:
        yield pool


# Where it sits


async def test_many_secrets(fake: FakeSecretsManager) -> None:
    """To find a secret, the fake looks at no other one: a test may have ten thousand."""

    class NoWalk(dict[Any, Any]):
        __iter__ = keys = values = items = None  # type: ignore[assignment]

    fake._account.secrets = NoWalk(fake._account.secrets)
    async with CredentialsPool(session=fake, policy=None) as pool:
        arn = (await pool.manager(NAME).secret()).arn
        for identifier in (arn, arn[: -len("-Abc123")]):
            assert (await pool.manager(identifier).secret()).name == NAME
        for identifier in ("prod/missing", f"{arn[:-1]}?", arn[: -len("-Abc123")] + "-AAAAAA"):
            with pytest.raises(SecretNotFoundError):
                await pool.manager(identifier).secret()


async def test_it_serves_with_and_without_a_pool(fake: FakeSecretsManager) -> None:
    """Managers take it as they take a session: alone, as a block, and in a pool."""
    manager = AsyncCredentialsManager(NAME, session=fake)
    assert await manager.get() == {"password": CANARY}
    async with AsyncCredentialsManager(NAME, session=fake) as entered:
        assert await entered.get() == {"password": CANARY}
    async with CredentialsPool(session=fake, prefetch=[NAME]) as pool:
        assert await pool.manager(NAME).get() == {"password": CANARY}
    assert [call.operation for call in fake.calls] == ["GetSecretValue"] * 2 + ["BatchGetSecretValue"]


@pytest.mark.parametrize(
    ("pool_region", "asked", "source"), [(None, "eu-west-1", "the session"), ("us-west-2", "us-west-2", "the pool")]
)
async def test_its_region_is_the_session_s(
    monkeypatch: pytest.MonkeyPatch, pool_region: str | None, asked: str, source: str
) -> None:
    """Its region comes where a session's does: after the pool's, before the environment's."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    fake = FakeSecretsManager(region_name="eu-west-1")
    async with CredentialsPool(pool_region, session=fake) as pool:
        with pytest.raises(SecretNotFoundError) as info:
            await pool.manager(NAME).get()
    assert (info.value.region_name, info.value.region_source) == (asked, source)
    assert fake.calls[0].region_name == asked


@pytest.mark.parametrize("region", ["us_east_1", "-", "eu-west-1."])
async def test_a_region_that_cannot_be(fake: FakeSecretsManager, region: str) -> None:
    """What botocore takes for no region, it takes for none too, and nothing is asked."""
    with pytest.raises(InvalidRegionError, match="AWS has no region"):
        await AsyncCredentialsManager(NAME, region, session=fake).get()
    assert fake.calls == []


def test_it_is_light() -> None:
    """With the fake, a fetch imports neither aioboto3 nor aiohttp, nor any test framework."""
    heavy = ("aioboto3", "aiobotocore", "aiohttp", "boto3", "moto", "pytest")
    program = (
        "import asyncio, sys\n"
        "from aiocredentials import AsyncCredentialsManager\n"
        "from aiocredentials.testing import FakeSecretsManager\n"
        "fake = FakeSecretsManager({'a': 'value'})\n"
        "asyncio.run(AsyncCredentialsManager('a', session=fake).secret())\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True, timeout=20
    )
    assert answer.stdout.strip() == "[]"


# What it notes


async def test_calls(fake: FakeSecretsManager) -> None:
    """Each call is noted as it was asked, oldest first; a hit is none."""
    async with CredentialsPool(session=fake) as pool:
        manager = pool.manager(NAME)
        await asyncio.gather(*(manager.get() for _ in range(10)))
        secret = await manager.secret()
        await manager.secret(version_id=secret.version_id)
        fake.set("prod/redis", "value")
        await pool.prefetch("prod/redis", secret.arn)
    assert fake.calls == [
        Call(operation="GetSecretValue", secret_names=(NAME,), region_name="us-east-1", version_stage="AWSCURRENT"),
        Call(operation="GetSecretValue", secret_names=(NAME,), region_name="us-east-1", version_id=secret.version_id),
        Call(operation="BatchGetSecretValue", secret_names=("prod/redis",), region_name="us-east-1"),
    ]
    with pytest.raises(FrozenInstanceError):
        fake.calls[0].region_name = "eu-west-1"  # type: ignore[misc]


async def test_no_value_shows(fake: FakeSecretsManager, pool: CredentialsPool) -> None:
    """Neither the fake nor its notes, nor what seeding gives, nor anything inside of it, prints a value."""
    seeded = fake.rotate(NAME, CANARY, promote=False)
    await pool.manager(NAME).get()
    shown = [fake, vars(fake), fake.calls, seeded, vars(fake._account), *fake._account.secrets.values()]
    shown += [version for secret in fake._account.secrets.values() for version in secret.versions.values()]
    assert CANARY not in repr(shown)
    assert repr(fake) == "<FakeSecretsManager us-east-1, secrets: 1, calls: 1>"


# Seeding


def test_seeding_tells_what_was_made(fake: FakeSecretsManager) -> None:
    """Seeding gives name, ARN, region and version id, the same in each run; a region can be of another partition."""
    seeded = fake.set("a", b"\x00", region_name="cn-north-1")
    assert isinstance(seeded, SeededVersion)
    assert seeded.arn.startswith("arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:a-")
    assert fake.set("b", "1", region_name="us-gov-west-1").arn.startswith("arn:aws-us-gov:")
    assert FakeSecretsManager().set("a", "1") == FakeSecretsManager().set("a", "2")
    assert fake.set("c", None).version_id is None
    assert fake.set("c", None) == fake.set("c", None)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("white space", "a", "AWS refuses the name 'white space'"),
        ("x" * 513, "a", "use up to 512 letters, digits"),
        ("a", "", "The value has 0 bytes: AWS keeps from 1 to 65536"),
        ("a", b"", "The value has 0 bytes"),
        ("a", "ä" * 32_769, "The value has 65538 bytes"),
    ],
)
def test_what_aws_would_not_keep(fake: FakeSecretsManager, name: str, value: str | bytes, sentence: str) -> None:
    """A name or a value that AWS refuses is refused, without the value in the message, and nothing is created."""
    with pytest.raises(ValueError, match=sentence):
        fake.set(name, value)
    assert "secrets: 1," in repr(fake)


def test_what_a_test_gets_wrong(fake: FakeSecretsManager) -> None:
    """A secret that isn't there, a rotation that hasn't begun or isn't finished: each is a sentence for the author."""
    for change in (lambda: fake.rotate("a", "1"), lambda: fake.delete("a"), lambda: fake.restore("a")):
        with pytest.raises(KeyError, match=r"There is no secret 'a' in 'us-east-1': create it by set\(\)"):
            change()
    with pytest.raises(KeyError, match="in 'eu-west-1'"):
        fake.finish_rotation(NAME, region_name="eu-west-1")
    with pytest.raises(ValueError, match=r"has no AWSPENDING version: call rotate\(\.\.\., promote=False\)"):
        fake.finish_rotation(NAME)
    fake.rotate(NAME, "1", promote=False)
    with pytest.raises(ValueError, match="The rotation of 'prod/database' isn't finished"):
        fake.rotate(NAME, "2")
    fake.delete(NAME)
    with pytest.raises(ValueError, match="is scheduled for deletion"):
        fake.set(NAME, "3")


# Its form


@pytest.fixture(scope="module")
def model() -> ServiceModel:
    """What botocore knows of Secrets Manager's API."""
    return ServiceModel(Loader().load_service_model("secretsmanager", "service-2"), "secretsmanager")


async def test_answers_have_botocore_s_form(fake: FakeSecretsManager, model: ServiceModel) -> None:
    """Each answer validates against botocore's own model of the API: known fields, of the right types."""
    fake.set("prod/bytes", b"\xff")
    fake.rotate(NAME, "2")
    fake.delete(fake.set("prod/gone", "1").name)
    async with fake.secretsmanager_client("us-east-1") as client:
        answers = [
            ("GetSecretValue", await client.get_secret_value(SecretId=NAME)),
            ("GetSecretValue", await client.get_secret_value(SecretId="prod/bytes", VersionStage="AWSCURRENT")),
            ("DescribeSecret", await client.describe_secret(SecretId=NAME)),
            ("DescribeSecret", await client.describe_secret(SecretId="prod/gone")),
            ("BatchGetSecretValue", await client.batch_get_secret_value(SecretIdList=[NAME, "prod/gone", "missing"])),
        ]
    for operation, answer in answers:
        assert answer.pop("ResponseMetadata")["HTTPStatusCode"] == 200
        shape = model.operation_model(operation).output_shape
        assert set(answer) <= set(shape.members)
        assert not ParamValidator().validate(answer, shape).has_errors()


async def test_too_many_for_a_batch(fake: FakeSecretsManager) -> None:
    """A batch of more than 20 is refused, as AWS does (API reference, SecretIdList), and so is an empty one."""
    async with fake.secretsmanager_client("us-east-1") as client:
        with pytest.raises(ClientError, match=r"ValidationException.*less than or equal to 20"):
            await client.batch_get_secret_value(SecretIdList=[f"a{number}" for number in range(21)])
        with pytest.raises(Exception, match="Invalid length for parameter SecretIdList, value: 0"):
            await client.batch_get_secret_value(SecretIdList=[])


# The seam, and the door


@pytest.mark.parametrize("name", testing.__all__)
def test_docstrings(name: str) -> None:
    """All that the kit offers is told, and so is each method and property of it."""
    thing = getattr(testing, name)
    assert thing.__doc__
    for attribute, value in vars(thing).items():
        if not attribute.startswith("_") and (callable(value) or isinstance(value, property)):
            assert value.__doc__, f"{name}.{attribute}"


def test_all_is_sorted() -> None:
    """`__all__` names what the kit offers, in order."""
    offered = {name for name, value in vars(testing).items() if isinstance(value, type) and not name.startswith("_")}
    assert testing.__all__ == sorted(offered)


def test_a_mock_is_no_session() -> None:
    """A session of one's own is known by its class: a mock, which has every attribute, isn't taken for one."""
    from unittest.mock import MagicMock  # noqa: PLC0415 - it is what this test is about

    with pytest.raises(TypeError, match=r"give an aioboto3\.Session or an aiobotocore AioSession, or a CustomSession"):
        CredentialsPool(session=MagicMock())
