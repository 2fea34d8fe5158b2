"""What botocore, aiohttp and the system raise becomes one of our errors: whose refusal it was, and no value in it."""

from __future__ import annotations

import inspect
import socket
import ssl
from typing import TYPE_CHECKING, Any, cast

import botocore.exceptions
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
    InvalidRegionError,
    InvalidRequestError,
    MalformedResponseError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretExpiredError,
    SecretFormatError,
    SecretNotFoundError,
    ThrottledError,
    errors,
)
from aiocredentials._aws import answers as _answers, mapping as _mapping
from aiocredentials._aws.credential_findings import CREDENTIALS
from aiocredentials._aws.findings import SETTINGS
from aiocredentials._aws.origins import frames, linked_errors
from unit.foreign_errors import (
    CANARY,
    NAMED,
    WORDED,
    botocore_error,
    client_error,
    everything,
    through,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSIENT = {
    CredentialSourceError, InternalServiceError, ThrottledError, EndpointUnreachableError, MalformedResponseError,
    SecretExpiredError,
}  # fmt: skip
CHAIN = "aiobotocore.credentials"

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
    mapped = _mapping.map_error(client_error(code))
    assert isinstance(mapped, expected)
    assert mapped.code == code
    assert mapped.transient is (expected in TRANSIENT)
    assert mapped.asked


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
    mapped = _mapping.map_error(client_error("FromTomorrowException", status=status))
    assert type(mapped) is errors._TWINS[expected]
    assert isinstance(_mapping.map_error(client_error("AccessDenied", status=status)), AccessDeniedError)


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
    mapped = _mapping.map_error(client_error("InvalidRequestException", message))
    assert isinstance(mapped, SecretDeletedError)
    assert isinstance(mapped, InvalidRequestError)
    assert "restore" in str(mapped)
    assert not isinstance(_mapping.map_error(client_error("InvalidRequestException", "Rotating.")), SecretDeletedError)


# Answers


def test_an_answer_is_a_client_error() -> None:
    """An error that AWS answered is caught by both names, and has AWS's words, the facts, and what to do."""
    said = "Secrets Manager can't find the specified secret."
    mapped = _mapping.map_error(
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
    mapped = _mapping.map_error(page)
    assert isinstance(mapped, expected if operation == "GetSecretValue" else CredentialSourceError)
    assert mapped.transient
    assert f"HTTP status {status}" in str(mapped)
    assert CANARY not in everything(mapped)


def test_a_page_that_only_claims_to_be_json() -> None:
    """The same where the header promises JSON: the code that botocore makes up is the status then."""
    mapped = _mapping.map_error(client_error("403", CANARY, 403))
    assert type(mapped) is errors._TWINS[MalformedResponseError]
    assert CANARY not in everything(mapped)


def test_a_page_with_a_code_in_a_header() -> None:
    """A header that replaces the code is believed by botocore, and not by us: a body of JSON has one."""
    headers = {"x-amzn-query-error": "AccessDenied;Sender"}
    mapped = _mapping.map_error(client_error("AccessDenied", CANARY, 403, **headers))
    assert type(mapped) is errors._TWINS[MalformedResponseError]
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize("code", ["no code at all", "<html>", ["a"], {"a": 1}, ""], ids=range(5))
def test_a_code_that_is_none(code: object) -> None:
    """What stands where a code should, and isn't one, is left out: it may be anything, and isn't AWS's."""
    error = _mapping.map_error(client_error(cast("str", code)))
    assert (type(error).__name__, error.code) == ("MalformedResponseError", "Unknown")
    assert not code or str(code) not in str(error)


def test_a_message_that_is_none() -> None:
    """A message of another type than text isn't AWS's either."""
    error = _mapping.map_error(client_error("AccessDenied", cast("str", {"a": CANARY})))
    assert type(error).__name__ == "MalformedResponseError"
    assert CANARY not in everything(error)


def test_an_answer_with_nothing_in_it() -> None:
    """An answer without an error, headers or metadata is mapped all the same."""
    empty: Any = {}
    mapped = _mapping.map_error(ClientError(empty, "GetSecretValue"))
    assert isinstance(mapped, MalformedResponseError)
    assert (mapped.code, mapped.request_id) == ("Unknown", None)


def test_a_batch_entry() -> None:
    """An entry of a batch has no HTTP answer of its own; a code that nobody knows is AWS's all the same."""
    entry = {"Error": {"Code": "FromTomorrowException", "Message": "No."}}
    assert type(_answers.from_answer(entry, "BatchGetSecretValue")).__name__ == "AWSError"


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
    mapped = _mapping.map_error(client_error(code, message, 403, operation))
    assert isinstance(mapped, AuthenticationError)
    assert not mapped.transient
    assert "Set the clock of this host" in str(mapped)


def test_a_signature_that_is_wrong() -> None:
    """Another fault of the signature has nothing to do with the clock."""
    mapped = _mapping.map_error(client_error("SignatureDoesNotMatch", "The signature we calculated doesn't match."))
    assert "clock" not in str(mapped)
    assert "python -m aiocredentials doctor" in str(mapped)


def test_a_region_that_is_spelt_in_capitals() -> None:
    """DNS doesn't tell upper from lower case, and the signature does: AWS's words about it point to the region."""
    message = "Credential should be scoped to a valid region."
    mapped = _mapping.map_error(client_error("InvalidSignatureException", message), region_name="US-EAST-1")
    assert "Correct the region where it was set. Upper and lower case count." in str(mapped)


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
    mapped = _mapping.map_error(client_error("ResourceNotFoundException", said), secret_name="prod/db")
    assert isinstance(mapped, SecretNotFoundError)
    assert not mapped.transient
    for words in (said, named, advice):
        assert words in str(mapped)
    assert SecretNotFoundError.advice not in str(mapped)
    assert SecretNotFoundError.advice in str(_mapping.map_error(client_error("ResourceNotFoundException", "No.")))


def test_the_words_of_aws_are_one_line() -> None:
    """A sentence of AWS's is shown as one line and isn't endless; the response has it as it was."""
    said = f"first\nsecond \x1b[31mred {'x' * 5000} last"
    mapped = _mapping.map_error(client_error("AccessDeniedException", said))
    assert "first\\nsecond \\x1b[31mred xxx" in str(mapped)
    assert "xxx last" in str(mapped)
    assert len(str(mapped)) < 1500
    assert cast("ClientError", mapped).response["Error"]["Message"] == said


# Errors about AWS credentials


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, AuthenticationError),
        ("AccessDeniedException", 403, AuthenticationError),
        ("ForbiddenException", 403, AuthenticationError),
        ("UnauthorizedException", 401, AuthenticationError),
        ("ResourceNotFoundException", 404, AuthenticationError),
        ("InvalidRequestException", 400, AuthenticationError),
        ("ValidationError", 400, AuthenticationError),
        ("ExpiredTokenException", 400, AuthenticationError),
        ("InvalidIdentityToken", 400, AuthenticationError),
        ("InvalidClientTokenId", 403, AuthenticationError),
        ("RegionDisabledException", 403, AuthenticationError),
        ("FromTomorrow", 400, AuthenticationError),
        ("IDPCommunicationError", 400, CredentialSourceError),
        ("Throttling", 400, CredentialSourceError),
        ("TooManyRequestsException", 429, CredentialSourceError),
        ("ServiceUnavailable", 503, CredentialSourceError),
        ("RequestTimeout", 400, CredentialSourceError),
        ("FromTomorrow", 500, CredentialSourceError),
    ],
)
@pytest.mark.parametrize(
    "operation",
    [
        "AssumeRole",
        "AssumeRoleWithWebIdentity",
        "GetRoleCredentials",
        "CreateToken",
        "CreateOAuth2Token",
    ],
)
def test_an_answer_about_credentials(
    code: str, status: int, expected: type[AuthenticationError], operation: str
) -> None:
    """What STS or SSO answer is about AWS credentials, in their words, and never about the secret."""
    said = "User: arn:aws:iam::1:user/me is not authorized to perform: sts:AssumeRole"
    content_type = "text/xml" if operation.startswith("Assume") else "application/json"
    answer = client_error(code, said, status, operation, **{"content-type": content_type})
    mapped = _mapping.map_error(answer, profile="dev", secret_name="prod/db")
    assert type(mapped) is errors._TWINS[expected]
    assert isinstance(mapped, AuthenticationError)
    assert mapped.transient is (expected is CredentialSourceError)
    assert not mapped.asked
    assert mapped.code == code
    text = str(mapped)
    assert text.startswith(
        f"No AWS credentials could be loaded: an error occurred ({code}) when calling the {operation} "
    )
    assert said in text
    assert "profile 'dev'" in text
    assert "GetSecretValue" not in text
    assert SecretNotFoundError.advice not in text


