"""Sentences on AWS credentials and settings that no set-up in `test_setups` leads to with each botocore."""

from __future__ import annotations

import difflib
from typing import Any, NoReturn

import pytest
from botocore.exceptions import BotoCoreError

from aiocredentials import (
    AuthenticationError,
    CredentialSourceError,
    InvalidParameterError,
    InvalidRegionError,
)
from aiocredentials._aws.mapping import map_error, map_opening_error
from aiocredentials._aws.regions import Region, hint_if_unlisted, may_be_a_region, nearest_region, wrong_region_error
from unit.foreign_errors import CANARY, botocore_error, everything, through


def newer(name: str, base: type[Exception] = BotoCoreError, **fields: object) -> Exception:
    """Make an error of a class that the installed botocore may not have."""
    made: Any = type(name, (base,), {"fmt": CANARY})
    error: Exception = made(**fields)
    return error


LoginError = type("LoginError", (BotoCoreError,), {"fmt": CANARY})


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (
            newer("LoginError"),
            AuthenticationError,
            "the session of aws login has ended, or isn't valid (profile 'dev')",
        ),
        (
            newer("LoginRefreshRequired", LoginError),
            AuthenticationError,
            "Sign in: aws login --profile dev",
        ),
        (
            newer("LoginTokenLoadError", LoginError, error_msg="No token."),
            AuthenticationError,
            "No token (profile 'dev')",
        ),
        (
            newer("LoginInsufficientPermissions", LoginError),
            AuthenticationError,
            "Allow it signin:CreateOAuth2Token",
        ),
        (
            botocore_error("PartialCredentialsError", provider="explicit", cred_var="aws_secret_access_key"),
            AuthenticationError,
            "the session has no aws_secret_access_key",
        ),
        (
            botocore_error("ConfigNotFound"),
            AuthenticationError,
            "there is no file '/etc/aws/config'",
        ),
        (
            botocore_error("UnknownCredentialError", name="x"),
            AuthenticationError,
            "there is no credential_source 'x'",
        ),
        (
            botocore_error("RefreshWithMFAUnsupportedError"),
            AuthenticationError,
            "profile 'dev' needs a code of an MFA",
        ),
        (
            botocore_error("MissingDependencyException", msg="install x."),
            AuthenticationError,
            "is missing: install x. ",
        ),
        (botocore_error("SSOError"), AuthenticationError, "SSOError (profile 'dev')"),
        (botocore_error("NoAuthTokenError"), AuthenticationError, "NoAuthTokenError"),
        (
            botocore_error("MetadataRetrievalError"),
            CredentialSourceError,
            "the metadata service returned none. ",
        ),
        (
            botocore_error(
                "MetadataRetrievalError",
                error_msg=f"Received non 200 response 502 from it: {CANARY}",
            ),
            CredentialSourceError,
            "the metadata service returned none (it answered with HTTP status 502)",
        ),
        (
            botocore_error(
                "CredentialRetrievalError",
                provider="container-role",
                error_msg="non 200 response 401 ",
            ),
            CredentialSourceError,
            "the endpoint in AWS_CONTAINER_CREDENTIALS_FULL_URI returned none (it answered with HTTP status 401)",
        ),
        (
            botocore_error("CredentialRetrievalError", provider="from-tomorrow"),
            CredentialSourceError,
            "their source 'from-tomorrow' has none for profile 'dev'. ",
        ),
        (
            botocore_error("ConfigParseError", error=ValueError(CANARY)),
            AuthenticationError,
            "can't be parsed. ",
        ),
    ],
)
@pytest.mark.parametrize("map_one", [map_error, map_opening_error])
def test_credentials(error: BaseException, expected: type[AuthenticationError], words: str, map_one: Any) -> None:  # noqa: ANN401 (two overloads)
    """The class says whether it may be over soon, the sentence what it is about."""
    mapped = map_one(error, profile="dev")
    assert type(mapped) is expected
    assert words in str(mapped)
    assert not mapped.asked
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (botocore_error("InvalidMaxRetryAttemptsError", min_value=0), "AWS_MAX_ATTEMPTS"),
        (
            botocore_error("InvalidRetryModeError", valid_modes=("legacy", "standard")),
            "Use one of legacy, standard.",
        ),
        (botocore_error("InvalidRetryConfigurationError"), "InvalidRetryConfigurationError"),
        (
            botocore_error("EndpointResolutionError", msg="FIPS and custom endpoint are not supported"),
            "FIPS and custom",
        ),
        (
            botocore_error("UnknownServiceError", service_name="x", known_service_names="y"),
            "be used: UnknownServiceError. ",
        ),
        (
            botocore_error("DataNotFoundError", data_path="secretsmanager/service"),
            "be used: secretsmanager/service.",
        ),
        (
            botocore_error("ParamValidationError"),
            "botocore refuses the request before it is sent: a parameter. ",
        ),
        (
            botocore_error(
                "ParamValidationError",
                report=f"Invalid length for parameter VersionId, value: {CANARY}\nInvalid type for parameter SecretId, "
                f'value: {CANARY}\nUnknown parameter in input: "Sekret", must be one of: x',
            ),
            "refuses the request before it is sent: VersionId, SecretId, Sekret. ",
        ),
    ],
)
def test_settings(error: BaseException, words: str) -> None:
    """A setting is named, and so is what it may be; its value isn't."""
    for mapped in (map_error(error), map_opening_error(error)):
        assert type(mapped) is InvalidParameterError
        assert (mapped.transient, mapped.asked) == (False, False)
        assert words in str(mapped)
        assert CANARY not in everything(mapped)


