"""Errors that AWS answered: AWS's code and its sentence decide the class and the advice.

AWS answers in two cases: Secrets Manager was asked for a secret, or STS, SSO and their like were
asked for AWS credentials. A page that a proxy or a load balancer sends in AWS's place isn't an
answer of AWS: it is transient, and its text is left out.

All lists of AWS's codes are here. One of them is about the errors after which a call is signed
again, with credentials that are loaded again: `gateway` makes such a call once more, and `session`
and `clients` drop the credentials that AWS refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from aiocredentials.errors import (
    LONGEST_SENTENCE,
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
    SecretNotFoundError,
    ThrottledError,
    make_answered_error,
    one_line,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def classes_by_name(
    table: Mapping[type[CredentialsError], str],
) -> dict[str, type[CredentialsError]]:
    """Turn a table from class to names around, and reject a name that is in it twice."""
    classes: dict[str, type[CredentialsError]] = {}
    for cls, names in table.items():
        for name in names.split():
            if name in classes:
                message = f"{name} is in the table twice"
                raise AssertionError(message)
            classes[name] = cls
    return classes


# The codes of AWS, without the suffix "Exception", which only some services add. Sources: the API
# references of Secrets Manager (GetSecretValue, BatchGetSecretValue, Common Errors), KMS (Decrypt)
# and STS, and the retries of botocore. `testing/_failures.py` has one code per class, for fakes.
_BY_CODE = classes_by_name(
    {
        SecretNotFoundError: "ResourceNotFound",
        SecretDecryptionError: """
            DecryptionFailure KMSDisabled KMSInvalidState KMSNotFound KMSAccessDenied
            KMSOptInRequired Disabled KMSInvalidKeyUsage InvalidKeyUsage InvalidCiphertext
            IncorrectKey InvalidGrantToken KeyUnavailable
        """,
        InvalidParameterError: """
            InvalidParameter Validation ValidationError InvalidParameterValue MissingParameter
        """,
        InvalidRequestError: "InvalidRequest",
        InternalServiceError: """
            InternalServiceError InternalFailure InternalError InternalServerError
            ServiceUnavailable ServiceUnavailableError KMSInternal DependencyTimeout
            IDPCommunicationError
        """,
        ThrottledError: """
            Throttling ThrottlingError Throttled TooManyRequests RequestLimitExceeded
            RequestThrottled SlowDown BandwidthLimitExceeded PriorRequestNotComplete KMSThrottling
            ProvisionedThroughputExceeded
        """,
        AccessDeniedError: """
            AccessDenied NotAuthorized UnauthorizedOperation OptInRequired Forbidden
        """,
        AuthenticationError: """
            UnrecognizedClient ExpiredToken InvalidSignature SignatureDoesNotMatch
            IncompleteSignature MissingAuthenticationToken InvalidClientTokenId InvalidAccessKeyId
            AuthFailure RequestExpired Unauthorized RequestTimeTooSkewed RequestInTheFuture
            InvalidToken InvalidIdentityToken IDPRejectedClaim RegionDisabled TokenRefreshRequired
        """,
        EndpointUnreachableError: "RequestTimeout",
    }
)

# The three lists below pick out codes that mean an AuthenticationError.

# The time of the request differs too much from the time of AWS.
_SKEWED_CODES = frozenset(
    {
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
    }
)
# AWS sends these codes for such a time as well, and also for a wrong key, which no new signature
# corrects. The message distinguishes the two.
_SIGNATURE_CODES = frozenset({"InvalidSignature", "SignatureDoesNotMatch"})
# `re` compiles and keeps the patterns at their first use, because most processes meet no error.
_SKEWED = r"(?i)signature (expired|not yet current)"

SIGN_AGAIN = _SKEWED_CODES | {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "TokenRefreshRequired",
    "UnrecognizedClient",
}
"""AWS's codes, without "Exception", for credentials or a signature that it no longer accepts.