@pytest.mark.parametrize(
    ("operation", "code", "advice"),
    [
        ("AssumeRole", "AccessDenied", "let the role's trust policy allow sts:AssumeRole"),
        (
            "AssumeRole",
            "ExpiredToken",
            "Renew the credentials that the profile uses to assume the role",
        ),
        (
            "AssumeRoleWithWebIdentity",
            "AccessDenied",
            "AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
        (
            "AssumeRoleWithWebIdentity",
            "ExpiredTokenException",
            "renews the token in AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
        ("GetRoleCredentials", "ForbiddenException", "sso_account_id and sso_role_name"),
        ("GetRoleCredentials", "UnauthorizedException", "python -m aiocredentials doctor"),
        ("CreateOAuth2Token", "AccessDeniedException", "python -m aiocredentials doctor"),
        ("AssumeRole", "Throttling", CredentialSourceError.advice),
    ],
)
def test_what_to_do_about_credentials(operation: str, code: str, advice: str) -> None:
    """The advice is about the role, the token or the account, as the operation has it."""
    headers = {"content-type": "text/xml" if operation.startswith("Assume") else "application/json"}
    mapped = _mapping.map_error(client_error(code, "No.", 400, operation, **headers))
    assert advice in mapped.advice
    assert str(mapped).endswith(mapped.advice)


def test_the_way_shows_what_was_asked() -> None:
    """Whatever the operation: an answer that came while credentials were loaded is about credentials."""
    answer = through(CHAIN, client_error("AccessDeniedException", operation="FromTomorrow"))
    assert type(_mapping.map_error(answer)) is errors._TWINS[AuthenticationError]
    assert type(_mapping.map_error(client_error("AccessDeniedException"))) is errors._TWINS[AccessDeniedError]
    at_opening = _mapping.map_opening_error(client_error("AccessDeniedException", operation="FromTomorrow"))
    assert type(at_opening) is errors._TWINS[AuthenticationError]


def test_another_errors_way() -> None:
    """A caller's own error that is being handled has nothing to do with ours, though Python chains them."""
    theirs = through(CHAIN, botocore.exceptions.NoCredentialsError())
    ours = ConnectionResetError(104, "Connection reset by peer")
    ours.__context__ = theirs
    assert type(_mapping.map_error(ours)) is EndpointUnreachableError
    ours.__cause__ = theirs
    assert type(_mapping.map_error(ours)) is CredentialSourceError


@pytest.mark.parametrize("opening", [False, True], ids=["call", "opening"])
@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (
            botocore_error("EndpointConnectionError", endpoint_url="https://sts.eu-west-1.amazonaws.com/"),
            True,
            "sts.eu-",
        ),
        (
            botocore_error("ReadTimeoutError", endpoint_url="https://u:p@sts.eu-west-1.amazonaws.com/"),
            True,
            ": ReadT",
        ),
        (botocore_error("ProxyConnectionError"), True, "their source"),
        (
            botocore_error("ConnectTimeoutError", endpoint_url="http://[::bad"),
            True,
            "ConnectTimeoutError",
        ),
        (botocore_error("HTTPClientError"), True, "HTTPClientError"),
        (botocore_error("CapacityNotAvailableError"), True, "CapacityNotAvailableError"),
        (errors.RedirectError(why="it answered with a redirect"), True, "a redirect"),
        (ConnectionResetError(104, "Connection reset by peer"), True, "Connection reset by peer"),
        (TimeoutError(), True, "TimeoutError"),
        (botocore_error("NoCredentialsError"), True, "none were found"),
        (botocore_error("MetadataRetrievalError"), True, "metadata service"),
        (
            botocore_error("CredentialRetrievalError", provider="iam-role"),
            True,
            "EC2 metadata service",
        ),
        (botocore_error("TokenRetrievalError"), True, "couldn't be renewed"),
        (botocore_error("ProfileNotFound"), False, "profile 'dev'"),
        (botocore_error("UnauthorizedSSOTokenError"), False, "aws sso login"),
        (
            FileNotFoundError(2, "No such file or directory", "/var/run/token"),
            True,
            "/var/run/token",
        ),
        (
            RuntimeError("the refreshed credentials are still expired."),
            True,
            "have expired already",
        ),
        (ValueError("Auth token value is not a legal header value"), False, "line end"),
        (botocore_error("NoRegionError"), False, "AWS_DEFAULT_REGION"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_of_the_chain(error: BaseException, expected: bool, words: str, opening: bool) -> None:  # noqa: FBT001 (a table)
    """The source of the AWS credentials is out of order: transient. They are set up wrongly: permanent."""
    raised = through(CHAIN, error)
    mapped = (_mapping.map_opening_error if opening else _mapping.map_error)(raised)
    assert type(mapped) is (CredentialSourceError if expected else AuthenticationError)
    assert (mapped.transient, mapped.asked) == (expected, False)
    assert str(mapped).startswith("No AWS credentials could be loaded: ")
    assert words in str(mapped)
    assert "u:p" not in str(mapped)
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize("error", [KeyError(CANARY), EOFError(), RuntimeError(CANARY), ValueError(CANARY)], ids=repr)
def test_what_nobody_foresaw_in_the_chain(error: Exception) -> None:
    """At opening it is a matter of the configuration; in a call credentials are renewed, so there have been some."""
    raised = through(CHAIN, error)
    at_opening, in_a_call = (
        _mapping.map_opening_error(raised, profile="dev"),
        _mapping.map_error(raised),
    )
    assert (type(at_opening), type(in_a_call)) == (AuthenticationError, CredentialSourceError)
    for mapped in (at_opening, in_a_call):
        assert type(error).__name__ in str(mapped)
        assert not mapped.asked
        assert CANARY not in everything(mapped)
    assert "profile 'dev'" in str(at_opening)


# Errors without an answer


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ParamValidationError", InvalidParameterError),
        ("InvalidRetryModeError", InvalidParameterError),
        ("InvalidMaxRetryAttemptsError", InvalidParameterError),
        ("InvalidProxiesConfigError", InvalidParameterError),
        ("NoCredentialsError", CredentialSourceError),
        ("CredentialRetrievalError", CredentialSourceError),
        ("MetadataRetrievalError", CredentialSourceError),
        ("TokenRetrievalError", CredentialSourceError),
        ("PartialCredentialsError", AuthenticationError),
        ("SSOTokenLoadError", AuthenticationError),
        ("UnauthorizedSSOTokenError", AuthenticationError),
        ("ProfileNotFound", AuthenticationError),
        ("ConfigParseError", AuthenticationError),
        ("InfiniteLoopConfigError", AuthenticationError),
        ("NoRegionError", InvalidRegionError),
        ("InvalidRegionError", InvalidRegionError),
        ("EndpointConnectionError", EndpointUnreachableError),
        ("ConnectionClosedError", EndpointUnreachableError),
        ("ConnectTimeoutError", EndpointUnreachableError),
        ("ReadTimeoutError", EndpointUnreachableError),
        ("SSLError", EndpointUnreachableError),
        ("ProxyConnectionError", EndpointUnreachableError),
        ("HTTPClientError", EndpointUnreachableError),
        ("CapacityNotAvailableError", ThrottledError),
        ("IncompleteReadError", MalformedResponseError),
        ("ChecksumError", MalformedResponseError),
    ],
)
@pytest.mark.parametrize("opening", [False, True], ids=["call", "opening"])
def test_botocore_errors(name: str, expected: type[CredentialsError], opening: bool) -> None:  # noqa: FBT001 (a table)
    """What botocore raises without an answer becomes the class itself, at opening as in a call: no ClientError."""
    names = dict.fromkeys(("error_msg", "source_profile", "visited_profiles", "valid_modes"), "a-name")
    error = botocore_error(
        name,
        **(names if name in {*WORDED, "InfiniteLoopConfigError", "InvalidRetryModeError"} else {}),
    )
    mapped = (_mapping.map_opening_error if opening else _mapping.map_error)(error, secret_name="prod/db")
    assert type(mapped) is expected
    assert not isinstance(mapped, ClientError)
    assert not hasattr(mapped, "response")
    assert mapped.secret_name == "prod/db"
    assert mapped.transient is (expected in TRANSIENT)
    assert CANARY not in everything(mapped)


# But for the bases that are never raised themselves, and for answers.
EXCEPTIONS = {
    name: cls
    for name, cls in vars(botocore.exceptions).items()
    if inspect.isclass(cls)
    and cls.__module__ == "botocore.exceptions"
    and name not in {"BotoCoreError", "BaseEndpointResolverError"}
    and not issubclass(cls, ClientError)
}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_class_of_botocore_is_decided(name: str) -> None:
    """Each class that the installed botocore has is in a table, or one of its bases is: none is left to chance."""
    bases = [base.__name__ for base in EXCEPTIONS[name].__mro__]
    assert any(base in table for base in bases for table in (CREDENTIALS, SETTINGS, _mapping._BY_CLASS))


def test_no_class_is_in_two_tables() -> None:
    """A class is about AWS credentials or about something else; the words on a setting are for those of that kind."""
    assert not CREDENTIALS.keys() & _mapping._BY_CLASS.keys()
    for name in SETTINGS:
        bases = getattr(botocore.exceptions, name).__mro__
        assert _mapping._listed_class(botocore_error(name)) is InvalidParameterError, bases


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), EndpointUnreachableError),
        (ConnectionResetError("reset"), EndpointUnreachableError),
        (OSError(24, "Too many open files"), EndpointUnreachableError),
        (FileNotFoundError(2, "No such file", "/var/run/token"), CredentialSourceError),
        (PermissionError(13, "Denied", "/var/run/token"), CredentialSourceError),
        (AttributeError(CANARY), MalformedResponseError),
        (UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, "junk"), MalformedResponseError),
        (ValueError(CANARY), MalformedResponseError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_errors(error: Exception, expected: type[CredentialsError]) -> None:
    """The system's errors have their class too; what escapes a parser was no answer, and its text stays out."""
    mapped = _mapping.map_error(error)
    assert type(mapped) is expected
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AttributeError(CANARY), InvalidParameterError),
        (ValueError(CANARY), InvalidParameterError),
        (RuntimeError(CANARY), InvalidParameterError),
        (OSError(24, "Too many open files"), EndpointUnreachableError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_errors_at_opening(error: Exception, expected: type[CredentialsError]) -> None:
    """What nobody foresaw at opening is about a setting: permanent, and nobody is sent to look for a proxy."""
    mapped = _mapping.map_opening_error(through("botocore.args", error))
    assert type(mapped) is expected
    assert mapped.transient is (expected is EndpointUnreachableError)
    assert "answers in its place" not in str(mapped)
    assert mapped.transient or "raised in botocore.args" in str(mapped)
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize("module", ["botocore.auth", "aiobotocore.signers", "aiocredentials._aws.transport"])
def test_before_a_request_is_sent(module: str) -> None:
    """What signing a request or setting up its connection raises in a call is about a setting, and no answer."""
    mapped = _mapping.map_error(through(module, TypeError("a type")))
    assert (type(mapped), mapped.transient, mapped.asked) == (InvalidParameterError, False, False)
    assert type(_mapping.map_error(through("botocore.parsers", TypeError(CANARY)))) is MalformedResponseError


class Wrapped(Exception):  # noqa: N818 (as aiohttp names its own)
    """An error that holds another in the way of aiohttp."""

    def __init__(self, **links: object) -> None:
        super().__init__(CANARY)
        vars(self).update(links)


def tls_error(error: ssl.SSLError, **said: str) -> ssl.SSLError:
    """Put in what only OpenSSL itself puts in."""
    for name, value in said.items():
        setattr(error, name, value)
    return error


REFUSED = tls_error(ssl.SSLCertVerificationError(1, "certificate verify failed"), verify_message="Hostname mismatch")
WRONG_VERSION = tls_error(ssl.SSLError(1, "wrong version number"), reason="WRONG_VERSION_NUMBER")


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        (Wrapped(certificate_error=REFUSED), "the TLS certificate was refused: Hostname mismatch"),
        (Wrapped(os_error=WRONG_VERSION), "TLS failed: WRONG_VERSION_NUMBER"),
        (ssl.SSLError(1, "no reason, as aiohttp's"), "ConnectTimeoutError: no reason"),
        (ssl.SSLCertVerificationError(1, "no message"), "ConnectTimeoutError: no message"),
        (
            Wrapped(os_error=ConnectionRefusedError(111, "Connection refused")),
            "ConnectTimeoutError: Connection refused",
        ),
        (OSError(), "ConnectTimeoutError."),
    ],
)
def test_the_reason_is_said(below: Exception, expected: str) -> None:
    """The system's and OpenSSL's own words are in the message, however deep; those of a library in between aren't."""
    error = botocore.exceptions.ConnectTimeoutError(endpoint_url="https://x", error=below)
    mapped = _mapping.map_error(error)
    assert expected in str(mapped)
    assert CANARY not in everything(mapped)


