"""The errors of this library: `CredentialsError` and its subclasses.

```text
CredentialsError
├── SecretNotFoundError
├── SecretDecryptionError
├── InvalidParameterError
├── InvalidRequestError
│   └── SecretDeletedError
├── InternalServiceError        transient
├── ThrottledError              transient
├── AccessDeniedError
├── AuthenticationError         no AWS credentials, or AWS refused them
│   └── CredentialSourceError   transient: the source of the AWS credentials didn't answer
├── InvalidRegionError
├── EndpointUnreachableError    transient
├── MalformedResponseError      transient
├── SecretFormatError
├── SecretExpiredError          transient
├── PoolClosedError
└── AWSError                    AWS answered with a code that this library doesn't know
```

An error that AWS answered is a `botocore.exceptions.ClientError` as well, with its `.response`. No
error here holds the value of a secret, or is chained to the error that it was made from, because an
error of botocore may hold a whole answer.

The class shows which service refused. In the last two of these cases, `asked` is False, because no
secret was asked for:

* If AWS refused the request for the secret, the error is permanent.
* If STS or SSO refused the AWS credentials, or if they are configured wrongly, the error is an
  `AuthenticationError`. It is permanent as well.
* If the source of the AWS credentials didn't answer, or has none at the moment, the error is a
  `CredentialSourceError`. AWS has refused nothing, so a cached value is served up to `max_stale`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, cast

from botocore.exceptions import BotoCoreError, ClientError

from aiocredentials import _foreign_text

if TYPE_CHECKING:
    from collections.abc import Iterator

# The other modules import these from here.
LONGEST_NAME = _foreign_text.LONGEST_NAME
LONGEST_SENTENCE = _foreign_text.LONGEST_SENTENCE
one_line = _foreign_text.one_line
shown = _foreign_text.shown


class CredentialsError(Exception):
    """The base class of all errors of this library.

    The message names the cause; the secret, the region and where the region was configured, if
    they are known; and what to do.

    Attributes:
        transient: Whether the same call may succeed a little later. Until then, a stale value may
            be served.
        asked: False if Secrets Manager was never asked for the secret, because the AWS
            credentials, the region or a setting failed first.
        advice: The last part of the message: what to do.
        secret_name: The name or ARN of the secret; None if the error is about no secret.
        region_name: The region that was asked; None if it isn't known.
        region_source: Where that region was configured; None if that isn't known.
        role_arn: The ARN of the role through which the secret was read; None without a role.
        code: The error code of AWS; None if AWS didn't answer.
        request_id: AWS's identifier of the request; None if AWS didn't answer.
    """

    transient: ClassVar[bool] = False
    asked: bool = True
    advice: str = ""

    def __init__(
        self,
        message: str = "",
        *,
        secret_name: str | None = None,
        region_name: str | None = None,
        region_source: str | None = None,
        role_arn: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        # Not super().__init__(): in a twin, the next class is ClientError, whose arguments differ.
        Exception.__init__(self, message)
        self.secret_name = secret_name
        self.region_name = region_name
        self.region_source = region_source
        self.role_arn = role_arn
        self.code = code
        self.request_id = request_id
        self._what: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep errors picklable and copyable. The method of ClientError would lose attributes."""
        public = next(cls for cls in type(self).__mro__ if cls not in _TWIN_CLASSES)
        return _rebuild, (public, self.args, self.__dict__)


class SecretNotFoundError(CredentialsError):
    """The region that was asked has no such secret, version or staging label."""

    advice = (
        "Correct the name, create the secret, or ask the region that has it: a secret lives in "
        "one region, and a wrong region is the usual reason."
    )


class SecretDecryptionError(CredentialsError):
    """Secrets Manager can't decrypt the secret with its KMS key."""

    advice = "Check that the KMS key exists, is enabled, and allows this identity kms:Decrypt."


class InvalidParameterError(CredentialsError):
    """A parameter of the request, or a setting of the client, isn't valid."""

    advice = (
        "Correct the secret's name, version or staging label, or the setting that is named here."
    )