With credentials that are loaded again and a new signature, the same call may succeed. Sources: the
common errors of Secrets Manager, STS and S3, and the AWS SDK for JavaScript, which corrects its
clock after the codes about time.
"""

# The operations of STS answer XML, all others JSON.
_OPERATIONS_OF_STS = (
    "AssumeRole",
    "AssumeRoleWithWebIdentity",
    "AssumeRoleWithSAML",
    "GetSessionToken",
    "GetCallerIdentity",
)
# The operations that load AWS credentials.
_CREDENTIAL_OPERATIONS = (
    *_OPERATIONS_OF_STS,
    "GetRoleCredentials",
    "CreateToken",
    "CreateOAuth2Token",
)
# What to do if STS or SSO refuses an operation.
_ADVICE_ON_OPERATION = {
    "AssumeRole": (
        "Correct role_arn, or let the role's trust policy allow sts:AssumeRole to the calling "
        "identity."
    ),
    "AssumeRoleWithWebIdentity": (
        "Let the role's trust policy allow sts:AssumeRoleWithWebIdentity to this web identity, "
        "and check AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE, or role_arn and "
        "web_identity_token_file in the profile."
    ),
    "GetRoleCredentials": (
        "Check sso_account_id and sso_role_name in the profile, and which user is signed in."
    ),
}
# What to do if STS or SSO doesn't accept the credentials that the operation was signed with.
_ADVICE_ON_RENEWAL = {
    "AssumeRole": (
        "Renew the credentials that the profile uses to assume the role (source_profile, "
        "credential_source)."
    ),
    "AssumeRoleWithWebIdentity": (
        "Check the program that renews the token in AWS_WEB_IDENTITY_TOKEN_FILE."
    ),
}

NOT_LOADED = "No AWS credentials could be loaded"
PROXY_ADVICE = (
    "Put the user and the password that the proxy requires into its URL: HTTPS_PROXY, or proxies "
    "of the config."
)
_CLOCK_ADVICE = (
    "Set the clock of this host: AWS refuses a request whose time is more than five minutes from "
    "its own."
)
_REGION_ADVICE = f"{InvalidRegionError.advice} Names of regions are case-sensitive."

_UNKNOWN = "Unknown"
_CODE = r"[\w.-]+"
_DELETED = r"(?i)marked (for deletion|deleted)|was deleted|scheduled for deletion"
_NO_VERSION = r"secret value for (?:(staging label)|VersionId): (\S+)"

_REDIRECTS = range(300, 400)
PROXY_AUTHENTICATION = 407
_TOO_MANY = 429
_SERVER_ERROR = 500


class Operation(NamedTuple):
    """An operation of AWS, the profile in use, and whether it was asked for AWS credentials."""

    name: str
    profile: str | None = None
    about_credentials: bool = False


class _ParsedError(NamedTuple):
    """An error in an answer of AWS, or of something in its place."""

    cls: type[CredentialsError]
    advice: str | None
    code: str
    message: str
    metadata: dict[str, Any]


def from_answer(
    response: Mapping[str, Any], operation: str, **facts: str | None
) -> CredentialsError:
    """Make the error for an answer that has an error in it, such as an entry of a batch.

    Args:
        response: The answer, as in a ClientError.
        operation: The name of AWS's operation.
        **facts: `secret_name`, `region_name` and `region_source`.

    Returns:
        An error that is a ClientError as well. It keeps AWS's words and nothing else of the answer.
    """
    return answered_error(response, Operation(operation), facts)


def answered_error(
    response: Mapping[str, Any],
    operation: Operation,
    facts: Mapping[str, str | None],
) -> CredentialsError:
    """Make the error for an answer that has an error in it.

    Args:
        response: The answer, as in a ClientError.
        operation: The operation that was called.
        facts: `secret_name`, `region_name` and `region_source`.
    """
    answer = _parse(response, operation.name)
    cls = answer.cls
    advice = answer.advice
    message = one_line(answer.message, LONGEST_SENTENCE).rstrip(".")
    happened = f"error occurred ({answer.code}) when calling the {operation.name} operation"
    what = f"An {happened}: {message}."

    about_credentials = operation.about_credentials or operation.name in _CREDENTIAL_OPERATIONS
    if about_credentials:
        what = f"{NOT_LOADED}: an {happened}: {message}."
        cls = _class_for_credentials(answer)
        advice = advice or _advice_on_credentials(cls, answer.code, operation)

    error = {"Code": answer.code, "Message": answer.message}
    made = make_answered_error(
        cls,
        what,
        advice=advice,
        response={"Error": error, "ResponseMetadata": answer.metadata},
        operation=operation.name,
        code=answer.code,
        request_id=answer.metadata.get("RequestId"),
        **facts,
    )
    if about_credentials:
        made.asked = False
    return made


def signs_again(error: BaseException) -> bool:
    """Return whether AWS calls the credentials or the signature too old, or doesn't know them."""
    if not isinstance(error, ClientError):
        return False
    answer = error.response.get("Error", {})
    code = _without_suffix(str(answer.get("Code")))
    if code in _SIGNATURE_CODES:
        message = str(answer.get("Message"))
        return re.search(_SKEWED, message) is not None
    return code in SIGN_AGAIN


