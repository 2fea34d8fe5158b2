"""The doctor's facts about secrets in moto."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, SecretNotFoundError
from aiocredentials.doctor import diagnose
from aiocredentials.doctor.probe import Probe
from aiocredentials.errors import MalformedResponseError
from leaks.canary import VALUE, leaked
from server.doctor_servers import KEY, aws, environment, every_text, of_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocredentials.testing import MotoServer
    from server.stub import StubSecretsManager


__all__ = ["aws", "environment"]  # fixtures


@pytest.mark.usefixtures("aws")
async def test_a_good_secret(create_secret: Callable[..., Any], aws: MotoServer) -> None:
    """Identity, region and its source, permissions, keys and versions are shown; the value and the key id are not."""
    created = create_secret("prod/db", json.dumps({"username": "app", "password": VALUE}), "eu-west-1")
    report = await diagnose(["prod/db", "prod/db"])
    assert report.exit_code == 0
    who = report.identity
    assert (who.account, who.method, who.key_ending, who.problem) == ("123456789012", "env", "TS42", None)
    assert who.arn
    assert (report.region, report.region_source) == ("eu-west-1", "AWS_REGION")
    (endpoint,) = report.endpoints
    assert (endpoint.url, endpoint.url_source) == (aws.url, "AWS_ENDPOINT_URL_SECRETS_MANAGER")
    assert (endpoint.reachable, endpoint.tls, endpoint.proxy) == (True, False, None)
    (secret,) = report.secrets
    assert secret.contents
    assert (secret.contents.kind, secret.contents.keys) == ("JSON object", ("password", "username"))
    assert secret.contents.key_count == 2
    assert secret.contents.version_id == created["VersionId"]
    assert secret.description
    assert dict(secret.description.versions) == {created["VersionId"]: ("AWSCURRENT",)}
    assert leaked(every_text(report)) is None
    assert KEY not in every_text(report)


@pytest.mark.parametrize(
    ("value", "kind"), [(VALUE, "plain text"), (f'["{KEY}"]', "plain text"), (b"\xff\x00", "binary")]
)
@pytest.mark.usefixtures("aws")
async def test_other_kinds(create_secret: Callable[..., Any], value: str | bytes, kind: str) -> None:
    """Of values that aren't JSON objects, not even the length is shown."""
    create_secret("prod/db", value, "eu-west-1")
    report = await diagnose(["prod/db"])
    assert report.secrets[0].contents
    assert (report.secrets[0].contents.kind, report.secrets[0].contents.keys) == (kind, None)
    assert leaked(every_text(report)) is None


@pytest.mark.usefixtures("aws")
async def test_keys_that_are_values(create_secret: Callable[..., Any]) -> None:
    """Names of keys are shown if all look like names of fields, or on demand; otherwise their number is."""
    create_secret("prod/db", json.dumps({"password": "x", VALUE: True, KEY: True}), "eu-west-1")
    hidden = await diagnose(["prod/db"])
    assert hidden.secrets[0].contents
    assert (hidden.secrets[0].contents.keys, hidden.secrets[0].contents.key_count) == (None, 3)
    assert leaked(every_text(hidden)) is None
    assert KEY not in every_text(hidden)
    shown = await diagnose(["prod/db"], show_keys=True)
    assert shown.secrets[0].contents
    assert shown.secrets[0].contents.keys == tuple(sorted(["password", VALUE, KEY]))


@pytest.mark.usefixtures("aws")
async def test_the_wrong_region(create_secret: Callable[..., Any], secrets_client: Callable[..., Any]) -> None:
    """A secret of another region is found among all regions that there are, by name and by ARN."""
    arn = create_secret("prod/db", VALUE, "ap-southeast-2")["ARN"]
    create_secret("prod/db", VALUE, "eu-west-3")
    secrets_client("eu-west-3").delete_secret(SecretId="prod/db")
    said: list[str] = []
    secret = await of_one(progress=said.append)
    assert secret.exit_code == 1
    assert secret.elsewhere
    assert (secret.elsewhere.found, secret.elsewhere.deleted) == (("ap-southeast-2",), ("eu-west-3",))
    assert len(secret.elsewhere.absent) > 25
    assert "eu-west-1" not in secret.elsewhere.absent
    assert "asking eu-west-1 for prod/db" in said
    assert f"{len(secret.elsewhere.absent) + 2} other regions" in said[-1]
    by_arn = await of_one(arn.replace("ap-southeast-2", "eu-west-1"), regions=["ap-southeast-2"])
    assert by_arn.elsewhere
    assert (by_arn.elsewhere.name, by_arn.elsewhere.found) == ("prod/db", ("ap-southeast-2",))
    assert "A secret with the name 'prod/db' exists in ap-southeast-2" in by_arn.problems[0]


@pytest.mark.usefixtures("aws")
async def test_two_regions(create_secret: Callable[..., Any]) -> None:
    """An ARN is asked in its own region, a name in the one that is given; each region is told of once."""
    arn = create_secret("prod/db", VALUE, "us-west-2")["ARN"]
    create_secret("prod/redis", VALUE, "eu-west-3")
    report = await diagnose([arn, "prod/redis", "prod/none"], region_name="eu-west-3", search=False)
    assert [secret.exit_code for secret in report.secrets] == [0, 0, 1]
    assert [(one.region, one.region_source) for one in report.endpoints] == [
        ("us-west-2", "the secret's ARN"),
        ("eu-west-3", "--region"),
    ]


@pytest.mark.usefixtures("aws")
async def test_describe(create_secret: Callable[..., Any], secrets_client: Callable[..., Any]) -> None:
    """A manager describes its secret: versions, deletion, region; and raises as any call does."""
    first = create_secret("prod/db", VALUE, "eu-west-1")
    second = secrets_client("eu-west-1").put_secret_value(SecretId="prod/db", SecretString=VALUE)
    told = await AsyncCredentialsManager("prod/db").describe()
    assert (told.name, told.arn, told.region) == ("prod/db", first["ARN"], "eu-west-1")
    assert told.versions == {first["VersionId"]: ("AWSPREVIOUS",), second["VersionId"]: ("AWSCURRENT",)}
    assert (told.rotation_enabled, told.deleted_at) == (False, None)
    assert told.created_at
    secrets_client("eu-west-1").delete_secret(SecretId="prod/db")
    assert (await AsyncCredentialsManager("prod/db").describe()).deleted_at
    with pytest.raises(SecretNotFoundError, match="from AWS_REGION"):
        await AsyncCredentialsManager("prod/other").describe()


@pytest.mark.parametrize(
    "body",
    [
        {"ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:prod/other-AbCdEf", "Name": "prod/other"},
        {"Name": "prod/db"},
        b"<html/>",
    ],
)
async def test_describe_malformed(stub: StubSecretsManager, body: Any) -> None:  # noqa: ANN401 - any body
    """A description of another secret, or none at all, isn't taken for an answer."""
    stub.answer(body=body)
    with pytest.raises(MalformedResponseError):
        await AsyncCredentialsManager("prod/db", endpoint_url=stub.url).describe()


async def test_describe_without_versions(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A description whose versions are something else is malformed too."""
    arn = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-AbCdEf"
    answer = {"ARN": arn, "Name": "prod/db", "VersionIdsToStages": ["v-1"]}
    async with Probe(None, stub.url, 5) as probe, probe._source.client(None, asyncio.timeout(5)) as opened:

        async def describe_secret(**_: str) -> dict[str, Any]:
            return answer

        monkeypatch.setattr(opened.client, "describe_secret", describe_secret)
        assert isinstance(await probe.describe("prod/db"), MalformedResponseError)
