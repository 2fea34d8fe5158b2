"""What Secrets Manager does, seen through a real pool: the fake must do the same, or its users' tests would lie.

moto is known to differ from AWS here and there. Beside each such place stands what AWS does, and where that is written;
the fake follows AWS.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from aiocredentials import (
    CredentialsError,
    InvalidParameterError,
    InvalidRequestError,
    SecretDeletedError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from contract.conftest import Backend

NOT_FOUND = "Secrets Manager can't find the specified secret."


async def failure(awaitable: Awaitable[object]) -> CredentialsError:
    """Give the error that it raises."""
    with pytest.raises(CredentialsError) as info:
        await awaitable
    return info.value


async def failures(awaitable: Awaitable[object]) -> dict[str | None, CredentialsError]:
    """Give the errors of the group that it raises, by the names of their secrets."""
    with pytest.raises(ExceptionGroup) as info:
        await awaitable
    return {error.secret_name: error for error in info.value.exceptions if isinstance(error, CredentialsError)}


# Reading


async def test_name_arn_and_partial_arn(backend: Backend) -> None:
    """A secret is found by its name, its ARN, and its ARN without the hyphen and six characters that AWS adds."""
    seeded = backend.secrets.set(backend.name(), {"password": "canary"})
    assert re.fullmatch(rf"arn:aws:secretsmanager:[^:]+:\d{{12}}:secret:{seeded.name}-[A-Za-z0-9]{{6}}", seeded.arn)
    for asked in (seeded.name, seeded.arn, seeded.arn[: -len("-Abc123")]):
        async with backend.pool() as pool:
            secret = await pool.manager(asked).secret()
        assert (secret.name, secret.arn, secret.version_id) == (seeded.name, seeded.arn, seeded.version_id)
        assert secret.json() == {"password": "canary"}


async def test_a_name_that_ends_as_an_arn_does(backend: Backend) -> None:
    """An ARN that ends in a hyphen and six characters is a complete one, also if another secret's name ends so."""
    victim = backend.secrets.set(backend.name(), "victim")
    backend.names.append(victim.name + victim.arn[-len("-Abc123") :])
    other = backend.secrets.set(backend.names[-1], "other")
    async with backend.client() as client:
        for asked, value in ((victim.arn, "victim"), (other.arn, "other"), (other.name, "other")):
            assert (await client.get_secret_value(SecretId=asked))["SecretString"] == value
        answer = await client.batch_get_secret_value(SecretIdList=[victim.arn, other.name])
        assert [one["ARN"] for one in answer["SecretValues"]] == [victim.arn, other.arn]
        backend.secrets.delete(victim.name, force=True)
        if backend.is_moto:
            # moto takes it for the other one's partial ARN. AWS's rule is in the API reference of GetSecretValue.
            assert (await client.get_secret_value(SecretId=victim.arn))["ARN"] == other.arn
        else:
            with pytest.raises(ClientError, match=r"ResourceNotFoundException.*the specified secret\."):
                await client.get_secret_value(SecretId=victim.arn)


async def test_where_a_secret_comes_from(backend: Backend) -> None:
    """The answer has the version's id, its staging labels, and the time of its creation."""
    seeded = backend.secrets.set(backend.name(), "canary")
    async with backend.pool() as pool:
        secret = await pool.manager(seeded.name).secret()
    assert (secret.region, secret.version_stages) == (seeded.region_name, ("AWSCURRENT",))
    assert 32 <= len(secret.version_id) <= 64
    assert secret.created_at is not None
    assert abs(secret.created_at - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    "value", ["a", "pässwörd \U0001f511\n", "x" * 65_536, b"\x00\xff", b"y" * 65_536], ids=range(5)
)
async def test_text_and_binary(backend: Backend, value: str | bytes) -> None:
    """Text comes back as text and bytes as bytes, up to 65,536 of them."""
    name = backend.secrets.set(backend.name(), value).name
    async with backend.pool() as pool:
        secret = await pool.manager(name).secret()
    assert (secret.reveal() if isinstance(value, str) else secret.reveal_bytes()) == value


