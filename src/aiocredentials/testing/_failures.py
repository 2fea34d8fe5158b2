"""How a fake fails: by AWS's code, by the class of error that a caller shall get, or by an exception of your own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

_REQUEST_ID = "00000000-0000-4000-8000-000000000000"
_MARKED = "You can't perform this operation on the secret because it was marked for deletion."

# What AWS answers where a caller gets these: the code and AWS's own words.
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
    SecretDeletedError: ("InvalidRequestException", _MARKED),
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
_WORDS = dict(reversed(_ANSWERS.values()))  # of two with one code, the plain one

# These aren't answers: botocore, or its parser, raises without one.
_UNANSWERED: dict[type[CredentialsError], Callable[[], Exception]] = {
    EndpointUnreachableError: lambda: EndpointConnectionError(
        endpoint_url="https://secretsmanager.fake"
    ),
    InvalidRegionError: lambda: BotocoreInvalidRegionError(region_name="fake"),
    MalformedResponseError: lambda: ValueError(
        "The fake was told to answer with what isn't an answer."
    ),
}


def metadata(status: int) -> Any:  # noqa: ANN401 (the stubs want a HostId, which only S3 has)
    """Return what botocore tells of an HTTP answer."""
    return {
        "RequestId": _REQUEST_ID,
        "HTTPStatusCode": status,
        "HTTPHeaders": {
            "x-amzn-requestid": _REQUEST_ID,
            "content-type": "application/x-amz-json-1.1",
        },
        "RetryAttempts": 0,
    }


def answered(code: str, operation: str, message: str | None = None) -> ClientError:
    """Make botocore's error for an answer of AWS's, in AWS's words where none are given."""
    status = 500 if code == "InternalServiceError" else 400
    return ClientError(
        {
            "Error": {
                "Code": code,
                "Message": _WORDS.get(code, "No.") if message is None else message,
            },
            "ResponseMetadata": metadata(status),
        },
        operation,
    )


def _maker(error: str | type[CredentialsError] | Exception) -> Callable[[str], Exception]:
    """Return what makes the exception for an operation. Raises `TypeError` for what no client can raise."""
    if isinstance(error, str):
        return lambda operation: answered(error, operation)
    if isinstance(error, Exception):
        # Whoever raises one object again and again adds to its traceback.
        return lambda _: error.with_traceback(None)
    if error in _ANSWERS:
        return lambda operation: answered(_ANSWERS[error][0], operation, _ANSWERS[error][1])
    if error in _UNANSWERED:
        return lambda _: _UNANSWERED[error]()
    raise TypeError(
        f"{getattr(error, '__name__', error)!r} isn't what a client fails with: give an AWS code, one of "
        f"{', '.join(sorted(each.__name__ for each in (*_ANSWERS, *_UNANSWERED)))}, or an exception object."
    )


@dataclass(slots=True)
class _Failure:
    make: Callable[[str], Exception]
    left: int | None
    secret_name: str | None
    operation: str | None


class Failures:
    """The failures that are due, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._due: list[_Failure] = []

    def add(
        self,
        error: str | type[CredentialsError] | Exception,
        times: int | None,
        secret_name: str | None,
        operation: str | None,
    ) -> None:
        """Have calls fail. Raises `TypeError` or `ValueError` for what makes no sense."""
        if times is not None and times < 1:
            raise ValueError(
                f"times is {times}: give how often to fail, from 1, or None for each time."
            )
        self._due.append(_Failure(_maker(error), times, secret_name, operation))

    def clear(self) -> None:
        """Have no more calls fail."""
        self._due.clear()

    def take(self, operation: str, names: Iterable[str | None]) -> Exception | None:
        """Return what a call fails with, and count it; `names` are those of the secret, None for the whole call."""
        for failure in self._due:
            if failure.secret_name in names and failure.operation in {None, operation}:
                if failure.left is not None:
                    failure.left -= 1
                    if not failure.left:
                        self._due.remove(failure)
                return failure.make(operation)
        return None
