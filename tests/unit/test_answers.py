"""An answer of AWS becomes the error of its code, in AWS's words; a page of a proxy is no answer of AWS."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from aiocredentials import (
    AccessDeniedError,
    AuthenticationError,
    AWSError,
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRequestError,
    MalformedResponseError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretNotFoundError,
    ThrottledError,
    errors,
)
from aiocredentials._aws.answered_errors import SIGN_AGAIN, classes_by_name, from_answer
from aiocredentials._aws.mapping import map_error
from unit.foreign_errors import CANARY, client_error, everything

TRANSIENT = {InternalServiceError, ThrottledError, EndpointUnreachableError}

# The design's table. Each code is tried in both spellings.
CODES = {
    "ResourceNotFoundException": SecretNotFoundError,
    "DecryptionFailure": SecretDecryptionError,
    "KMSDisabledException": SecretDecryptionError,
    "KMSInvalidStateException": SecretDecryptionError,
    "KMSNotFoundException": SecretDecryptionError,
    "KMSAccessDeniedException": SecretDecryptionError,
    "IncorrectKeyException": SecretDecryptionError,
    "InvalidParameterException": InvalidParameterError,
    "ValidationException": InvalidParameterError,
    "InvalidRequestException": InvalidRequestError,
    "InternalServiceError": InternalServiceError,
    "InternalFailure": InternalServiceError,
    "ServiceUnavailable": InternalServiceError,
    "ThrottlingException": ThrottledError,
    "TooManyRequestsException": ThrottledError,
    "RequestLimitExceeded": ThrottledError,
    "ProvisionedThroughputExceededException": ThrottledError,
    "AccessDeniedException": AccessDeniedError,
    "UnrecognizedClientException": AuthenticationError,
    "ExpiredTokenException": AuthenticationError,
    "InvalidSignatureException": AuthenticationError,
    "InvalidClientTokenId": AuthenticationError,
    "RequestInTheFuture": AuthenticationError,
    "RequestTimeout": EndpointUnreachableError,
}
SPELLINGS = sorted(
    (spelling, cls)
    for code, cls in CODES.items()
    for spelling in {code.removesuffix("Exception"), code.removesuffix("Exception") + "Exception"}
)


@pytest.mark.parametrize(("code", "expected"), SPELLINGS)
def test_codes(code: str, expected: type[CredentialsError]) -> None:
    """Each code becomes its class, with and without the suffix `Exception`; AWS was asked for the secret."""
    mapped = map_error(client_error(code))
    assert isinstance(mapped, expected)
    assert mapped.code == code
    assert mapped.transient is (expected in TRANSIENT)
    assert mapped.asked


@pytest.mark.parametrize("code", sorted(SIGN_AGAIN))
def test_codes_to_sign_again(code: str) -> None:
    """If signing again doesn't help either, the error says that AWS refused the credentials."""
    assert isinstance(map_error(client_error(code)), AuthenticationError)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (300, MalformedResponseError),
        (307, MalformedResponseError),
        (400, AWSError),
        (404, AWSError),
        (429, ThrottledError),
        (499, AWSError),
        (500, InternalServiceError),
        (503, InternalServiceError),
        (0, AWSError),
    ],
)
def test_unknown_codes_go_by_status(status: int, expected: type[CredentialsError]) -> None:
    """The status speaks for a code that nobody knows, and only then."""
    mapped = map_error(client_error("FromTomorrowException", status=status))
    assert type(mapped) is errors._TWINS[expected]
    assert isinstance(map_error(client_error("AccessDenied", status=status)), AccessDeniedError)


@pytest.mark.parametrize(
    "message",
    [
        "You can't perform this operation on the secret because it was marked for deletion.",
        "You can't perform this operation on the secret because it was deleted.",
        "An invalid request: the secret is currently marked deleted.",
    ],
)
def test_deleted(message: str) -> None:
    """A secret that is scheduled for deletion has a class of its own, below InvalidRequestError."""
    mapped = map_error(client_error("InvalidRequestException", message))
    assert isinstance(mapped, SecretDeletedError)
    assert isinstance(mapped, InvalidRequestError)
    assert "restore" in str(mapped)
    assert not isinstance(map_error(client_error("InvalidRequestException", "Rotating.")), SecretDeletedError)