async def test_regions_are_apart(backend: Backend) -> None:
    """A secret lives in one region; there may be another by its name elsewhere."""
    if backend.kind == "endpoint":
        pytest.skip("an endpoint may be of one region")
    here = backend.secrets.set(backend.name(), "here", region_name="us-east-1")
    async with backend.pool() as pool:
        error = await failure(pool.manager(here.name, "eu-west-1").get())
        assert isinstance(error, SecretNotFoundError)
        there = backend.secrets.set(here.name, "there", region_name="eu-west-1")
        assert (await pool.manager(here.name).secret()).reveal() == "here"
        assert (await pool.manager(there.arn).secret()).reveal() == "there"
    assert ":eu-west-1:" in there.arn


# What isn't there


async def test_no_such_secret(backend: Backend) -> None:
    """A name and an ARN that nobody has are not found, in AWS's words."""
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:missing-AbCdEf"
    async with backend.pool() as pool:
        for asked in (backend.name(), arn):
            error = await failure(pool.manager(asked).get())
            assert isinstance(error, SecretNotFoundError)
            assert (error.code, error.secret_name) == ("ResourceNotFoundException", asked)
            assert NOT_FOUND in str(error)


async def test_no_such_version(backend: Backend) -> None:
    """A staging label or a version id that the secret doesn't have is not found, and the message names it."""
    name = backend.secrets.set(backend.name(), "canary").name
    missing = "11111111-2222-4333-8444-555555555555"
    async with backend.pool() as pool:
        manager = pool.manager(name)
        by_stage = await failure(manager.secret(version_stage="AWSPREVIOUS"))
        by_id = await failure(manager.secret(version_id=missing))
    assert isinstance(by_stage, SecretNotFoundError)
    assert isinstance(by_id, SecretNotFoundError)
    assert f"can't find the specified secret value for VersionId: {missing}" in str(by_id)
    # moto says that there is no secret. AWS's words are in aws/aws-sdk-js-v3, issue 7701.
    value = "can't find the specified secret value for staging label: AWSPREVIOUS"
    assert (NOT_FOUND if backend.is_moto else value) in str(by_stage)


async def test_a_label_that_the_version_does_not_have(backend: Backend) -> None:
    """A version id and a staging label that are given together must belong together (API reference, GetSecretValue)."""
    seeded = backend.secrets.set(backend.name(), "canary")
    assert seeded.version_id
    async with backend.pool() as pool:
        manager = pool.manager(seeded.name)
        fits = await manager.secret(version_id=seeded.version_id, version_stage="AWSCURRENT")
        error = await failure(manager.secret(version_id=seeded.version_id, version_stage="AWSPREVIOUS"))
    assert fits.version_id == seeded.version_id
    assert isinstance(error, InvalidRequestError)
    assert "You provided a VersionStage that is not associated to the provided VersionId." in str(error)


async def test_a_secret_without_a_value(backend: Backend) -> None:
    """A secret that has no value yet is there, and its current version is not found, singly and in a batch."""
    name = backend.secrets.set(backend.name(), None).name
    async with backend.pool() as pool:
        error = await failure(pool.manager(name).get())
        in_batch = await failures(pool.prefetch(name))
    assert isinstance(error, SecretNotFoundError)
    # moto says that there is no secret. AWS's words are in boto/boto3, issue 2794.
    value = "can't find the specified secret value for staging label: AWSCURRENT"
    assert (NOT_FOUND if backend.is_moto else value) in str(error)
    assert [type(each) for each in in_batch.values()] == [type(error)]
    backend.secrets.set(name, "canary")
    async with backend.pool() as pool:
        assert (await pool.manager(name).secret()).reveal() == "canary"


