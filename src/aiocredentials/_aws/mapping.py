"""How errors of botocore, aiohttp and the system become ours: here their class is decided.

Two questions decide it. Who refused: AWS, the source of the AWS credentials, or something on the
way to AWS? And what was asked: Secrets Manager for a secret, or STS, SSO and their like for AWS
credentials?
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from aiocredentials._aws.credential_findings import (
    CREDENTIALS,
    DOCTOR,
    of_the_credentials,
    unforeseen,
)
from aiocredentials._aws.findings import (
    SETTINGS,
    Failure,
    Finding,
    chain,
    explained,
    is_of_a_setting,
    is_of_the_credentials,
    of_a_header,
    of_a_mock,
    of_a_setting,
    of_a_url,
)
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
    TransportError,
    make_answered_error,
    make_error,
    one_line,
    shown,
)

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine, Mapping

P = ParamSpec("P")
R = TypeVar("R")


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


# AWS's codes, without the suffix "Exception" that some services add and others don't. Sources: the
# API references of Secrets Manager (GetSecretValue, BatchGetSecretValue, Common Errors), KMS
# (Decrypt) and STS, and botocore's retries.
_BY_CODE = _registry({
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
    AccessDeniedError: "AccessDenied NotAuthorized UnauthorizedOperation OptInRequired Forbidden",
    AuthenticationError: """
        UnrecognizedClient ExpiredToken InvalidSignature SignatureDoesNotMatch
        IncompleteSignature MissingAuthenticationToken InvalidClientTokenId InvalidAccessKeyId
        AuthFailure RequestExpired Unauthorized RequestTimeTooSkewed RequestInTheFuture
        InvalidToken InvalidIdentityToken IDPRejectedClaim RegionDisabled
    """,
    EndpointUnreachableError: "RequestTimeout",
})  # fmt: skip

# What isn't about AWS credentials (those are in `CREDENTIALS`), by the name of the class, so that
# one which only a newer botocore has can stand here as well. A class that isn't here goes by its
# nearest base that is. ConnectionError is the name of botocore's and of the built-in one;
# TimeoutError is asyncio's as well.
_BY_CLASS = _registry({
    InvalidParameterError: """
        ParamValidationError ValidationError MissingParametersError InvalidExpressionError
        PaginationError OperationNotPageableError UnknownClientMethodError UnknownServiceStyle
        UndefinedModelAttributeError WaiterConfigError UnseekableStreamError StubResponseError
        DataNotFoundError ApiVersionNotFoundError UnsupportedServiceProtocolsError
        MD5UnavailableError InvalidProxiesConfigError InvalidRetryConfigurationError
        InvalidDefaultsMode InvalidChecksumConfigError InvalidEndpointConfigurationError
        InvalidEndpointDiscoveryConfigurationError EndpointProviderError EndpointVariantError
        InvalidHostLabelError InvalidSTSRegionalEndpointsConfigError
        UnknownSignatureVersionError UnsupportedSignatureVersionError InvalidDNSNameError
        InvalidS3AddressingStyleError InvalidS3UsEast1RegionalEndpointConfigError
        UnsupportedS3ArnError UnsupportedS3ControlArnError UnsupportedOutpostResourceError
        UnsupportedS3ConfigurationError UnsupportedS3AccesspointConfigurationError
        UnsupportedS3ControlConfigurationError Warning
    """,
    InvalidRequestError: "WaiterError",
    InvalidRegionError: """
        NoRegionError InvalidRegionError UnknownRegionError ServiceNotInRegionError
        UnknownEndpointError UnknownFIPSEndpointError
    """,
    ThrottledError: "CapacityNotAvailableError",
    MalformedResponseError: """
        RedirectError ResponseParserError IncompleteReadError ChecksumError
        FlexibleChecksumError AwsChunkedWrapperError
    """,
    EndpointUnreachableError: "TransportError ConnectionError HTTPClientError TimeoutError OSError",
})  # fmt: skip

# The operations by which AWS credentials are loaded. Those of STS answer XML, the others JSON.
_OF_STS = frozenset({
    "AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetSessionToken", "GetCallerIdentity",
})  # fmt: skip
_OF_THE_CREDENTIALS = _OF_STS | {"GetRoleCredentials", "CreateToken", "CreateOAuth2Token"}
_ADVICE_BY_OPERATION = {
    "AssumeRole": "Correct role_arn, or let the role's trust policy allow sts:AssumeRole to the identity that asks.",
    "AssumeRoleWithWebIdentity": (
        "Let the role's trust policy allow sts:AssumeRoleWithWebIdentity to this web identity, "
        "and check AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE, or role_arn and "
        "web_identity_token_file in the profile."
    ),
    "GetRoleCredentials": "Check sso_account_id and sso_role_name in the profile, and who is signed in.",
}
_RENEW_BY_OPERATION = {
    "AssumeRole": (
        "Renew the credentials that the profile uses to assume the role (source_profile, credential_source)."
    ),
    "AssumeRoleWithWebIdentity": "Check the program that renews the token in AWS_WEB_IDENTITY_TOKEN_FILE.",
}

_NOT_LOADED = "No AWS credentials could be loaded"
_NO_ANSWER = "Secrets Manager gave no usable answer"
_CLOCK = "Set the clock of this host: AWS refuses a request whose time is more than five minutes from its own."
_REGION = f"{InvalidRegionError.advice} Upper and lower case count."
_PROXY = "Put the user and the password that the proxy wants into its URL: HTTPS_PROXY, or proxies of the config."
_CA_BUNDLE = (
    "Check AWS_CA_BUNDLE, ca_bundle in the profile, and verify and client_cert of the config."
)

_HOST = re.compile(r"https?://(?:[^/@]*@)?([^/@:]+)")
_CODE = re.compile(r"[\w.-]+")
_DELETED = re.compile(
    r"marked (for deletion|deleted)|was deleted|scheduled for deletion", re.IGNORECASE
)
_NO_VERSION = re.compile(r"secret value for (?:(staging label)|VersionId): (\S+)")
_SKEWED = re.compile(r"Signature (expired|not yet current)")
_SKEWED_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_REDIRECTS = range(300, 400)
_PROXY_AUTHENTICATION = 407
_TOO_MANY = 429
_SERVER_ERROR = 500
# c-ares' numbers for a name that has no address, and for one that doesn't exist.
_ARES_UNRESOLVED = ((1,), (4,))


# Errors without an answer


def map_error(
    error: BaseException, *, profile: str | None = None, **facts: str | None
) -> CredentialsError:
    """Make the error that one of a call stands for; raise it outside of the `except`.

    `profile` is the AWS profile in use; `facts` are `secret_name`, `region_name` and
    `region_source`.
    """
    return _map(error, profile, facts, opening=False)


def map_opening_error(
    error: BaseException, *, profile: str | None = None, **facts: str | None
) -> CredentialsError:
    """Make the error that one of opening a session stands for; raise it outside of the `except`.

    No secret was asked for yet, so it is about AWS credentials, a setting or the network. `profile`
    and `facts` are those of `map_error`.
    """
    return _map(error, profile, facts, opening=True)


def _map(
    error: BaseException, profile: str | None, facts: Mapping[str, str | None], *, opening: bool
) -> CredentialsError:
    if isinstance(error, CredentialsError):
        # Without its traceback and context, which may hold what botocore raised.
        return copy.copy(error)
    about_credentials = opening or is_of_the_credentials(error)
    if isinstance(error, ClientError):
        operation = _Operation(error.operation_name, profile, about_credentials=about_credentials)
        return _from_answer(error.response, operation, facts)
    cls, finding = _find(Failure(error, profile), opening=opening)
    made = make_error(cls, f"{finding.what}.", advice=finding.advice or None, **facts)
    if cls in {AuthenticationError, InvalidParameterError}:
        made.asked = False
    return made


def _find(failure: Failure, *, opening: bool) -> tuple[type[CredentialsError], Finding]:
    """Find the class for an error without an answer, and what to say of it."""
    error = failure.error
    if (finding := of_a_header(failure)) is not None:
        return AuthenticationError, finding
    if (finding := of_a_mock(error) or of_a_url(error)) is not None:
        return InvalidParameterError, finding
    cls = _class_of(error)
    if (finding := _about_credentials(failure, cls, opening=opening)) is not None:
        refined = CredentialSourceError if finding.transient else AuthenticationError
        return refined, finding._replace(what=f"{_NOT_LOADED}: {finding.what}")
    if (finding := explained(failure, SETTINGS)) is not None:
        return InvalidParameterError, finding
    if cls is InvalidParameterError or (cls is None and (opening or is_of_a_setting(error))):
        return InvalidParameterError, of_a_setting(failure)
    # What nobody foresaw escaped a parser in a call: it was no answer.
    cls = cls or MalformedResponseError
    return cls, Finding(f"{_NO_ANSWER}: {_reason(error)}", _advice_on_the_way(error))


def _about_credentials(
    failure: Failure,
    cls: type[CredentialsError] | None,
    *,
    opening: bool,
) -> Finding | None:
    """Explain an error that is about AWS credentials; None if it isn't."""
    error = failure.error
    if (finding := explained(failure, CREDENTIALS)) is not None:
        return finding
    is_about_a_file = isinstance(error, OSError) and error.filename is not None
    if not is_about_a_file and not is_of_the_credentials(error):
        return None
    if (finding := of_the_credentials(failure)) is not None:
        return finding
    if cls is not None and cls.transient:
        # Not urlsplit, which raises for some that aren't URLs.
        host = _HOST.match(failure.field("endpoint_url"))
        source = host[1] if host else "their source"
        return Finding(
            f"{source} gave no usable answer: {_reason(error)}",
            _advice_on_the_way(error),
            transient=True,
        )
    return unforeseen(failure, opening=opening)


