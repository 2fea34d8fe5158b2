"""Every error that this library raises. Foreign errors become one of these in `_mapping`.

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
    └── AWSError                    AWS answered with a code that nobody here knows

An error that AWS answered is a `botocore.exceptions.ClientError` as well, with its `.response`. No
error here holds the value of a secret, and none is chained to the error that it was made from: what
botocore raises may hold a whole answer.

Who refused, and what was asked, decides the class. If AWS refused the secret, the error is
permanent. If STS or SSO refused the AWS credentials, or they are set up wrongly, it is an
`AuthenticationError`, permanent as well. If the source of the AWS credentials couldn't be asked, or
has none just now, it is a `CredentialSourceError`: AWS has refused nothing, so a cached value is
served up to `max_stale`. In the last two cases `asked` is False: no secret was asked for.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

E = TypeVar("E", bound="CredentialsError")


class CredentialsError(Exception):
    """The root of all errors of this library.

    `transient` says whether the same call may succeed a little later, and so whether a stale value
    may be served. `asked` is False if Secrets Manager was never asked for the secret: the AWS
    credentials, the region or a setting failed first. `advice` says what to do; the message ends
    with it. `code` and `request_id` are AWS's own, where AWS answered; `region_source` says where
    the region came from.
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
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        # Not super().__init__(): in a twin, next in line is ClientError, which takes other
        # arguments.
        Exception.__init__(self, message)
        self.secret_name = secret_name
        self.region_name = region_name
        self.region_source = region_source
        self.code = code
        self.request_id = request_id
        # The first part of the message: what happened, without what was asked. None where a caller
        # wrote the message.
        self._what: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep errors picklable and copyable; ClientError's own way would lose the facts."""
        public = next(cls for cls in type(self).__mro__ if cls not in _TWIN_CLASSES)
        return _rebuild, (public, self.args, self.__dict__)


class SecretNotFoundError(CredentialsError):
    """No such secret, version or staging label in the region that was asked."""

    advice = (
        "Correct the name, create the secret, or ask the region that has it: a secret lives in "
        "one region, and a wrong region is the usual reason."
    )


class SecretDecryptionError(CredentialsError):
    """Secrets Manager can't decrypt the secret with its KMS key."""

    advice = "See that the KMS key is there, enabled, and lets this identity do kms:Decrypt."


class InvalidParameterError(CredentialsError):
    """A parameter or a setting is not valid."""

    advice = (
        "Correct the secret's name, version or staging label, or the setting that is named here."
    )


class InvalidRequestError(CredentialsError):
    """The request isn't possible in the secret's present state."""

    advice = "Look at the secret's state: aws secretsmanager describe-secret."


class SecretDeletedError(InvalidRequestError):
    """The secret is scheduled for deletion."""

    advice = "It is scheduled for deletion: restore it (aws secretsmanager restore-secret), or stop asking for it."


class InternalServiceError(CredentialsError):
    """Secrets Manager, or a server in between, failed: an answer of the 5xx kind."""

    transient = True
    advice = "The fault is on the service's side: try again later."


class ThrottledError(CredentialsError):
    """Too many requests: a quota of the account is used up."""

    transient = True
    advice = "Fewer calls help: share one CredentialsPool among all callers; or raise the quota."


class AccessDeniedError(CredentialsError):
    """The identity is known and isn't allowed to do this."""

    advice = (
        "Allow the identity secretsmanager:GetSecretValue on this secret, and kms:Decrypt on "
        "its key where the key is your own; look at the secret's resource policy, too."
    )


class AuthenticationError(CredentialsError):
    """The AWS credentials are missing, set up wrongly, or refused by AWS.

    `asked` is True if Secrets Manager refused them, and False if STS or SSO did, or if they
    couldn't be loaded.
    """

    advice = "Run python -m aiocredentials doctor NAME: it shows which AWS credentials this process finds."


class CredentialSourceError(AuthenticationError):
    """The source of the AWS credentials didn't answer, or has none just now: nothing was refused.

    The source is the metadata service of EC2, the endpoint of a container, STS, SSO, a file or a
    `credential_process`. No source at all counts as well: a metadata service that isn't ready yet
    looks the same.
    """

    transient = True
    asked = False
    advice = (
        "Check that the source of the AWS credentials can be reached. Run python -m "
        "aiocredentials doctor NAME: it shows which one this process uses."
    )


class InvalidRegionError(CredentialsError):
    """The region isn't one, or there is none."""

    asked = False
    advice = "Correct the region where it was set."


class EndpointUnreachableError(CredentialsError):
    """No answer: refused, reset, timed out, not resolved, or a TLS connection that can't be trusted."""

    transient = True
    advice = "Check the network, the proxy, the VPC endpoint and its security group, and the endpoint's certificate."