async def test_describe(backend: Backend) -> None:
    """A description has the versions with their labels, and no value; a secret that is to be deleted has one too."""
    first = backend.secrets.set(backend.name(), "first")
    second = backend.secrets.rotate(first.name, "second")
    async with backend.client() as client:
        answer = await client.describe_secret(SecretId=first.arn)
        assert (answer["Name"], answer["ARN"]) == (first.name, first.arn)
        assert answer["VersionIdsToStages"] == {first.version_id: ["AWSPREVIOUS"], second.version_id: ["AWSCURRENT"]}
        assert answer["CreatedDate"] <= datetime.now(UTC) + timedelta(minutes=5)
        assert "DeletedDate" not in answer
        backend.secrets.delete(first.name)
        assert (await client.describe_secret(SecretId=first.name))["DeletedDate"]
        with pytest.raises(ClientError, match=r"ResourceNotFoundException.*the specified secret\."):
            await client.describe_secret(SecretId=backend.name())


# What is refused


@pytest.mark.parametrize(
    ("parameters", "from_aws"),
    [({"version_id": "short"}, False), ({"version_id": "x" * 65}, True), ({"version_stage": "x" * 257}, True)],
    ids=["id too short", "id too long", "label too long"],
)
async def test_lengths(backend: Backend, parameters: dict[str, str], *, from_aws: bool) -> None:
    """An id has 32 to 64 characters, a label up to 256 (API reference); botocore refuses too few, AWS too many."""
    name = backend.secrets.set(backend.name(), "canary").name
    async with backend.pool() as pool:
        error = await failure(pool.manager(name).secret(**parameters))
    # moto measures nothing, and finds no such version.
    expected = SecretNotFoundError if from_aws and backend.is_moto else InvalidParameterError
    assert type(error).__mro__[1 if from_aws else 0] is expected
    assert (error.code is not None) is from_aws


async def test_a_name_that_cannot_be(backend: Backend) -> None:
    """A name with other characters than AWS allows is invalid, not missing."""
    async with backend.pool() as pool:
        error = await failure(pool.manager("white space").get())
    # moto finds no such secret. AWS's rule is in the API reference of CreateSecret.
    assert isinstance(error, SecretNotFoundError if backend.is_moto else InvalidParameterError)
    assert backend.is_moto or "Invalid name. Must be a valid name" in str(error)


# Rotation


async def test_labels_move(backend: Backend) -> None:
    """A rotation makes the new version AWSCURRENT and the old one AWSPREVIOUS; an older one is there by its id only."""
    first = backend.secrets.set(backend.name(), "first")
    second = backend.secrets.rotate(first.name, "second")
    third = backend.secrets.rotate(first.name, "third")
    assert len({first.version_id, second.version_id, third.version_id}) == 3
    assert first.version_id
    async with backend.pool() as pool:
        manager = pool.manager(first.name)
        current, previous = await manager.secret(), await manager.secret(version_stage="AWSPREVIOUS")
        oldest = await manager.secret(version_id=first.version_id)
    assert (current.version_id, current.reveal()) == (third.version_id, "third")
    assert (previous.version_id, previous.reveal()) == (second.version_id, "second")
    assert (oldest.version_id, oldest.reveal()) == (first.version_id, "first")
    assert [each.version_stages for each in (current, previous, oldest)] == [("AWSCURRENT",), ("AWSPREVIOUS",), ()]


async def test_a_new_value_is_current(backend: Backend) -> None:
    """Setting a secret again is as a rotation: the labels move."""
    first = backend.secrets.set(backend.name(), "first")
    backend.secrets.set(first.name, b"second")
    async with backend.pool() as pool:
        assert (await pool.manager(first.name).secret()).reveal_bytes() == b"second"
        previous = await pool.manager(first.name).secret(version_stage="AWSPREVIOUS")
    assert previous.version_id == first.version_id