def _class_of(error: BaseException) -> type[CredentialsError] | None:
    return next(
        (_BY_CLASS[base.__name__] for base in type(error).__mro__ if base.__name__ in _BY_CLASS),
        None,
    )


def _reason(error: BaseException) -> str:
    """Say what went wrong below botocore, in the words of the system and of OpenSSL alone."""
    links = list(chain(error))
    for link in links:
        if isinstance(link, TransportError):
            return str(link)
        # aiohttp's error for what a proxy answers in place of a connection.
        if type(link).__name__ == "ClientHttpProxyError":
            answer = _status(getattr(link, "status", 0))
            return f"{type(error).__name__}: the proxy answered with {answer}"
    for link in links:
        # aiohttp's own class is one of these too, and has no message.
        refused = getattr(link, "verify_message", "")
        if refused and isinstance(link, ssl.SSLCertVerificationError):
            return f"the TLS certificate was refused: {refused}"
    for link in links:
        reason = getattr(link, "reason", "")
        if reason and isinstance(link, ssl.SSLError):
            return f"TLS failed: {reason}"
    for link in links:
        if isinstance(link, OSError) and link.strerror and not getattr(link, "os_error", None):
            return f"{type(error).__name__}: {link.strerror}"
    return type(error).__name__


def _status(status: int) -> str:
    needed = " (proxy authentication required)" if status == _PROXY_AUTHENTICATION else ""
    return f"HTTP status {status}{needed}"


