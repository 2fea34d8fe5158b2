"""Every error that this library raises, and the one place where foreign errors become ours.

    CredentialsError
    ├── SecretNotFoundError
    ├── SecretDecryptionError
    ├── InvalidParameterError
    ├── InvalidRequestError
    │   └── SecretDeletedError
    ├── InternalServiceError        transient
    ├── ThrottledError              transient
    ├── AccessDeniedError
    ├── AuthenticationError
    ├── InvalidRegionError
    ├── EndpointUnreachableError    transient
    ├── MalformedResponseError      transient
    ├── SecretFormatError
    ├── SecretExpiredError          transient
    ├── PoolClosedError
    └── AWSError                    AWS answered with a code that nobody here knows

An error that AWS answered is a `botocore.exceptions.ClientError` as well, with its `.response`. No error here holds the
value of a secret, and none is chained to the error that it was made from: what botocore raises may hold a whole answer.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine, Iterator, Mapping

P = ParamSpec("P")
R = TypeVar("R")


class CredentialsError(Exception):
    """The root of all errors of this library.

    `transient` says whether the same call may succeed a little later, and so whether a stale value may be served.
    `code` and `request_id` are AWS's own, where AWS answered; `region_source` says where the region came from.
    """

    transient: ClassVar[bool] = False
    advice: ClassVar[str] = ""

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
        # Not super().__init__(): in a twin, next in line is ClientError, which takes other arguments.
        Exception.__init__(self, message)
        self.secret_name = secret_name
        self.region_name = region_name
        self.region_source = region_source
        self.code = code
        self.request_id = request_id
        # The first part of the message: what happened, without what was asked. None where a caller wrote the message.
        self._what: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep errors picklable and copyable; ClientError's own way would lose the facts."""
        public = next(cls for cls in type(self).__mro__ if cls not in _TWIN_CLASSES)
        return _rebuild, (public, self.args, self.__dict__)


class SecretNotFoundError(CredentialsError):
    """No such secret, version or staging label in the region that was asked."""

    advice = (
        "Correct the name, create the secret, or ask the region that has it: a secret lives in one region, "
        "and a wrong region is the usual reason."
    )


class SecretDecryptionError(CredentialsError):
    """Secrets Manager can't decrypt the secret with its KMS key."""

    advice = "See that the KMS key is there, enabled, and lets this identity do kms:Decrypt."


class InvalidParameterError(CredentialsError):
    """A parameter or a setting is not valid."""

    advice = "Correct the secret's name, version or staging label, or the setting that is named here."


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
        "Allow the identity secretsmanager:GetSecretValue on this secret, and kms:Decrypt on its key where the key is "
        "your own; look at the secret's resource policy, too."
    )


class AuthenticationError(CredentialsError):
    """No AWS credentials, or some that AWS doesn't accept."""

    advice = "See which AWS credentials this process has: aws sts get-caller-identity."


class InvalidRegionError(CredentialsError):
    """The region isn't one, or there is none."""

    advice = "Correct the region where it was set."


class EndpointUnreachableError(CredentialsError):
    """No answer: refused, reset, timed out, not resolved, or a TLS connection that can't be trusted."""

    transient = True
    advice = "Check the network, the proxy, the VPC endpoint and its security group, and the endpoint's certificate."


class MalformedResponseError(CredentialsError):
    """An answer that isn't one: not Secrets Manager's, not complete, or not about the secret that was asked."""

    transient = True
    advice = "Something between here and Secrets Manager answers in its place: look at endpoint_url, proxies, DNS."


class SecretFormatError(CredentialsError):
    """The secret isn't what the caller takes it for: not JSON, not text, or refused by `decode`."""

    advice = "Compare the secret's format with what the code expects; its text is left out here on purpose."


class SecretExpiredError(CredentialsError):
    """Only a value older than `max_stale` is left, and it can't be refreshed; `reason` is what kept it from that."""

    transient = True
    reason: CredentialsError | None = None


class PoolClosedError(CredentialsError):
    """The pool isn't open: not yet, not any more, or closed during the call."""


class AWSError(CredentialsError):
    """AWS answered with an error whose code isn't in the table."""

    advice = "Look the code up in AWS's documentation."


class TransportError(BotoCoreError):
    """What our transport refuses, or can't set up, raised into botocore; its text is ours, and so safe to show."""

    fmt = "{why}"