async def test_a_rotation_that_is_not_finished(backend: Backend) -> None:
    """Until a rotation is finished the new version is AWSPENDING, and the old one is what readers get."""
    first = backend.secrets.set(backend.name(), "first")
    pending = backend.secrets.rotate(first.name, "second", promote=False)
    async with backend.pool() as pool:
        manager = pool.manager(first.name)
        assert (await manager.secret()).version_id == first.version_id
        waiting = await manager.secret(version_stage="AWSPENDING")
        assert (waiting.version_id, waiting.version_stages) == (pending.version_id, ("AWSPENDING",))
        assert backend.secrets.finish_rotation(first.name) == pending
        assert (await manager.refresh()).version_id == pending.version_id
        manager.invalidate()
        await pool.prefetch(first.name)
        assert (await manager.secret()).version_id == pending.version_id
    async with backend.pool() as pool:
        previous = await pool.manager(first.name).secret(version_stage="AWSPREVIOUS")
        error = await failure(pool.manager(first.name).secret(version_stage="AWSPENDING"))
    assert previous.version_id == first.version_id
    assert isinstance(error, SecretNotFoundError)
    with pytest.raises(ValueError, match="has no AWSPENDING version"):
        backend.secrets.finish_rotation(first.name)


# Deletion


async def test_deleted_and_restored(backend: Backend) -> None:
    """A secret that is scheduled for deletion isn't given out, by any name; restored, it is as it was."""
    seeded = backend.secrets.set(backend.name(), "canary")
    backend.secrets.delete(seeded.name)
    async with backend.pool() as pool:
        for asked in (seeded.name, seeded.arn):
            error = await failure(pool.manager(asked).get())
            assert isinstance(error, SecretDeletedError)
            assert error.code == "InvalidRequestException"
            # moto has words of its own.
            assert backend.is_moto or "because it was marked for deletion." in str(error)
        assert isinstance((await failures(pool.prefetch(seeded.name)))[seeded.name], SecretDeletedError)
    backend.secrets.restore(seeded.name)
    async with backend.pool() as pool:
        secret = await pool.manager(seeded.name).secret()
    assert (secret.version_id, secret.reveal()) == (seeded.version_id, "canary")


async def test_deleted_for_good(backend: Backend) -> None:
    """A secret that is gone isn't found; another by its name has another ARN."""
    old = backend.secrets.set(backend.name(), "old")
    backend.secrets.delete(old.name, force=True)
    async with backend.pool() as pool:
        assert isinstance(await failure(pool.manager(old.name).get()), SecretNotFoundError)
    new = backend.secrets.set(old.name, "new")
    assert new.arn != old.arn
    async with backend.pool() as pool:
        assert (await pool.manager(old.name).secret()).reveal() == "new"
        assert isinstance(await failure(pool.manager(old.arn).get()), SecretNotFoundError)


# Batches


async def test_batch(backend: Backend) -> None:
    """A batch brings what is there, by name and ARN, text and binary; each that isn't has an error of its own."""
    text, data = backend.secrets.set(backend.name(), "text"), backend.secrets.set(backend.name(), b"\xff")
    gone, missing = backend.secrets.set(backend.name(), "gone"), backend.name()
    backend.secrets.delete(gone.name)
    async with backend.pool() as pool:
        found = await failures(pool.prefetch(text.name, data.arn, gone.name, missing))
        assert pool.stats().fetches == 4
        assert (await pool.manager(text.arn).secret()).reveal() == "text"
        assert (await pool.manager(data.name).secret()).reveal_bytes() == b"\xff"
        assert pool.stats().fetches == 4
    assert {name: error.code for name, error in found.items()} == {
        gone.name: "InvalidRequestException",
        missing: "ResourceNotFoundException",
    }
    assert isinstance(found[gone.name], SecretDeletedError)
    assert NOT_FOUND in str(found[missing])


async def test_a_name_that_is_too_long_in_a_batch(backend: Backend) -> None:
    """A name that breaks the model of the API, of 2,048 characters at most, fails the whole batch."""
    good = backend.secrets.set(backend.name(), "good")
    async with backend.client() as client:
        asked = client.batch_get_secret_value(SecretIdList=[good.name, "x" * 2049])
        if backend.is_moto:
            # moto measures nothing, and finds no such secret.
            assert len((await asked)["SecretValues"]) == 1
        else:
            with pytest.raises(ClientError, match=r"ValidationException.*length less than or equal to 2048"):
                await asked