def status_text(status: int) -> str:
    """Return an HTTP status, as a message names it."""
    text = f"HTTP status {status}"
    if status == PROXY_AUTHENTICATION:
        text += " (proxy authentication required)"
    return text


# The parts of an answer


def _parse(response: Mapping[str, Any], operation_name: str) -> _ParsedError:
    metadata: dict[str, Any] = dict(response.get("ResponseMetadata", {}))
    status = int(metadata.get("HTTPStatusCode", 0))
    headers: Mapping[str, str] = metadata.get("HTTPHeaders", {})

    error: Mapping[str, object] = response.get("Error", {})
    message = error.get("Message") or ""
    code = error.get("Code")
    if not isinstance(code, str) or not re.fullmatch(_CODE, code):
        code = _UNKNOWN

    # Without a code in the body, botocore uses the status as the code.
    has_code = code not in {_UNKNOWN, str(status)}
    if has_code and isinstance(message, str) and _may_be_of_aws(headers, operation_name):
        cls = _class_of_answer(code, status, message)
        advice = _advice_on(cls, code, message)
        return _ParsedError(cls, advice, code, message, metadata)

    # In this case, botocore's message is the whole body, which a server in front of AWS wrote.
    text = f"{status_text(status)}, and a body that isn't AWS's (left out)"
    advice = None
    if status == PROXY_AUTHENTICATION:
        advice = PROXY_ADVICE
    return _ParsedError(_class_of_a_page(status), advice, code, text, metadata)


def _may_be_of_aws(headers: Mapping[str, str], operation_name: str) -> bool:
    """Return whether AWS may have sent an answer with a code: STS sends XML, all others JSON."""
    if operation_name in _OPERATIONS_OF_STS:
        return True
    # botocore reads the code from this header, as if it had been in the body.
    if "x-amzn-query-error" in headers:
        return False
    return "json" in headers.get("content-type", "json")


# The class


def _class_of_answer(code: str, status: int, message: str) -> type[CredentialsError]:
    cls = _class_by(code)
    if cls is InvalidRequestError and re.search(_DELETED, message):
        return SecretDeletedError
    if cls is not None:
        return cls
    if status in _REDIRECTS or status == _TOO_MANY or status >= _SERVER_ERROR:
        return _class_of_a_page(status)
    return AWSError


def _class_by(code: str) -> type[CredentialsError] | None:
    return _BY_CODE.get(_without_suffix(code))


def _without_suffix(code: str) -> str:
    return code.removesuffix("Exception")


def _class_of_a_page(status: int) -> type[CredentialsError]:
    """Return the class for a page that AWS didn't send: it is transient with each status."""
    if status >= _SERVER_ERROR:
        return InternalServiceError
    if status == _TOO_MANY:
        return ThrottledError
    return MalformedResponseError


def _class_for_credentials(answer: _ParsedError) -> type[CredentialsError]:
    if answer.cls.transient:
        return CredentialSourceError
    return AuthenticationError


# The advice


def _advice_on(cls: type[CredentialsError], code: str, message: str) -> str | None:
    """Return the advice if AWS's sentence is more exact than its code; None otherwise."""
    if _without_suffix(code) in _SKEWED_CODES or re.search(_SKEWED, message):
        return _CLOCK_ADVICE
    if "valid region" in message:
        return _REGION_ADVICE
    if cls is not SecretNotFoundError:
        return None
    missing = re.search(_NO_VERSION, message)
    if missing is None:
        return None

    is_label = missing[1] is not None
    version = shown(missing[2])
    if is_label:
        return (
            f"No version of the secret has the staging label {version}: put a value into the "
            "secret, or wait for the rotation that makes such a version. Staging labels are "
            "case-sensitive."
        )
    return (
        f"The secret has no version {version}, or no longer has it: ask for a staging label, or "
        "for another version."
    )


def _advice_on_credentials(
    cls: type[CredentialsError],
    code: str,
    operation: Operation,
) -> str:
    advice = _ADVICE_ON_OPERATION.get(operation.name, AuthenticationError.advice)
    if cls.transient:
        advice = cls.advice
    elif _class_by(code) is AuthenticationError:
        advice = _ADVICE_ON_RENEWAL.get(operation.name, AuthenticationError.advice)
    if operation.profile:
        advice += f" This concerns profile {shown(operation.profile)}."
    return advice