class InvalidRequestError(CredentialsError):
    """The request isn't possible in the present state of the secret."""

    advice = "Check the secret's state: aws secretsmanager describe-secret."


class SecretDeletedError(InvalidRequestError):
    """The secret is scheduled for deletion."""

    advice = (
        "It is scheduled for deletion: restore it (aws secretsmanager restore-secret), or stop "
        "asking for it."
    )


class InternalServiceError(CredentialsError):
    """Secrets Manager, or a server in front of it, answered with an HTTP status of 5xx."""

    transient = True
    advice = "The fault is on the service's side: try again later."


class ThrottledError(CredentialsError):
    """Too many requests: a quota of the account is used up."""

    transient = True
    advice = "Make fewer calls: share one CredentialsPool among all callers; or raise the quota."


class AccessDeniedError(CredentialsError):
    """AWS knows the identity, but doesn't allow it to make this call."""

    advice = (
        "Allow the identity secretsmanager:GetSecretValue on this secret, and kms:Decrypt on "
        "its key if that is a customer managed key; check the secret's resource policy, too."
    )


class AuthenticationError(CredentialsError):
    """The AWS credentials are missing, configured wrongly, or refused by AWS.

    `asked` is True if Secrets Manager refused them. It is False if STS or SSO refused them, or if
    they couldn't be loaded.
    """

    advice = (
        "Run python -m aiocredentials doctor NAME: it shows which AWS credentials this process "
        "finds."
    )


class CredentialSourceError(AuthenticationError):
    """The source of the AWS credentials didn't answer, or has none at the moment.

    The source is the metadata service of EC2, the endpoint of a container, STS, SSO, a file or a
    `credential_process`. The error is also raised if no source is found, because a metadata
    service that isn't ready yet looks the same. AWS has refused nothing.
    """

    transient = True
    asked = False
    advice = (
        "Check that the source of the AWS credentials can be reached. Run python -m "
        "aiocredentials doctor NAME: it shows which source this process uses."
    )


class InvalidRegionError(CredentialsError):
    """The name isn't the name of an AWS region, or it is empty."""

    asked = False
    advice = "Correct the region where it was set."


class EndpointUnreachableError(CredentialsError):
    """No answer came from the endpoint.

    The connection was refused or reset, or it timed out; DNS doesn't know the host; or the TLS
    certificate isn't trusted.
    """

    transient = True
    advice = (
        "Check the network, the proxy, the VPC endpoint and its security group, and the "
        "endpoint's certificate."
    )


class MalformedResponseError(CredentialsError):
    """The answer isn't from AWS, isn't complete, or is about another secret."""

    transient = True
    advice = (
        "Something between this process and Secrets Manager answers in its place: check "
        "endpoint_url, the proxies and DNS."
    )


class SecretFormatError(CredentialsError):
    """The secret has another format than the caller expects.

    It isn't JSON, it isn't text, or `decode` raised an error.
    """

    advice = (
        "Compare the secret's format with the format that the code expects; its text is left out "
        "here on purpose."
    )


class SecretExpiredError(CredentialsError):
    """The cached value is too old to be served, and can't be refreshed.

    It is older than `max_stale`, or older than the TTL after a permanent failure.

    Attributes:
        reason: The error of the refresh that failed.
    """

    transient = True
    reason: CredentialsError | None = None


class PoolClosedError(CredentialsError):
    """The pool isn't open yet, was closed, or was closed during the call."""


class AWSError(CredentialsError):
    """AWS answered with an error code that this library doesn't know."""

    advice = "Look up the error code in AWS's documentation."


class TransportError(BotoCoreError):
    """Our transport refuses a request or can't set up a connection; its text is our own."""

    fmt = "{why}"


class RedirectError(TransportError):
    """An answer redirects to another URL."""


# Twins: the classes of errors that AWS answered


