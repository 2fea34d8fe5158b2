"""The failures of a fake: an AWS code, a class of our errors, or an exception of the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    InvalidRegionError as BotocoreInvalidRegionError,
)

from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    CredentialsError,
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
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FailureKind: TypeAlias = str | type[CredentialsError] | Exception
"""An AWS code, the class of the error that a caller gets, or the exception that a client raises."""

_REQUEST_ID = "00000000-0000-4000-8000-000000000000"
MARKED_FOR_DELETION = (
    "You can't perform this operation on the secret because it was marked for deletion."
)

# For each class of our errors: AWS's code, and AWS's own words.
_ANSWERS: dict[type[CredentialsError], tuple[str, str]] = {
    SecretNotFoundError: (
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret.",
    ),
    SecretDecryptionError: (
        "DecryptionFailure",
        "Secrets Manager can't decrypt the protected secret text using the provided KMS key.",
    ),
    InvalidParameterError: ("InvalidParameterException", "The parameter name or value is invalid."),
    InvalidRequestError: (
        "InvalidRequestException",
        "A parameter value is not valid for the current state.",
    ),
    SecretDeletedError: ("InvalidRequestException", MARKED_FOR_DELETION),
    InternalServiceError: ("InternalServiceError", "An error occurred on the server side."),
    ThrottledError: ("ThrottlingException", "Rate exceeded"),
    AccessDeniedError: (
        "AccessDeniedException",
        "User is not authorized to perform this action on this resource",
    ),
    AuthenticationError: (
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided.",
    ),
}


def _words_by_code() -> dict[str, str]:
    """Return AWS's words by code. If two classes have one code, the first one's words count."""
    words: dict[str, str] = {}
    for code, message in _ANSWERS.values():
        words.setdefault(code, message)
    return words


_WORDS = _words_by_code()

# These errors aren't answers of AWS: botocore or its parser raises them.
_UNANSWERED: dict[type[CredentialsError], Callable[[], Exception]] = {
    EndpointUnreachableError: lambda: EndpointConnectionError(
        endpoint_url="https://secretsmanager.fake"
    ),
    InvalidRegionError: lambda: BotocoreInvalidRegionError(region_name="fake"),
    MalformedResponseError: lambda: ValueError(
        "The fake returned a malformed answer, as the test asked."
    ),
}


def metadata(status: int) -> Any:  # noqa: ANN401 (the stubs want a HostId, which only S3 has)
    """Return botocore's metadata of an HTTP answer."""
    return {
        "RequestId": _REQUEST_ID,
        "HTTPStatusCode": status,
        "HTTPHeaders": {
            "x-amzn-requestid": _REQUEST_ID,
            "content-type": "application/x-amz-json-1.1",
        },
        "RetryAttempts": 0,
    }


def answered(
    code: str,
    operation: str,
    message: str | None = None,
) -> ClientError:
    """Return botocore's error for an answer of AWS. The default message is in AWS's words."""
    if message is None:
        message = _WORDS.get(code, "No.")
    status = 500 if code == "InternalServiceError" else 400

    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": metadata(status),
        },
        operation,
    )


def _factory_for(error: FailureKind) -> Callable[[str], Exception]:
    """Return a function that makes the exception for an operation.

    Raises `TypeError` for an error that no client can raise.
    """
    if isinstance(error, str):
        return lambda operation: answered(error, operation)

    if isinstance(error, Exception):
        # Python adds to the traceback of an object each time that it is raised.
        return lambda _: error.with_traceback(None)

    if error in _ANSWERS:
        code, message = _ANSWERS[error]
        return lambda operation: answered(code, operation, message)

    if error in _UNANSWERED:
        make = _UNANSWERED[error]
        return lambda _: make()

    raise _not_a_failure(error)


def _not_a_failure(error: object) -> TypeError:
    name = getattr(error, "__name__", error)
    known = [each.__name__ for each in (*_ANSWERS, *_UNANSWERED)]
    names = ", ".join(sorted(known))
    return TypeError(
        f"{name!r} isn't a failure of a client: "
        f"give an AWS code, one of {names}, or an exception object."
    )


@dataclass(slots=True)
class _Failure:
    """A failure that the test asked for. None stands for all of that kind."""

    make: Callable[[str], Exception]
    calls_left: int | None
    secret_name: str | None
    operation: str | None
    region_name: str | None


class Failures:
    """The failures that the test asked for, in their order."""

    def __init__(self) -> None:
        self._pending: list[_Failure] = []

    def add(
        self,
        error: FailureKind,
        *,
        times: int | None,
        secret_name: str | None,
        operation: str | None,
        region_name: str | None,
    ) -> None:
        """Let calls fail: see `FakeSecretsManager.fail_next`."""
        if times is not None and times < 1:
            raise ValueError(
                f"times is {times}: give the number of calls that fail, from 1, or None for all."
            )
        make = _factory_for(error)
        failure = _Failure(make, times, secret_name, operation, region_name)
        self._pending.append(failure)

    def clear(self) -> None:
        """Let no more calls fail."""
        self._pending.clear()

    def take(
        self,
        operation: str,
        names: Iterable[str | None],
        region_name: str,
    ) -> Exception | None:
        """Return the exception of a call, and count the call; None if it doesn't fail.

        `names` are the names of the secrets of the call. None among them stands for the call as a
        whole.
        """
        for failure in self._pending:
            is_about_secret = failure.secret_name in names
            is_about_operation = failure.operation in {None, operation}
            is_about_region = failure.region_name in {None, region_name}
            if is_about_secret and is_about_operation and is_about_region:
                self._count(failure)
                return failure.make(operation)
        return None

    def _count(self, failure: _Failure) -> None:
        if failure.calls_left is None:
            return

        failure.calls_left -= 1
        if failure.calls_left == 0:
            self._pending.remove(failure)