ClientHttpProxyError = type("ClientHttpProxyError", (Wrapped,), {})


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        (
            407,
            "the proxy answered with HTTP status 407 (proxy authentication required)",
            "Put the user and the password",
        ),
        (403, "the proxy answered with HTTP status 403.", EndpointUnreachableError.advice),
    ],
)
def test_a_proxy_that_refuses(status: int, words: str, advice: str) -> None:
    """The answer of a proxy is named; if it wants a password, the advice says where that goes."""
    error = botocore.exceptions.ProxyConnectionError(proxy_url=CANARY, error=ClientHttpProxyError(status=status))
    mapped = _mapping.map_error(error)
    assert type(mapped) is EndpointUnreachableError
    assert words in str(mapped)
    assert advice in str(mapped)
    assert CANARY not in everything(mapped)


def test_a_proxys_page() -> None:
    """The same where the proxy's refusal is a page, as it is for an http:// endpoint."""
    page = client_error("407", CANARY, 407, **{"content-type": "text/html"})
    for mapped in (_mapping.map_error(page), _mapping.map_opening_error(page)):
        assert mapped.transient
        assert "HTTP status 407 (proxy authentication required)" in str(mapped)
        assert "Put the user and the password" in str(mapped)


def test_a_ca_bundle() -> None:
    """Where the CA bundle can't be loaded, the advice names each place in which it may be set."""
    mapped = _mapping.map_error(
        errors.TransportError(why="the CA bundle or client certificate (x) can't be loaded: No")
    )
    for setting in ("AWS_CA_BUNDLE", "ca_bundle", "client_cert"):
        assert setting in str(mapped)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(socket.EAI_NONAME, True), (socket.EAI_NODATA, True), (socket.EAI_AGAIN, False)],
)
def test_unresolved(number: int, expected: bool) -> None:  # noqa: FBT001 (a table)
    """A name that DNS doesn't know isn't a DNS that doesn't answer."""
    below = Wrapped(os_error=socket.gaierror(number, "DNS says so"))
    error = botocore.exceptions.EndpointConnectionError(endpoint_url="https://x", error=below)
    assert _mapping.unresolved(error) == ("https://x" if expected else None)