def _twin(cls: type[CredentialsError]) -> type[CredentialsError]:
    """Return a class with the same name that is a ClientError as well."""
    namespace = {
        "__module__": __name__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    return type(cls.__name__, (cls, ClientError), namespace)


def _descendants(cls: type[CredentialsError]) -> Iterator[type[CredentialsError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _descendants(child)


# The list comes first, because each twin is a new subclass.
_TWINS = {cls: _twin(cls) for cls in list(_descendants(CredentialsError))}
_TWIN_CLASSES = frozenset(_TWINS.values())


def _rebuild(
    public: type[CredentialsError],
    args: tuple[str, ...],
    state: dict[str, Any],
) -> CredentialsError:
    """Make a copy of an error, or an error that was pickled."""
    cls = _TWINS[public] if "response" in state else public
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


# Making errors


def make_error(
    cls: type[CredentialsError],
    what: str,
    *,
    advice: str | None = None,
    **facts: str | None,
) -> CredentialsError:
    """Make an error that isn't an answer of AWS.

    Args:
        cls: The class of the error.
        what: The first part of the message: what happened.
        advice: The advice; None for the class's own advice.
        **facts: `secret_name`, `region_name`, `region_source` and `role_arn`.
    """
    return _completed(cls("", **facts), what, advice)


def make_answered_error(
    cls: type[CredentialsError],
    what: str,
    *,
    advice: str | None,
    response: dict[str, Any],
    operation: str,
    **facts: str | None,
) -> CredentialsError:
    """Make an error for an answer of AWS: it is a ClientError as well.

    Args:
        cls: The class of the error. The error has the class's twin.
        what: The first part of the message: what happened.
        advice: The advice; None for the class's own advice.
        response: The answer, as in a ClientError. It must not hold a value.
        operation: The name of AWS's operation.
        **facts: As for `make_error`, and `code` and `request_id`.
    """
    error = _TWINS[cls]("", **facts)
    vars(error).update(response=response, operation_name=operation)
    return _completed(error, what, advice)


def for_caller(error: CredentialsError, **facts: str | None) -> CredentialsError:
    """Return a copy of a shared error, as the error of one caller.

    `facts` are `secret_name`, `region_name`, `region_source` and `role_arn` of this caller; a fact
    that is None stays as it is. The copy has no traceback, so nothing grows with the number of
    callers.
    """
    mine = copy.copy(error)
    known = {name: fact for name, fact in facts.items() if fact is not None}
    vars(mine).update(known)
    _write_message(mine)
    return mine


def without_doctor(error: CredentialsError) -> CredentialsError:
    """Return a copy of an error that doesn't advise to run the doctor, which needs a secret."""
    mine = for_caller(error)
    advice = mine.advice.partition("Run python -m aiocredentials doctor")[0]
    mine.advice = advice.rstrip()
    _write_message(mine)
    return mine


def what_of(error: CredentialsError) -> str | None:
    """Return the first part of an error's message; None if the caller wrote the whole message."""
    return cast("str | None", vars(error).get("_what"))


def set_what(error: CredentialsError, what: str) -> None:
    """Replace the first part of an error's message; the other parts stay."""
    vars(error)["_what"] = what
    _write_message(error)


def _completed(error: CredentialsError, what: str, advice: str | None) -> CredentialsError:
    if advice is not None:
        error.advice = advice
    set_what(error, what)
    return error


def _write_message(error: CredentialsError) -> None:
    """Write the message: what happened, what was asked, and what to do."""
    what = what_of(error)
    if what is not None:
        message = f"{what} {_question(error)}{error.advice}"
        error.args = (message.rstrip(),)


def _question(error: CredentialsError) -> str:
    """Return the sentence on the secret, the region and the role; it may be empty."""
    parts: list[str] = []
    if error.secret_name:
        parts.append(f"secret {shown(error.secret_name)}")
    if error.region_name:
        region = f"region {shown(error.region_name)}"
        if error.region_source:
            region += f" (from {one_line(error.region_source)})"
        parts.append(region)
    if error.role_arn:
        parts.append(f"as role {shown(error.role_arn)}")
    if not parts:
        return ""
    listed = ", ".join(parts)
    return f"Asked: {listed}. "