def test_a_parameter_of_the_chain_without_a_name() -> None:
    """Where botocore's report names no parameter, the sentence is whole all the same."""
    mapped = map_error(through("aiobotocore.credentials", botocore_error("ParamValidationError")))
    assert "the value of one of the settings is malformed, or out of range (the default profile)" in str(mapped)
    assert CANARY not in everything(mapped)


def test_too_many_open_files() -> None:
    """A program that can't be started for want of files may be started a little later."""
    raised = through("aiobotocore.credentials", OSError(24, "Too many open files"), "_retrieve_credentials_using")
    mapped = map_error(raised)
    assert type(mapped) is CredentialSourceError
    assert "can't be started: Too many open files" in str(mapped)


# Regions


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Ireland", "eu-west-1"),
        ("frankfurt", "eu-central-1"),
        ("Hong Kong", "ap-east-1"),
        (" US-EAST-1\n", "us-east-1"),
        ("EU-Central1", "eu-central-1"),
        ("eu_west_1", "eu-west-1"),
    ],
)
def test_what_was_meant(typed: str, meant: str) -> None:
    """A region is found by its place or by its spelling, in any case."""
    assert nearest_region(typed) == meant


def test_isolated_regions_are_not_meant() -> None:
    """What only an isolated partition has is nobody's typing mistake."""
    assert "iso" not in nearest_region("isob")


@pytest.mark.parametrize("name", ["us-east-9", "il-central-1", "us-iso-east-1", "eusc-de-east-1", "us-gov-west-9"])
def test_the_shape_of_a_region(name: str) -> None:
    """A name may be a region's if the regions of a partition look like it, whether botocore lists it or not."""
    assert may_be_a_region(name)
    assert bool(hint_if_unlisted(name)) is name.endswith("9")


@pytest.mark.parametrize(
    "name", ["Ireland", "eu-west1", "eu_west_1", "us-east-1\n", "", "us-east-1.example", "x" * 2000]
)
def test_no_shape_of_a_region(name: str) -> None:
    """All else can't be a region."""
    assert not may_be_a_region(name)


def test_a_region_that_goes_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that no host can have isn't compared with others, which would take long, and isn't shown whole."""

    def compare(*_: object) -> NoReturn:
        pytest.fail("it is compared")

    monkeypatch.setattr(difflib, "SequenceMatcher", compare)
    error = wrong_region_error(Region("x" * 2000, "the secret's ARN"))
    assert type(error) is InvalidRegionError
    assert "did you mean" not in str(error)
    assert len(str(error)) < 800


def test_a_password_in_an_endpoint() -> None:
    """The URL that would have been asked is shown without a user and a password."""
    error = wrong_region_error(Region("x_y", "the pool"), f"https://user:{CANARY}@vpce-1.example/")
    assert "https://vpce-1.example/ would have been asked" in str(error)
    assert CANARY not in everything(error)