def test_an_answer_is_a_client_error() -> None:
    """An error that AWS answered is caught by both names, and has AWS's words, the facts, and what to do."""
    said = "Secrets Manager can't find the specified secret."
    mapped = map_error(
        client_error("ResourceNotFoundException", said),
        secret_name="prod/db",
        region_name="eu-west-1",
        region_source="AWS_REGION",
    )
    assert isinstance(mapped, SecretNotFoundError)
    assert isinstance(mapped, ClientError)
    assert mapped.response["Error"] == {"Code": "ResourceNotFoundException", "Message": said}
    assert mapped.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert mapped.operation_name == "GetSecretValue"
    facts = (
        mapped.secret_name,
        mapped.region_name,
        mapped.region_source,
        mapped.code,
        mapped.request_id,
    )
    assert facts == ("prod/db", "eu-west-1", "AWS_REGION", "ResourceNotFoundException", "request-1")
    for words in (
        "ResourceNotFoundException",
        said,
        "'prod/db'",
        "'eu-west-1' (from AWS_REGION)",
        "wrong region",
    ):
        assert words in str(mapped)
    assert CANARY not in everything(mapped)  # botocore's response had it beside the error


@pytest.mark.parametrize("operation", ["GetSecretValue", "GetRoleCredentials"])
@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=utf-8", "application/xml"])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, MalformedResponseError),
        (302, MalformedResponseError),
        (400, MalformedResponseError),
        (401, MalformedResponseError),
        (403, MalformedResponseError),
        (404, MalformedResponseError),
        (407, MalformedResponseError),
        (429, ThrottledError),
        (500, InternalServiceError),
        (503, InternalServiceError),
    ],
)
def test_a_page(status: int, expected: type[CredentialsError], content_type: str, operation: str) -> None:
    """A body that isn't AWS's is never AWS's answer: it is transient, whatever its status, and isn't in the error."""
    page = client_error(str(status), f"<p>{CANARY}</p>", status, operation, **{"content-type": content_type})
    mapped = map_error(page)
    assert isinstance(mapped, expected if operation == "GetSecretValue" else CredentialSourceError)
    assert mapped.transient
    assert f"HTTP status {status}" in str(mapped)
    assert CANARY not in everything(mapped)


def test_a_page_that_only_claims_to_be_json() -> None:
    """The same where the header promises JSON: the code that botocore makes up is the status then."""
    mapped = map_error(client_error("403", CANARY, 403))
    assert type(mapped) is errors._TWINS[MalformedResponseError]
    assert CANARY not in everything(mapped)


def test_a_page_with_a_code_in_a_header() -> None:
    """A header that replaces the code is believed by botocore, and not by us: a body of JSON has one."""
    headers = {"x-amzn-query-error": "AccessDenied;Sender"}
    mapped = map_error(client_error("AccessDenied", CANARY, 403, **headers))
    assert type(mapped) is errors._TWINS[MalformedResponseError]
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize("code", ["no code at all", "<html>", ["a"], {"a": 1}, ""], ids=range(5))
def test_a_code_that_is_none(code: object) -> None:
    """What stands where a code should, and isn't one, is left out: it may be anything, and isn't AWS's."""
    error = map_error(client_error(cast("str", code)))
    assert (type(error).__name__, error.code) == ("MalformedResponseError", "Unknown")
    assert not code or str(code) not in str(error)


def test_a_message_that_is_none() -> None:
    """A message of another type than text isn't AWS's either."""
    error = map_error(client_error("AccessDenied", cast("str", {"a": CANARY})))
    assert type(error).__name__ == "MalformedResponseError"
    assert CANARY not in everything(error)


