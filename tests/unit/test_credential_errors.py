"""An error about AWS credentials says so, whether STS answered it or it was raised while they were loaded."""

from __future__ import annotations

import botocore.exceptions
import pytest

from aiocredentials import (
    AccessDeniedError,
    AuthenticationError,
    CredentialSourceError,
    EndpointUnreachableError,
    SecretNotFoundError,
    errors,
)
from aiocredentials._aws.mapping import map_error, map_opening_error
from unit.foreign_errors import CANARY, botocore_error, client_error, everything, through

CHAIN = "aiobotocore.credentials"


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
    mapped = map_error(answer, profile="dev", secret_name="prod/db")
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
    mapped = map_error(client_error(code, "No.", 400, operation, **headers))
    assert advice in mapped.advice
    assert str(mapped).endswith(mapped.advice)


def test_the_way_shows_what_was_asked() -> None:
    """Whatever the operation: an answer that came while credentials were loaded is about credentials."""
    answer = through(CHAIN, client_error("AccessDeniedException", operation="FromTomorrow"))
    assert type(map_error(answer)) is errors._TWINS[AuthenticationError]
    assert type(map_error(client_error("AccessDeniedException"))) is errors._TWINS[AccessDeniedError]
    at_opening = map_opening_error(client_error("AccessDeniedException", operation="FromTomorrow"))
    assert type(at_opening) is errors._TWINS[AuthenticationError]


def test_another_errors_way() -> None:
    """A caller's own error that is being handled has nothing to do with ours, though Python chains them."""
    theirs = through(CHAIN, botocore.exceptions.NoCredentialsError())
    ours = ConnectionResetError(104, "Connection reset by peer")
    ours.__context__ = theirs
    assert type(map_error(ours)) is EndpointUnreachableError
    ours.__cause__ = theirs
    assert type(map_error(ours)) is CredentialSourceError


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
    mapped = (map_opening_error if opening else map_error)(raised)
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
        map_opening_error(raised, profile="dev"),
        map_error(raised),
    )
    assert (type(at_opening), type(in_a_call)) == (AuthenticationError, CredentialSourceError)
    for mapped in (at_opening, in_a_call):
        assert type(error).__name__ in str(mapped)
        assert not mapped.asked
        assert CANARY not in everything(mapped)
    assert "profile 'dev'" in str(at_opening)