class RedirectError(TransportError):
    """An answer that points to another place."""


def _registry(table: Mapping[type[CredentialsError], str]) -> dict[str, type[CredentialsError]]:
    """Turn class → names around, and refuse a name that is given twice."""
    registry: dict[str, type[CredentialsError]] = {}
    for cls, names in table.items():
        for name in names.split():
            if name in registry:
                message = f"{name} is in the table twice"
                raise AssertionError(message)
            registry[name] = cls
    return registry


# AWS's codes, without the suffix "Exception" that some services add and others don't. Sources: the API references of
# Secrets Manager (GetSecretValue, BatchGetSecretValue, Common Errors), KMS (Decrypt) and STS, and botocore's retries.
_BY_CODE = _registry({
    SecretNotFoundError: "ResourceNotFound",
    SecretDecryptionError: """
        DecryptionFailure KMSDisabled KMSInvalidState KMSNotFound KMSAccessDenied KMSOptInRequired Disabled
        KMSInvalidKeyUsage InvalidKeyUsage InvalidCiphertext IncorrectKey InvalidGrantToken KeyUnavailable
    """,
    InvalidParameterError: "InvalidParameter Validation ValidationError InvalidParameterValue MissingParameter",
    InvalidRequestError: "InvalidRequest",
    InternalServiceError: """
        InternalServiceError InternalFailure InternalError InternalServerError ServiceUnavailable
        ServiceUnavailableError KMSInternal DependencyTimeout IDPCommunicationError
    """,
    ThrottledError: """
        Throttling ThrottlingError Throttled TooManyRequests RequestLimitExceeded RequestThrottled SlowDown
        BandwidthLimitExceeded PriorRequestNotComplete KMSThrottling ProvisionedThroughputExceeded
    """,
    AccessDeniedError: "AccessDenied NotAuthorized UnauthorizedOperation OptInRequired Forbidden",
    AuthenticationError: """
        UnrecognizedClient ExpiredToken InvalidSignature SignatureDoesNotMatch IncompleteSignature
        MissingAuthenticationToken InvalidClientTokenId InvalidAccessKeyId AuthFailure RequestExpired Unauthorized
        RequestTimeTooSkewed InvalidToken InvalidIdentityToken IDPRejectedClaim RegionDisabled
    """,
    EndpointUnreachableError: "RequestTimeout",
})  # fmt: skip

# By the name of the class, so that a class which only a newer botocore has can stand here as well. ConnectionError is
# the name of botocore's and of the built-in one; TimeoutError is asyncio's as well.
_BY_CLASS = _registry({
    InvalidParameterError: """
        ParamValidationError InvalidProxiesConfigError InvalidRetryConfigurationError InvalidDefaultsMode
        InvalidEndpointConfigurationError EndpointProviderError EndpointVariantError UnknownSignatureVersionError
        InvalidSTSRegionalEndpointsConfigError UnsupportedSignatureVersionError
    """,
    AuthenticationError: """
        NoCredentialsError PartialCredentialsError CredentialRetrievalError UnknownCredentialError SSOError LoginError
        TokenRetrievalError NoAuthTokenError UnknownTokenProviderError RefreshWithMFAUnsupportedError ProfileNotFound
        ConfigNotFound ConfigParseError InvalidConfigError MissingDependencyException FileNotFoundError PermissionError
    """,
    InvalidRegionError: "NoRegionError InvalidRegionError UnknownRegionError ServiceNotInRegionError",
    MalformedResponseError: "RedirectError",
    EndpointUnreachableError: """
        TransportError ConnectionError HTTPClientError MetadataRetrievalError TimeoutError OSError
    """,
})  # fmt: skip

# What botocore's exceptions about configuration name: never a value.
_NAMES = ("profile", "path", "provider", "cred_var")
_CODE = re.compile(r"[\w.-]+")
_DELETED = re.compile(r"marked (for deletion|deleted)|was deleted|scheduled for deletion", re.IGNORECASE)
_REDIRECT, _ERROR, _TOO_MANY, _SERVER_ERROR = 300, 400, 429, 500


def _rebuild(public: type[CredentialsError], args: tuple[str, ...], state: dict[str, Any]) -> CredentialsError:
    cls = _TWINS[public] if "response" in state else public
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