def test_an_answer_with_nothing_in_it() -> None:
    """An answer without an error, headers or metadata is mapped all the same."""
    empty: Any = {}
    mapped = map_error(ClientError(empty, "GetSecretValue"))
    assert isinstance(mapped, MalformedResponseError)
    assert (mapped.code, mapped.request_id) == ("Unknown", None)


def test_a_batch_entry() -> None:
    """An entry of a batch has no HTTP answer of its own; a code that nobody knows is AWS's all the same."""
    entry = {"Error": {"Code": "FromTomorrowException", "Message": "No."}}
    assert type(from_answer(entry, "BatchGetSecretValue")).__name__ == "AWSError"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "InvalidSignatureException",
            "Signature expired: 20261126T040404Z is now earlier than 20261126T041904Z",
        ),
        (
            "InvalidSignatureException",
            "Signature not yet current: 20261126T050404Z is still later than 20261126T0405Z",
        ),
        (
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        ("RequestExpired", "Request has expired."),
        ("RequestInTheFuture", "Request is in the future."),
    ],
)
@pytest.mark.parametrize("operation", ["GetSecretValue", "AssumeRole"])
def test_the_clock(code: str, message: str, operation: str) -> None:
    """A signature that is too old or too young is a matter of this host's clock, and the advice says so."""
    mapped = map_error(client_error(code, message, 403, operation))
    assert isinstance(mapped, AuthenticationError)
    assert not mapped.transient
    assert "Set the clock of this host" in str(mapped)


def test_a_signature_that_is_wrong() -> None:
    """Another fault of the signature has nothing to do with the clock."""
    mapped = map_error(client_error("SignatureDoesNotMatch", "The signature we calculated doesn't match."))
    assert "clock" not in str(mapped)
    assert "python -m aiocredentials doctor" in str(mapped)


def test_a_region_that_is_spelt_in_capitals() -> None:
    """DNS doesn't tell upper from lower case, and the signature does: AWS's words about it point to the region."""
    message = "Credential should be scoped to a valid region."
    mapped = map_error(client_error("InvalidSignatureException", message), region_name="US-EAST-1")
    assert "Correct the region where it was set. Names of regions are case-sensitive." in str(mapped)


@pytest.mark.parametrize(
    ("message", "named", "advice"),
    [
        ("for staging label: AWSPENDING", "'AWSPENDING'", "wait for the rotation"),
        ("for staging label: AWSCURRENT", "'AWSCURRENT'", "put a value into the secret"),
        ("for VersionId: 8f1cb5a5-1111", "'8f1cb5a5-1111'", "ask for a staging label"),
    ],
)
def test_a_version_that_is_missing(message: str, named: str, advice: str) -> None:
    """A missing label or version is named, and the advice is about it: name and region have been right."""
    said = f"Secrets Manager can't find the specified secret value {message}"
    mapped = map_error(client_error("ResourceNotFoundException", said), secret_name="prod/db")
    assert isinstance(mapped, SecretNotFoundError)
    assert not mapped.transient
    for words in (said, named, advice):
        assert words in str(mapped)
    assert SecretNotFoundError.advice not in str(mapped)
    assert SecretNotFoundError.advice in str(map_error(client_error("ResourceNotFoundException", "No.")))


def test_the_words_of_aws_are_one_line() -> None:
    """A sentence of AWS's is shown as one line and isn't endless; the response has it as it was."""
    said = f"first\nsecond \x1b[31mred {'x' * 5000} last"
    mapped = map_error(client_error("AccessDeniedException", said))
    assert "first\\nsecond \\x1b[31mred xxx" in str(mapped)
    assert "xxx last" in str(mapped)
    assert len(str(mapped)) < 1500
    assert cast("ClientError", mapped).response["Error"]["Message"] == said


def test_the_registry_refuses_duplicates() -> None:
    """A code that is in the table twice is a mistake that is found at import."""
    with pytest.raises(AssertionError, match="Twice is in the table twice"):
        classes_by_name({ThrottledError: "Once Twice", AWSError: "Twice"})