DNSError = type("DNSError", (Exception,), {})


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((4, "Domain name not found"), True),
        ((1, "DNS server returned answer with no data"), True),
        ((11, "Could not contact DNS servers"), False),
        ((), False),
    ],
)
def test_unresolved_by_aiodns(args: tuple[object, ...], expected: bool) -> None:  # noqa: FBT001 (a table)
    """With aiodns installed, aiohttp's error has no number of the system's: c-ares' own is in what it was made from."""
    os_error = OSError(None, args[1] if args else "DNS lookup failed")
    os_error.__cause__ = DNSError(*args)
    below = Wrapped(os_error=os_error, host="secretsmanager.eu-west1.amazonaws.com")
    error = botocore.exceptions.EndpointConnectionError(endpoint_url="https://x", error=below)
    # aiohttp knows the host, which may be a proxy's.
    assert _mapping.unresolved(error) == ("secretsmanager.eu-west1.amazonaws.com" if expected else None)


def test_unresolved_without_a_url() -> None:
    """An error that names no host is about no host in particular."""
    assert _mapping.unresolved(socket.gaierror(socket.EAI_NONAME, "DNS says so")) == ""


def test_a_chain_that_bites_its_tail() -> None:
    """Errors that are each other's cause end the search, too."""
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert list(linked_errors(first)) == [first, second]
    assert list(frames(first)) == []


@pytest.mark.parametrize("map_one", [_mapping.map_error, _mapping.map_opening_error])
def test_mapping_ours_again(map_one: Callable[..., CredentialsError]) -> None:
    """An error of ours that is mapped is a copy: same facts, and none of the frames and contexts of the first."""
    ours = errors.make_error(SecretFormatError, "No.", secret_name="x")
    with pytest.raises(SecretFormatError) as info:
        raise ours from ValueError(CANARY)
    mapped = map_one(info.value, secret_name="y")
    assert (type(mapped), mapped.secret_name) == (SecretFormatError, "x")
    assert (mapped.__cause__, mapped.__context__, mapped.__traceback__) == (None, None, None)


def test_the_registry_refuses_duplicates() -> None:
    """A code that is in the table twice is a mistake that is found at import."""
    with pytest.raises(AssertionError, match="Twice is in the table twice"):
        _answers.classes_by_name({ThrottledError: "Once Twice", AWSError: "Twice"})


def test_names_are_no_canaries() -> None:
    """The fields that are shown of botocore's errors are the ones that this suite takes for names."""
    assert CANARY not in NAMED.values()