def _advice_on_the_way(error: BaseException) -> str:
    """Return the advice where more can be said than what the class says; empty where it can't."""
    for link in chain(error):
        if getattr(link, "status", None) == _PROXY_AUTHENTICATION:
            return _PROXY
        if isinstance(link, TransportError) and str(link).startswith("the CA bundle"):
            return _CA_BUNDLE
    return ""


def unresolved(error: BaseException) -> str | None:
    """Return the host, or the URL, that DNS doesn't know; None if that isn't what is wrong."""
    links = list(chain(error))
    if not any(_is_unresolved(link) for link in links):
        return None
    # aiohttp knows the host: it may be a proxy's, and not the endpoint's.
    hosts = [host for link in links if (host := getattr(link, "host", None))]
    return str(hosts[0] if hosts else getattr(error, "kwargs", {}).get("endpoint_url", ""))


def _is_unresolved(link: BaseException) -> bool:
    if isinstance(link, socket.gaierror):
        return link.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
    # With aiodns installed, aiohttp raises an OSError without a number, made from this one.
    return type(link).__name__ == "DNSError" and link.args[:1] in _ARES_UNRESOLVED


# Errors that were answered


def from_answer(
    response: Mapping[str, Any], operation: str, **facts: str | None
) -> CredentialsError:
    """Make the error that AWS answered: a ClientError too, with AWS's words and nothing else."""
    return _from_answer(response, _Operation(operation), facts)


class _Operation(NamedTuple):
    """What was asked, and for what: a secret, or the AWS credentials of a profile."""

    name: str
    profile: str | None = None
    about_credentials: bool = False