def _twin(cls: type[CredentialsError]) -> type[CredentialsError]:
    """The same class for an error that AWS answered: a ClientError too. It goes by the name of the public one."""
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


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was made from: causes, contexts, and what botocore and aiohttp wrap."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        link = pending.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        wrapped: Mapping[str, object] = getattr(link, "kwargs", {})
        pending += [wrapped.get("error"), link.__cause__, link.__context__]
        pending += [getattr(link, "certificate_error", None), getattr(link, "os_error", None)]


def _reason(error: BaseException) -> str:
    """Say what went wrong below botocore in words that can't hold a body: the system's and OpenSSL's own."""
    links = list(chain(error))
    for link in links:
        if isinstance(link, TransportError):
            return str(link)
    for link in links:
        # aiohttp's own class is one of these too, and has no message.
        if isinstance(link, ssl.SSLCertVerificationError) and (refused := getattr(link, "verify_message", "")):
            return f"the TLS certificate was refused: {refused}"
    for link in links:
        if isinstance(link, ssl.SSLError) and (reason := getattr(link, "reason", "")):
            return f"TLS failed: {reason}"
    for link in links:
        if isinstance(link, OSError) and link.strerror and not getattr(link, "os_error", None):
            return f"{type(error).__name__}: {link.strerror}"
    given: Mapping[str, object] = getattr(error, "kwargs", {})
    names = ", ".join(f"{name} {given[name]!r}" for name in _NAMES if name in given)
    return type(error).__name__ + (f" ({names})" if names else "")


def unresolved(error: BaseException) -> bool:
    """Whether the host name doesn't exist, as far as DNS knows."""
    codes = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
    return any(isinstance(link, socket.gaierror) and link.errno in codes for link in chain(error))


def _answered_class(code: str, status: int, message: str) -> type[CredentialsError]:
    cls = _BY_CODE.get(code.removesuffix("Exception"))
    if cls is InvalidRequestError and _DELETED.search(message):
        return SecretDeletedError
    if cls is not None:
        return cls
    if status >= _SERVER_ERROR:
        return InternalServiceError
    if status == _TOO_MANY:
        return ThrottledError
    return MalformedResponseError if _REDIRECT <= status < _ERROR else AWSError


def _class_of(error: BaseException) -> type[CredentialsError]:
    """Find the class for an error without an answer. What nobody foresaw escaped a parser: it was no answer."""
    cls = next((_BY_CLASS[base.__name__] for base in type(error).__mro__ if base.__name__ in _BY_CLASS), None)
    if cls is AuthenticationError and error.__context__ is not None:
        # botocore wraps an unreachable metadata or token service as if there were no credentials.
        inner = _class_of(error.__context__)
        return inner if inner is EndpointUnreachableError else cls
    return cls or MalformedResponseError


def _asked(cls: type[CredentialsError], facts: Mapping[str, str | None]) -> str:
    """Say which secret and region were asked, where the region came from, and what to do."""
    secret, region, source = (facts.get(fact) for fact in ("secret_name", "region_name", "region_source"))
    parts = [f"secret {secret!r}"] if secret else []
    parts += [f"region {region!r}" + (f" (from {source})" if source else "")] if region else []
    return f"{'Asked: ' + ', '.join(parts) + '. ' if parts else ''}{cls.advice}".rstrip()


def describe(cls: type[CredentialsError], what: str, **facts: str | None) -> CredentialsError:
    """Make an error that AWS didn't answer: what happened, which secret and region, what to do."""
    error = cls(f"{what} {_asked(cls, facts)}".rstrip(), **facts)
    vars(error)["_what"] = what
    return error


def for_caller(error: CredentialsError, **facts: str | None) -> CredentialsError:
    """Return a copy of an error that several callers get, as the error of one of them.

    `facts` are what this caller asked: `secret_name`, `region_name` and `region_source`. Those that are None stay as
    they are. A copy has no traceback, so nothing grows with the number of callers.
    """
    mine = copy.copy(error)
    vars(mine).update({name: fact for name, fact in facts.items() if fact is not None})
    what: str | None = vars(mine).get("_what")
    if what is not None:
        mine.args = (f"{what} {_asked(type(mine), vars(mine))}".rstrip(),)
    return mine