class MalformedResponseError(CredentialsError):
    """An answer that isn't one: not AWS's, not complete, or not about the secret that was asked."""

    transient = True
    advice = "Something between here and Secrets Manager answers in its place: look at endpoint_url, proxies, DNS."


class SecretFormatError(CredentialsError):
    """The secret isn't what the caller takes it for: not JSON, not text, or refused by `decode`."""

    advice = "Compare the secret's format with what the code expects; its text is left out here on purpose."


class SecretExpiredError(CredentialsError):
    """Only a value older than `max_stale` is left, and it can't be refreshed; `reason` says why."""

    transient = True
    reason: CredentialsError | None = None


class PoolClosedError(CredentialsError):
    """The pool isn't open: not yet, not any more, or closed during the call."""


class AWSError(CredentialsError):
    """AWS answered with an error whose code isn't in the table."""

    advice = "Look the code up in AWS's documentation."


class TransportError(BotoCoreError):
    """Raised into botocore for what our transport refuses or can't set up; its text is ours."""

    fmt = "{why}"


class RedirectError(TransportError):
    """An answer that points to another place."""


# How long a text that others chose may be in a message: a name, and AWS's own sentence.
LONGEST_NAME, LONGEST_SENTENCE = 200, 1000


def _cut(text: str, longest: int) -> str:
    """Cut a text that is too long in its middle."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}…{text[1 + half - longest :]}"


def one_line(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text that others chose, fit for a message: not too long, and of one line."""
    letters = _cut(text, longest)
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in letters)


def shown(text: str) -> str:
    """Return a name in quotes, fit for a message: not too long, and escaped as `repr` does it."""
    return repr(_cut(text, LONGEST_NAME))


def _rebuild(
    public: type[CredentialsError],
    args: tuple[str, ...],
    state: dict[str, Any],
) -> CredentialsError:
    cls = _TWINS[public] if "response" in state else public
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


def _twin(cls: type[CredentialsError]) -> type[CredentialsError]:
    """The same class, by the same name, for an error that AWS answered: a ClientError too."""
    return type(
        cls.__name__,
        (cls, ClientError),
        {"__module__": __name__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__},
    )


def _descendants(cls: type[CredentialsError]) -> Iterator[type[CredentialsError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _descendants(child)


_TWINS = {cls: _twin(cls) for cls in list(_descendants(CredentialsError))}
_TWIN_CLASSES = frozenset(_TWINS.values())


def _asked(facts: Mapping[str, Any], advice: str) -> str:
    """Say which secret and region were asked, where the region came from, and what to do."""
    secret: str | None = facts.get("secret_name")
    region: str | None = facts.get("region_name")
    source: str | None = facts.get("region_source")
    parts: list[str] = []
    if secret:
        parts.append(f"secret {shown(secret)}")
    if region:
        origin = f" (from {one_line(source)})" if source else ""
        parts.append(f"region {shown(region)}{origin}")
    asked = f"Asked: {', '.join(parts)}. " if parts else ""
    return f"{asked}{advice}".rstrip()


def make_error(
    cls: type[CredentialsError], what: str, *, advice: str | None = None, **facts: str | None
) -> CredentialsError:
    """Make an error that AWS didn't answer: what happened, which secret and region, what to do.

    `advice` takes the place of the class's own; `facts` are `secret_name`, `region_name` and
    `region_source`.
    """
    error = cls("", **facts)
    vars(error)["_what"] = what
    return _advised(error, advice)


def make_answered_error(
    cls: type[CredentialsError],
    what: str,
    *,
    advice: str | None,
    response: dict[str, Any],
    operation: str,
    **facts: str | None,
) -> CredentialsError:
    """Make an error that AWS answered: one that is a ClientError as well."""
    error = _TWINS[cls]("", **facts)
    vars(error).update(_what=what, response=response, operation_name=operation)
    return _advised(error, advice)


def for_caller(error: CredentialsError, **facts: str | None) -> CredentialsError:
    """Return a copy of an error that several callers get, as the error of one of them.

    `facts` are what this caller asked: `secret_name`, `region_name` and `region_source`. Those that
    are None stay as they are. A copy has no traceback, so nothing grows with the number of callers.
    """
    mine = copy.copy(error)
    vars(mine).update({name: fact for name, fact in facts.items() if fact is not None})
    return _phrased(mine)


def _advised(error: E, advice: str | None) -> E:
    if advice is not None:
        error.advice = advice
    return _phrased(error)


def _phrased(error: E) -> E:
    """Put the message together, unless a caller wrote it: what happened, was asked, and is to do."""
    what: str | None = vars(error).get("_what")
    if what is not None:
        error.args = (f"{what} {_asked(vars(error), error.advice)}".rstrip(),)
    return error