def _from_answer(
    response: Mapping[str, Any], operation: _Operation, facts: Mapping[str, str | None]
) -> CredentialsError:
    metadata: dict[str, Any] = dict(response.get("ResponseMetadata", {}))
    status = int(metadata.get("HTTPStatusCode", 0))
    code: object = response.get("Error", {}).get("Code")
    message: object = response.get("Error", {}).get("Message") or ""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        code = "Unknown"
    if (
        isinstance(message, str)
        and code not in {"Unknown", str(status)}
        and _speaks_as_aws(metadata.get("HTTPHeaders", {}), operation.name)
    ):
        cls = _answered_class(code, status, message)
        advice = _advice_on(cls, code, message)
    else:
        # botocore's message is the whole body then: whatever somebody in between chose to send.
        message = f"{_status(status)}, and a body that isn't AWS's (left out)"
        cls = _class_of_a_page(status)
        advice = _PROXY if status == _PROXY_AUTHENTICATION else None

    happened = f"n error occurred ({code}) when calling the {operation.name} operation: "
    happened += f"{one_line(message, LONGEST_SENTENCE).rstrip('.')}."
    about_credentials = operation.about_credentials or operation.name in _OF_THE_CREDENTIALS
    if about_credentials:
        cls = CredentialSourceError if cls.transient else AuthenticationError
        advice = advice or _advice_by(cls, code, operation)
    made = make_answered_error(
        cls,
        f"{_NOT_LOADED}: a{happened}" if about_credentials else f"A{happened}",
        advice=advice,
        response={"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata},
        operation=operation.name,
        code=code,
        request_id=metadata.get("RequestId"),
        **facts,
    )
    if about_credentials:
        made.asked = False
    return made


def _speaks_as_aws(headers: Mapping[str, str], operation: str) -> bool:
    """Whether an answer with a code in it may be AWS's: STS answers XML, all others JSON."""
    if operation in _OF_STS:
        return True
    # With this header botocore takes the code from there, and looks like it had read one in the
    # body.
    return "json" in headers.get("content-type", "json") and "x-amzn-query-error" not in headers


def _answered_class(code: str, status: int, message: str) -> type[CredentialsError]:
    cls = _BY_CODE.get(code.removesuffix("Exception"))
    if cls is InvalidRequestError and _DELETED.search(message):
        return SecretDeletedError
    if cls is not None:
        return cls
    if status in _REDIRECTS or status == _TOO_MANY or status >= _SERVER_ERROR:
        return _class_of_a_page(status)
    return AWSError


def _class_of_a_page(status: int) -> type[CredentialsError]:
    """Find the class for a page that isn't AWS's, whatever its status: it is never AWS's answer."""
    if status >= _SERVER_ERROR:
        return InternalServiceError
    return ThrottledError if status == _TOO_MANY else MalformedResponseError


def _advice_on(cls: type[CredentialsError], code: str, message: str) -> str | None:
    """Return the advice where AWS's sentence says more than its code."""
    if code.removesuffix("Exception") in _SKEWED_CODES or _SKEWED.search(message):
        return _CLOCK
    if "valid region" in message:
        return _REGION
    missing = _NO_VERSION.search(message) if cls is SecretNotFoundError else None
    if missing is None:
        return None
    version = shown(missing[2])
    if not missing[1]:
        return f"The secret has no version {version} (any more): ask for a staging label, or for another version."
    return (
        f"No version of the secret has the staging label {version}: put a value into the secret, "
        "or wait for the rotation that makes such a version. Upper and lower case count."
    )


def _advice_by(cls: type[CredentialsError], code: str, operation: _Operation) -> str:
    where = f" It is about profile {shown(operation.profile)}." if operation.profile else ""
    if cls.transient:
        return f"{cls.advice}{where}"
    if _BY_CODE.get(code.removesuffix("Exception")) is AuthenticationError:
        # STS or SSO doesn't take the credentials that it was asked with.
        return f"{_RENEW_BY_OPERATION.get(operation.name, DOCTOR)}{where}"
    return f"{_ADVICE_BY_OPERATION.get(operation.name, DOCTOR)}{where}"


# The decorator


_LOGGED_AS_ERRORS = (
    SecretDecryptionError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRequestError,
)


def map_client_errors(
    logger: logging.Logger,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Decorate an `async def` that calls botocore: its errors become ours, and some are logged.

    Decryption failures, internal errors, invalid parameters and invalid requests are logged with
    `logger.exception`, a secret that isn't there with `logger.info`. Every error is raised, also
    one whose code nobody knows (`AWSError`). What isn't botocore's passes untouched. The error
    names the secret and the region if the function has arguments `secret_name` (or `SecretId`) and
    `region_name`, or is a method of an object with such attributes.
    """

    def decorate(
        function: Callable[P, Coroutine[Any, Any, R]],
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        if not inspect.iscoroutinefunction(function):
            # By its name or its type's, since the repr of a functools.partial shows its arguments.
            name = getattr(function, "__qualname__", type(function).__qualname__)
            raise TypeError(f"map_client_errors decorates an async def; {name!r} isn't one.")
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
        # One of the two callers is past its `except`.
        logger.exception("%s", error, exc_info=error)  # noqa: LOG004
    elif isinstance(error, SecretNotFoundError):
        logger.info("%s", error)


def _facts(
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> dict[str, str | None]:
    """Read which secret and region a call was about off its arguments, or off its object."""
    # Not signature.bind: Python 3.11 refuses a keyword that has the name of a positional-only
    # parameter.
    named: dict[str, Any] = {**dict(zip(signature.parameters, args, strict=False)), **kwargs}
    holder = args[0] if args else None
    secret = [named.get("secret_name"), named.get("SecretId"), getattr(holder, "secret_name", None)]
    region = [named.get("region_name"), getattr(holder, "region_name", None)]
    return {
        "secret_name": next((value for value in secret if isinstance(value, str)), None),
        "region_name": next((value for value in region if isinstance(value, str)), None),
    }