def map_error(error: BaseException, **facts: str | None) -> CredentialsError:
    """Make the error that botocore's, aiohttp's or the system's stands for; raise it outside of the `except`.

    `facts` are `secret_name`, `region_name` and `region_source`.
    """
    if isinstance(error, CredentialsError):
        return copy.copy(error)  # without its traceback and context, which may hold what botocore raised
    if isinstance(error, ClientError):
        return from_answer(error.response, error.operation_name, **facts)
    cls = _class_of(error)
    what = "AWS credentials can't be had" if cls is AuthenticationError else "Secrets Manager gave no usable answer"
    return describe(cls, f"{what}: {_reason(error)}.", **facts)


def from_answer(response: Mapping[str, Any], operation: str, **facts: str | None) -> CredentialsError:
    """Make the error that AWS answered: a ClientError as well, whose response has AWS's own words and nothing else."""
    metadata: dict[str, Any] = dict(response.get("ResponseMetadata", {}))
    status = int(metadata.get("HTTPStatusCode", 0))
    code: object = response.get("Error", {}).get("Code") or "Unknown"
    message: object = response.get("Error", {}).get("Message") or ""
    headers = metadata.get("HTTPHeaders", {})
    # With this header botocore takes the code from there, and looks like it had read one in the body.
    is_json = "json" in headers.get("content-type", "json") and "x-amzn-query-error" not in headers
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        code, is_json = "Unknown", False
    if not is_json or code == str(status) or not isinstance(message, str):
        # Without JSON, botocore's message is the whole body: whatever somebody in between chose to send.
        message = f"HTTP status {status}, and a body that isn't AWS's (left out)"
    cls = _answered_class(code, status, message)
    head = f"An error occurred ({code}) when calling the {operation} operation: {message.rstrip('.')}."
    mapped = _TWINS[cls](f"{head} {_asked(cls, facts)}", code=code, request_id=metadata.get("RequestId"), **facts)
    vars(mapped).update(
        _what=head,
        response={"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata},
        operation_name=operation,
    )
    return mapped


_LOGGED_AS_ERRORS = (SecretDecryptionError, InternalServiceError, InvalidParameterError, InvalidRequestError)


def map_client_errors(
    logger: logging.Logger,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Decorate an `async def` that calls botocore: its errors become this library's, and the known ones are logged.

    Decryption failures, internal errors, invalid parameters and invalid requests are logged with `logger.exception`, a
    secret that isn't there with `logger.info`. Every error is raised, also one whose code nobody knows (`AWSError`).
    What isn't botocore's passes untouched. The error names the secret and the region if the function has arguments
    `secret_name` (or `SecretId`) and `region_name`, or is a method of an object with such attributes.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        if not inspect.iscoroutinefunction(function):
            message = (
                f"map_client_errors decorates an async def; {getattr(function, '__qualname__', function)!r} isn't one."
            )
            raise TypeError(message)
        signature = inspect.signature(function)

        @functools.wraps(function)
        async def mapping(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return await function(*args, **kwargs)
            except CredentialsError as error:
                _log(logger, error)
                raise
            except (ClientError, BotoCoreError) as error:
                mapped = map_error(error, **_facts(signature, args, kwargs))
            # Outside of the `except`, so that botocore's error isn't the context of ours.
            _log(logger, mapped)
            raise mapped

        return mapping

    return decorate


def _log(logger: logging.Logger, error: CredentialsError) -> None:
    if isinstance(error, _LOGGED_AS_ERRORS):
        logger.exception("%s", error, exc_info=error)  # noqa: LOG004 (one of the two callers is past its `except`)
    elif isinstance(error, SecretNotFoundError):
        logger.info("%s", error)


def _facts(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, str | None]:
    """Read which secret and region a call was about off its arguments, or off the object whose method it is."""
    # Not signature.bind: Python 3.11 refuses a keyword that has the name of a positional-only parameter.
    named: dict[str, Any] = {**dict(zip(signature.parameters, args, strict=False)), **kwargs}
    holder = args[0] if args else None
    secret = [named.get("secret_name"), named.get("SecretId"), getattr(holder, "secret_name", None)]
    region = [named.get("region_name"), getattr(holder, "region_name", None)]
    facts = {"secret_name": secret, "region_name": region}
    return {fact: next((value for value in values if isinstance(value, str)), None) for fact, values in facts.items()}
